"""``headwise theory``: the list, the numbers and figures, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from headwise import InputError
from headwise.cli.fields import list_fields, parse_fields
from headwise.theory import THEORIES

QUICK = ("deep_linear", "--set", "num_inputs=30", "--set", "num_outputs=20", "--set", "strengths=4,2.5")


def test_without_a_name_the_theories_are_listed(call):
    code, said, _ = call("theory")
    assert code == 0
    assert [line.split()[0] for line in said.splitlines()] == THEORIES.names()
    assert all(THEORIES.get(name).about in said for name in THEORIES.names())
    assert list(json.loads(call("theory", "--json")[1])) == THEORIES.names()


@pytest.mark.parametrize("name", THEORIES.names())
def test_fields_are_listed_and_their_defaults_can_be_given_back(call, name):
    config = THEORIES.get(name).config
    listed = json.loads(call("theory", name, "--fields", "--json")[1])
    assert list(listed) == list(list_fields(config))
    words = [f"{field}={default}" for field, (_, default) in list_fields(config).items()]
    assert config(**parse_fields(name, config, words)) == config()


def test_figure_and_numbers(call, tmp_path):
    folder = tmp_path / "made"
    code, said, errors = call("theory", *QUICK, "--seeds", 2, "--out", folder)
    assert code == 0, errors
    assert "best stopping time" in said and str(folder / "numbers.json") in said
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((folder / "numbers.json").read_text())
    assert found["config"]["strengths"] == [4, 2.5] and found["config"]["num_inputs"] == 30 and found["seeds"] == [0, 1]
    assert {"headwise", "numpy", "scipy"} <= set(found["versions"])
    theory = THEORIES.get("deep_linear")
    config = theory.config(num_inputs=30, num_outputs=20, strengths=(4.0, 2.5))
    np.testing.assert_allclose(found["predicted"]["series"]["test error"], theory.predict(config)["test error"])
    simulated = theory.simulate(config, range(2))
    np.testing.assert_allclose(found["simulated"]["series"]["test error"], simulated["test error"])
    np.testing.assert_allclose(found["simulated"]["spread"]["test error"], simulated.spread["test error"])


def test_nothing_is_overwritten_unasked(call, tmp_path):
    folder = tmp_path / "made"
    assert call("theory", *QUICK, "--out", folder, "--format", "svg")[0] == 0
    before = (folder / "figure.svg").read_bytes()
    assert call("theory", *QUICK, "--out", folder, "--format", "svg")[0] == 0  # the same again is the same file
    assert (folder / "figure.svg").read_bytes() == before
    other = ("theory", *QUICK, "--set", "depth=3", "--out", folder)
    code, _, errors = call(*other)
    assert code == 2 and "depth: 2 there, 3 asked" in errors and (folder / "figure.svg").read_bytes() == before
    code, said, _ = call(*other, "--overwrite", "--json")
    assert code == 0
    assert json.loads(said)["config"]["depth"] == 3 and json.loads(said)["simulated"] is None
    assert not (folder / "figure.svg").exists()  # of the other settings
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    code, _, errors = call("theory", *QUICK, "--out", tmp_path / "mine", "--overwrite")
    assert code == 2 and "did not make" in errors


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["deep_liner"], "did you mean deep_linear"),
        (["deep_linear", "--set", "strength=3"], "unknown field of deep_linear 'strength'; did you mean strengths"),
        (["deep_linear", "--set", "depth"], "--set takes FIELD=VALUE, got 'depth'; fields of deep_linear are num"),
        (["deep_linear", "--set", "depth=two"], "depth must be a whole number, got 'two'"),
        (["deep_linear", "--set", "depth=0"], "depth must be a whole number of at least 1, got 0"),
        (["deep_linear", "--set", "depth=2", "--set", "depth=3"], "depth is set twice"),
        (["deep_linear", "--set", "strengths=3,x"], "strengths must be numbers, separated by commas, got '3,x'"),
        (["deep_linear", "--set", "labels=any"], "labels must be one of structured, random, got 'any'"),
        (["deep_linear", "--set", "end=soon"], "end must be a number, or none, got 'soon'"),
        (["scan_and_snap", "--set", "shared_query=yes"], "shared_query must be true or false, got 'yes'"),
        (["approximation", "--set", "target=median"], "unknown target 'median'"),
        (["approximation", "--set", "target=parity of signs", "--set", "kind=even"], "there is no bound"),
        (["deep_linear", "--seeds", "-1"], "seeds"),
        (["--seeds", "3"], "say which theory; they are approximation, deep_linear"),
    ],
)
def test_what_is_refused_leaves_no_folder(call, args, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, errors = call("theory", *args)
    assert code == 2 and said in errors
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class _Every:
    whole: int = 1
    number: float = 0.5
    flag: bool = True
    text: str = "a b"
    name: Literal["one", "two"] = "one"
    row: tuple[int, ...] = (1, 2)
    perhaps: float | None = None


def test_every_kind_of_field():
    given = ["whole=3", "number=1e-3", "flag=false", "text= c = d ", "name=two", "row=4, 5", "perhaps=2"]
    assert parse_fields("it", _Every, given) == {
        "whole": 3,
        "number": 1e-3,
        "flag": False,
        "text": "c = d",
        "name": "two",
        "row": (4, 5),
        "perhaps": 2.0,
    }
    assert parse_fields("it", _Every, ["perhaps=none"]) == {"perhaps": None}
    assert list_fields(_Every)["perhaps"] == ("a number, or none", "none")
    assert list_fields(_Every)["flag"] == ("true or false", "true")
    with pytest.raises(InputError, match=r"row must be whole numbers, separated by commas, got '4,5\.5'"):
        parse_fields("it", _Every, ["row=4,5.5"])
