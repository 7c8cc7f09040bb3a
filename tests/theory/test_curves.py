"""The shape that theories share: names, units, refusals, JSON, figures."""

from __future__ import annotations

import json

import matplotlib
import numpy as np
import pytest

from headwise import InputError
from headwise.theory import Curves
from headwise.theory.curves import average, over_seeds

matplotlib.use("Agg")


def _curves(**changes):
    return Curves(
        "t", "time", [0, 1], **{"series": {"a": [1, 2], "b": [3, 4]}, "unit": "tau", "value": "error"} | changes
    )


def test_names_and_json():
    curves = _curves(spread={"a": [0.1, 0.2]}, marks={"best": 0.5})
    np.testing.assert_array_equal(curves["a"], [1, 2])
    again = json.loads(json.dumps(curves.to_dict()))
    assert again["series"] == {"a": [1, 2], "b": [3, 4]} and again["marks"] == {"best": 0.5}
    assert again["axis"] == {"name": "time", "unit": "tau", "points": [0, 1]} and again["spread"] == {"a": [0.1, 0.2]}
    with pytest.raises(InputError, match="there are a, b"):
        curves["c"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"series": {"a": [1, 2, 3]}}, "one value is needed for each of the 2"),
        ({"series": {"a": [1, np.nan]}}, "'a' is not finite at time = 1"),
        ({"spread": {"a": [1, np.inf]}}, "not finite"),
        ({"spread": {"c": [1, 1]}}, "no series"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(InputError, match=message):
        _curves(**changes)


def test_refuses_an_axis_without_numbers():
    for points in ([], [0, np.inf], [[0, 1]]):
        with pytest.raises(InputError, match="finite numbers in one row"):
            Curves("t", "time", points, {})


def test_average_of_draws():
    mean = average([_curves(marks={"best": 1}), _curves(series={"a": [3, 2], "b": [3, 4]}, marks={"best": 3})])
    np.testing.assert_array_equal(mean["a"], [2, 2])
    np.testing.assert_array_equal(mean.spread["a"], [1, 0])
    assert mean.marks == {"best": 2}
    assert not average([_curves()]).spread  # one draw has no spread
    with pytest.raises(InputError, match="at least one seed"):
        average([])


def test_figures_have_names_and_units_and_dots_take_the_colour_of_their_curve():
    predicted = _curves(marks={"best": 0.5})
    axes = predicted.plot()
    assert axes.get_xlabel() == "time (tau)" and axes.get_ylabel() == "error"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b", "best: 0.5"]
    before = len(axes.lines)
    _curves(series={"b": [3, 4], "c": [0, 0]}).plot(axes, over=predicted)
    (dots,) = axes.lines[before:]  # "c" is not predicted
    assert dots.get_color() == axes.lines[1].get_color()
    matplotlib.pyplot.close("all")


def test_many_curves_are_told_apart_and_their_legend_hides_none():
    many = Curves("t", "time", [0, 1], {f"curve {i}": [i, i] for i in range(12)}, value="error")
    axes = many.plot()
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 12
    axes.figure.canvas.draw()
    assert axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1
    matplotlib.pyplot.close("all")


def test_seeds_give_the_mean_over_draws():
    mean = over_seeds(lambda seed: _curves(series={"a": [seed, 0]}), range(3))
    np.testing.assert_array_equal(mean["a"], [1, 0])
    with pytest.raises(InputError, match="seeds must be a row of whole numbers, got 3"):
        over_seeds(lambda seed: _curves(), 3)
