"""One layer by construction: bounds above measurements for many functions, the claims, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headwise.errors import InputError
from headwise.theory.approximation import approximate
from headwise.theory.approximation_curves import TARGETS, Approximation, predict, simulate
from headwise.theory.copy_heads import CopyHeadsLayer, leakage
from headwise.theory.cosine_ridges import KINDS, cosine_series, ridges
from headwise.theory.measured_layer import compile_layer, measure


def _wave(x):
    a, b = 2 * np.pi * x[:, :1], 2 * np.pi * x[:, 1:2]
    return (torch.exp(torch.sin(a)) * torch.cos(b) + torch.sin(a + b)).expand_as(x)


def _largest_error(layer, function, low=0.0, high=1.0, seed=7):
    """By points that the layer has not seen."""
    generator = torch.Generator().manual_seed(seed)
    shape = (3000, layer.num_tokens, layer.num_features)
    x = low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        return (layer(x) - function(x)).abs().max().item()


@pytest.mark.parametrize("tolerance", [0.05, 0.01])
@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"parity of signs"}))
def test_every_continuous_target_to_five_and_one_percent(name, tolerance) -> None:
    layer = approximate(TARGETS[name], tolerance, num_tokens=2)
    assert layer.measured.total <= layer.bound.total <= tolerance
    assert _largest_error(layer, TARGETS[name]) <= layer.bound.total
    assert "within" in layer.verdict


@pytest.mark.parametrize("name", ["running mean", "shift", "product", "sine of the sum"])
def test_three_tokens(name) -> None:
    layer = approximate(TARGETS[name], 0.1, num_tokens=3)
    assert _largest_error(layer, TARGETS[name]) <= layer.bound.total <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [0.05, 0.01])
@pytest.mark.parametrize("name", ["running maximum", "sort"])
def test_three_tokens_with_kinks(name, tolerance) -> None:
    layer = approximate(TARGETS[name], tolerance, num_tokens=3)
    assert max(layer.measured.total, _largest_error(layer, TARGETS[name])) <= layer.bound.total <= tolerance


def test_a_kink_that_no_line_between_corners_follows() -> None:
    def kink(x):
        return (x[:, :1] - 0.7 * x[:, 1:] - 0.1).abs().expand_as(x)

    layer = approximate(kink, 0.1, num_tokens=2)
    assert max(layer.measured.total, _largest_error(layer, kink)) <= layer.bound.total <= 0.1


FUNCTIONS = {
    "wave": _wave,
    "kink": lambda x: (x - 0.3).abs(),
    "root": lambda x: x.sqrt(),
    "exponential": lambda x: torch.exp(x.cumsum(1)),
    "two outputs": lambda x: torch.cat([x, x.flip(1) ** 2], dim=2),
    "constant": lambda x: torch.full_like(x, 3.0),
    "narrow bump": lambda x: torch.exp(-300 * (x - 0.61) ** 2),
    "fast wave": lambda x: torch.cos(80 * np.pi * x),  # looks constant on coarse grids
    "clipped": lambda x: (5 * x - 2).clamp(0, 1),
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_bound_is_never_below_the_error(name) -> None:
    function = FUNCTIONS[name]
    layer = approximate(function, 0.1, num_tokens=2)
    assert layer.measured.total <= layer.bound.total
    assert _largest_error(layer, function) <= layer.bound.total
    for source in ("knots", "leakage"):
        assert getattr(layer.measured, source) <= getattr(layer.bound, source) * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_bound_holds_for_random_functions(seed) -> None:
    random = np.random.default_rng(seed)
    weights, phases = torch.tensor(random.normal(0, 2, (2, 2))), torch.tensor(random.uniform(0, 6, 2))
    kink = torch.tensor(random.normal(size=2)) / 4

    def function(x):
        flat = x.flatten(1)
        value = torch.cos(flat @ weights.T + phases).sum(1) + (flat @ kink - 0.1).abs()
        return torch.stack([value, flat[:, 0] * value], dim=1)[..., None]

    layer = approximate(function, 0.3, num_tokens=2)
    assert max(layer.measured.total, _largest_error(layer, function)) <= layer.bound.total


def test_the_published_wave_needs_fewer_units_than_a_grid_of_frequencies() -> None:
    layer = approximate(_wave, 0.01, num_tokens=2)
    assert layer.bound.total <= 0.01 and layer.width < 5400  # 64 knots a period: width 5400, error .010


def test_another_box_and_more_features() -> None:
    def function(x):
        return (x[..., :1] * x[..., 1:]).flip(1)

    layer = approximate(function, 0.1, num_tokens=2, num_features=2, low=-1.0, high=2.0)
    assert _largest_error(layer, function, -1.0, 2.0) <= layer.bound.total <= 0.1
    layer.float()
    x = torch.rand(64, 2, 2) * 3 - 1
    assert (layer(x) - function(x)).abs().max() <= 0.1


def test_jumps_are_told_by_the_measured_error() -> None:
    layer = approximate(TARGETS["parity of signs"], 0.05, num_tokens=2, max_width=500)
    assert layer.measured.total > 0.5 and layer.bound.total == float("inf") and layer.width <= 500
    assert "seems to jump" in layer.verdict


def test_positions_are_needed() -> None:
    """Permuting tokens permutes what a layer without positions gives; these targets do something else."""
    for name, n, least in (("running mean", 2, 0.2), ("shift", 3, 0.4), ("running maximum", 2, 0.4)):
        layer = approximate(TARGETS[name], 0.1, num_tokens=n)
        assert layer.without_positions > least > layer.measured.total
    assert approximate(TARGETS["product"], 0.1, num_tokens=2).without_positions < 1e-12


def test_a_layer_without_positions_errs_as_much_as_said() -> None:
    layer = approximate(TARGETS["running mean"], 0.1, num_tokens=2)
    free = CopyHeadsLayer(
        2, 1, 0.0, 1.0, 0.0, np.random.default_rng(0).normal(size=(20, 4)), np.ones(20), np.ones((1, 20))
    )
    with torch.no_grad():
        free.hidden.weight[:, 2:] = 0
    x = torch.rand(5000, 2, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert (free(x) - TARGETS["running mean"](x)).abs().max() > layer.without_positions * 0.95


@pytest.mark.parametrize(("sharpness", "expected"), [(5, 0.045), (10, 3.2e-4), (20, 1.4e-8)])
def test_leakage_of_eight_tokens(sharpness, expected) -> None:
    assert leakage(sharpness, 8) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("sharpness", "measured"), [(5, 0.0188), (10, 1.3e-4), (20, 5.7e-9)])
def test_leakage_measured_on_four_tokens(sharpness, measured) -> None:
    layer = CopyHeadsLayer(4, 1, 0.0, 1.0, sharpness, np.zeros((1, 8)), np.zeros(1), np.zeros((1, 1)))
    x = torch.rand(2000, 4, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    worst = (layer.gather(x) - x[:, None, :, 0]).abs().max().item()
    assert worst == pytest.approx(measured, rel=0.1) and worst <= leakage(sharpness, 4)


def test_error_falls_with_the_square_of_the_knots_for_smooth_functions() -> None:
    config = Approximation(knots=(8, 16, 32, 64))
    bound, found = predict(config), simulate(config, [0])
    for curves in (bound, found):
        np.testing.assert_allclose(np.diff(np.log2(curves["knots"])), -2, atol=0.15)
    assert np.all(found["total"] <= bound["total"]) and np.all(found["total"] > 0.5 * bound["total"])


def test_error_falls_with_the_knots_for_lipschitz_functions() -> None:
    def kink(x):
        return (x - 0.3).abs()

    series = cosine_series(lambda v: np.abs(v - 0.3), 1, 2048, "even")
    parts, found = [ridges(series, 1e-4)], []
    for pieces in (8, 32, 128):  # the kink is at 0.4 of a piece in all of them
        layer = compile_layer(parts, series.unresolved, [np.full(1, pieces)], 1)
        measure(layer, kink, parts)
        assert layer.measured.knots <= 1 / (2 * pieces)  # the Lipschitz constant is 1
        found.append(layer.measured.knots)
    np.testing.assert_allclose(np.diff(np.log(found)) / np.log(4), -1, atol=0.1)


def test_leakage_falls_exponentially_and_dominates_when_soft() -> None:
    found = [
        simulate(Approximation(target="product", kind=KINDS[1], knots=(64,), sharpness=s), [0])
        for s in (4.0, 8.0, 12.0)
    ]
    leaks = np.array([curves["leakage"][0] for curves in found])
    np.testing.assert_allclose(np.diff(np.log(leaks)), -4, atol=0.3)
    assert leaks[0] > 10 * found[0]["knots"][0] and leaks[2] < found[2]["knots"][0]


@pytest.mark.parametrize("kind", KINDS)
def test_ridges_are_the_function(kind) -> None:
    """Series, split into waves along directions, against the function between the points of the grid."""

    def function(v):
        return np.stack([np.exp(np.sin(2 * np.pi * v[:, 0])) * np.cos(2 * np.pi * v[:, 1]), v.prod(1) ** 0], axis=1)

    found = ridges(cosine_series(function, 2, 64, kind), drop=1e-9)
    v = np.random.default_rng(0).random((100, 2))
    np.testing.assert_allclose(found(v), function(v), atol=1e-6 if kind == "periodic" else 0.05)
    total = found.constant + v @ found.slope
    for i, direction in enumerate(found.directions):
        total = total + found.profile(i, v @ direction)
    np.testing.assert_allclose(total, found(v), atol=1e-10)
    assert np.all(np.gcd.reduce(found.directions, axis=1) == 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tolerance": 0}, "tolerance must be a positive number"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"function": lambda x: 1 / (x - x)}, "not finite at"),
        ({"function": lambda x: x[:, :1]}, "must turn a tensor"),
        ({"function": lambda x: x.numpy()}, "got ndarray"),
        ({"function": 3}, "callable"),
        ({"num_tokens": 0}, "num_tokens"),
        ({"num_tokens": 8}, "samples on a grid"),
        ({"max_width": 0}, "max_width"),
        ({"function": TARGETS["parity of signs"], "max_width": 3}, "4 hidden units are needed"),
        ({"low": 1.0}, "low < high"),
        ({"function": _wave, "tolerance": 1e-3, "max_width": 1000}, r"[\d,]+ hidden units are needed"),
    ],
)
def test_refuses(change, message) -> None:
    with pytest.raises(InputError, match=message):
        approximate(**{"function": lambda x: x, "tolerance": 0.1, "num_tokens": 2} | change)


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": "median"},
        {"kind": "odd"},
        {"num_tokens": 0},
        {"grid": 48},
        {"grid": 4096},
        {"knots": ()},
        {"knots": (4, 2)},
        {"knots": (0.5,)},
        {"drop": -1},
        {"sharpness": 1000},
    ],
)
def test_bad_configurations(wrong) -> None:
    with pytest.raises(InputError):
        Approximation(**wrong)


def test_a_target_that_jumps_has_no_predicted_curve() -> None:
    with pytest.raises(InputError, match="do not fall"):
        predict(Approximation(target="parity of signs", kind="even", knots=(2,), grid=16))


def test_layers_that_would_be_too_large_are_refused() -> None:
    with pytest.raises(InputError, match=r"knots make about [\d,]+ hidden units.*take fewer knots"):
        predict(Approximation(knots=(10**6,)))
