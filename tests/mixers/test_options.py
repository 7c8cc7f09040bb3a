"""Options of every mechanism: their types, what is said where they do not fit, and where they are described."""

from __future__ import annotations

import json
import re
import runpy
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
import torch

from headwise import InputError
from headwise.mixers import MIXERS, create

REFERENCES = Path(__file__).parent / "references"
USUAL = (12, 100, 130, 384)
"""Widths of models and of examples; some have few divisors."""


def small(name):
    """Options of a small example."""
    return runpy.run_path(str(REFERENCES / f"{name}.py"))["CASES"][0]


@pytest.mark.parametrize("name", MIXERS.names())
def test_other_types_are_refused_by_name(name):
    for f in fields(MIXERS.get(name).Config):
        wrong = ["no", object(), ["a", "b", "c"], {"a": 1}, 1.5j]
        wrong += [] if str(f.type).endswith("None") else [None]
        for value in wrong:
            with pytest.raises(InputError, match=rf"\b{f.name}\b"):
                create(name, **{**small(name), f.name: value})


@pytest.mark.parametrize("name", MIXERS.names())
def test_numbers_of_numpy_become_plain_ones(name):
    options, kinds = small(name), {int: np.int64, float: np.float32, bool: np.bool_, tuple: list}
    wanted = create(name, **options).config
    given = {k: kinds[type(v)](v) if type(v) in kinds else v for k, v in asdict(wanted).items()}
    found = create(name, **given).config
    assert {k: type(v) for k, v in asdict(found).items()} == {k: type(v) for k, v in asdict(wanted).items()}
    assert json.loads(json.dumps(asdict(found)))["dim"] == wanted.dim


@pytest.mark.parametrize("name", MIXERS.names())
def test_a_default_that_does_not_fit_is_called_one(name):
    for dim in USUAL:
        options = {"dim": dim, "grid": (2, 2)}
        for _ in range(3):
            try:
                with torch.device("meta"):
                    create(name, **options)
                break
            except InputError as error:
                said = re.match(r"the default (\w+)=(\d+) does not divide \w+=\d+; give (\w+)=(\d+), or", str(error))
                option, value, again, advised = said.groups()
                assert option == again and value == str(getattr(MIXERS.get(name).Config, option))
                options[option] = int(advised)
        else:
            pytest.fail(f"what {name} advises for dim={dim} does not fit: {options}")


@pytest.mark.parametrize("name", MIXERS.names())
def test_options_stand_in_the_docstring(name):
    """All of them, inherited ones too, with a description and the default; once, and in front of the notes."""
    mechanism = MIXERS.get(name)
    text = mechanism.__doc__
    assert text.count("\nParameters\n----------\n") == 1 and text.index("\nParameters\n") < text.index("\nNotes\n")
    section = text.split("\nParameters\n----------\n")[1].split("\n\n")[0]
    for f in fields(mechanism.Config):
        found = re.findall(rf"^{f.name} : (.+)\n    \S", section, re.MULTILINE)
        if f.name == "num_prefix_tokens" and not mechanism.traits.prefix:
            assert not found
            continue
        expects = f.name in ("dim", "grid") or f.default is None or found[0].endswith(f", default {f.default!r}")
        assert len(found) == 1 and expects, f.name


def test_messages_about_defaults_and_given_values():
    with pytest.raises(InputError, match="the default num_heads=8 does not divide dim=12; give num_heads=6, or"):
        create("softmax", dim=12)
    with pytest.raises(InputError, match="num_heads must divide dim=12, got 5; the next below that does is 4"):
        create("softmax", dim=12, num_heads=5)
    with pytest.raises(InputError, match="the default num_groups=4 does not divide dim=6; give num_groups=3"):
        create("ulsam", dim=6)
    with pytest.raises(InputError, match="the default num_kv_heads=4 does not divide num_heads=6; give num_kv_heads=3"):
        create("grouped_query", dim=24, num_heads=6)
    with pytest.raises(InputError, match="the default num_clusters=16 is more than the 4 tokens"):
        create("routing", dim=8)(torch.randn(1, 4, 8))
    with pytest.raises(InputError, match="the default form='mlp' has a hidden width and no heads"):
        create("mlp_mixer", dim=8, grid=(2, 2), num_heads=2)
    with pytest.raises(InputError, match="qkv_bias must be True or False, got 'no'"):
        create("softmax", dim=8, qkv_bias="no")
    with pytest.raises(InputError, match=r"one of modes must be a whole number, got 1\.5"):
        create("fno", dim=8, modes=(1.5, 2))
