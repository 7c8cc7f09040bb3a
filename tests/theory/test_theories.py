"""What every theory keeps to, found by its name."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields

import matplotlib
import numpy as np
import pytest

from headwise import InputError
from headwise import theory as room
from headwise.theory import THEORIES

matplotlib.use("Agg")


@pytest.mark.parametrize("name", THEORIES.names())
def test_defaults_predict_simulate_and_draw(name):
    theory = THEORIES.get(name)
    config = theory.config()
    predicted, simulated = theory.predict(config), theory.simulate(config, [0])
    assert set(predicted.series) & set(simulated.series), "nothing to compare"
    assert predicted.axis and predicted.value and predicted.title
    json.dumps(predicted.to_dict(), allow_nan=False)
    axes = theory.plot(config, [0])
    assert predicted.axis in axes.get_xlabel()
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize("name", THEORIES.names())
def test_simulations_repeat(name):
    theory = THEORIES.get(name)
    config = theory.config()
    one, again = (theory.simulate(config, [1]) for _ in range(2))
    for series in one.series:
        np.testing.assert_array_equal(one[series], again[series])


@pytest.mark.parametrize("name", THEORIES.names())
def test_configurations_are_frozen_and_documented(name):
    config = THEORIES.get(name).config()
    first = fields(config)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(config, first, None)
    for field in fields(config):
        assert field.name in type(config).__doc__


@pytest.mark.parametrize("name", THEORIES.names())
def test_each_says_what_it_is_and_refuses_what_is_no_row_of_seeds(name):
    theory = THEORIES.get(name)
    assert 20 < len(theory.about) <= 120 and theory.about.endswith(".")
    for seeds in (3, [], [-1], [0.5], "01"):
        with pytest.raises(InputError, match="seeds"):
            theory.simulate(theory.config(), seeds)


@pytest.mark.parametrize("name", THEORIES.names())
def test_rows_may_be_tuples_lists_or_arrays(name):
    config = THEORIES.get(name).config
    for field in fields(config):
        if isinstance(field.default, tuple):
            for rows in (list, np.array):
                assert config(**{field.name: rows(field.default)}) == config()
            with pytest.raises(InputError, match=f"{field.name} must be a row of"):
                config(**{field.name: ()})


def test_modules_of_the_room_need_no_import():
    assert room.transfer.Transfer().depth == 2
    with pytest.raises(AttributeError, match="nothing"):
        room.nothing  # noqa: B018


def test_unknown_theory():
    with pytest.raises(InputError, match="did you mean deep_linear"):
        THEORIES.get("deep_liner")


@pytest.mark.parametrize("name", THEORIES.names())
def test_what_is_no_configuration_is_refused(name):
    theory = THEORIES.get(name)
    for wrong in (None, theory.config, "deep_linear"):
        with pytest.raises(InputError, match=rf"takes a {theory.config.__name__}, got"):
            theory.predict(wrong)
        with pytest.raises(InputError, match=rf"takes a {theory.config.__name__}, got"):
            theory.simulate(wrong, [0])


@pytest.mark.parametrize("name", THEORIES.names())
def test_sizes_that_no_memory_holds_are_refused_at_once(name):
    theory = THEORIES.get(name)
    sizes = [
        f.name for f in fields(theory.config) if f.name.startswith("num_") or f.name in ("grid", "batch", "length")
    ]
    for size in sizes:
        with pytest.raises(InputError):
            theory.simulate(theory.config(**{size: 10**9}), [0])
