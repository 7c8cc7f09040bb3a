"""Registries find what the modules of a package register, and answer a wrong name with close ones."""

from __future__ import annotations

import sys
import textwrap

import pytest

from headwise.blocks import BLOCKS
from headwise.errors import InputError, unknown_name
from headwise.losses import LOSSES
from headwise.penalties import PENALTIES
from headwise.registry import Registry


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two modules; the first registers "one" when it is imported, the second "two"."""
    folder = tmp_path / "zoo_of_tests"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        textwrap.dedent(
            """
            from headwise.registry import Registry
            THINGS = Registry("thing", __name__)
            """
        )
    )
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(
            f"from . import THINGS\n@THINGS.register({name!r})\nclass Thing:\n    name = {name!r}\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    yield "zoo_of_tests"
    for name in [m for m in sys.modules if m.split(".")[0] == "zoo_of_tests"]:
        del sys.modules[name]


def test_one_new_file_is_found_without_a_list(package):
    things = __import__(package).THINGS
    assert f"{package}.one" not in sys.modules, "modules are imported on first use"
    assert things.names() == ["one", "two"]
    assert things.get("two").name == "two"


def test_a_wrong_name_is_answered_with_close_ones(package):
    things = __import__(package).THINGS
    with pytest.raises(InputError, match="unknown thing 'twoo'; did you mean two"):
        things.get("twoo")
    with pytest.raises(InputError, match="known: one, two"):
        things.get("xyz")
    for name in (None, 3, ["one"]):
        with pytest.raises(InputError, match="a thing is given by its name, got"):
            things.get(name)


def test_names_of_other_libraries_are_answered_with_ours(package):
    things: Registry[type] = Registry("thing", package, elsewhere={"uno": "one"})
    with pytest.raises(InputError, match=r"unknown thing 'Uno'; did you mean one\?"):
        things.get("Uno")


def test_long_lists_of_names_are_cut():
    said = str(unknown_name("thing", "xyz", [f"name{i:03}" for i in range(300)]))
    assert said.endswith("name019 and 280 more.")


def test_two_things_of_one_name_are_refused():
    things: Registry[type] = Registry("thing", "headwise.blocks")
    first = things.register("a")(int)
    assert things.register("a")(first) is int, "registering the same thing again changes nothing"
    with pytest.raises(RuntimeError, match="registered twice"):
        things.register("a")(float)


@pytest.mark.parametrize(
    ("registry", "names"),
    [
        (BLOCKS, ["attention", "linear"]),
        (LOSSES, ["multinomial"]),
        (PENALTIES, ["nuclear", "ridge"]),
    ],
    ids=["blocks", "losses", "penalties"],
)
def test_what_the_package_ships_is_found_under_its_own_name(registry, names):
    assert set(names) <= set(registry.names())
    for name in registry.names():
        assert registry.get(name).name == name
