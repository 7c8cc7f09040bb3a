"""Forecast learning curves beside probes that are trained."""

from __future__ import annotations

import numpy as np
import pytest

from headwise import InputError
from headwise.forecast import estimate_spectrum, held_out_error, learning_curve, measure


def forecast_and_measure(x, y, held_out, depth, **how):
    found = estimate_spectrum(x, y, **how)
    curve = learning_curve(found, depth)
    return curve, measure(found, curve, *held_out)


PLANTED = [((1.2, 0.8), 0.5, 1.5), ((1.2, 0.8), 0.5, 3), ((2.0, 1.5, 1.0), 1.0, 5), ((1.0,), 0.3, 10)]


@pytest.mark.parametrize(
    ("strengths", "noise", "ratio", "depth"),
    [(*how, depth) for how in PLANTED for depth in (1, 2)] + [(*PLANTED[2], 3)],
)
def test_forecast_beside_measurement(planted, strengths, noise, ratio, depth):
    made = planted(d=60, outputs=15, strengths=strengths, noise=noise)
    n = int(ratio * made.d)
    curve, found = forecast_and_measure(*made.draw(n), made.draw(3000, 1), depth, n_components=made.d)
    assert found.r2 >= 0.95
    assert abs(found.time_error) <= 0.25
    assert curve.best.error == pytest.approx(found.best.error, rel=0.08)
    np.testing.assert_allclose(found.training, curve.training, atol=0.02)
    assert curve.least <= curve.best.error + 1e-9


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("n", [90, 300, 1500])
def test_forecast_beside_measurement_on_classes(clusters, n, depth):
    """Noise that is neither Gaussian nor the same for all outputs."""
    curve, found = forecast_and_measure(*clusters(n), clusters(3000, seed=1), depth)
    assert found.r2 >= 0.95
    assert abs(found.time_error) <= 0.25 or found.excess <= 2e-3, "where the least error is flat the time is not sharp"
    assert curve.best.error == pytest.approx(found.best.error, rel=0.1)


def test_forecast_with_fewer_samples_than_features(clusters):
    rng = np.random.default_rng(0)
    turn = rng.normal(size=(40, 200))

    def lift(n, seed):
        x, y = clusters(n, seed=seed)
        return x @ turn + 2 * np.random.default_rng([5, seed]).normal(size=(n, 200)), y

    _, found = forecast_and_measure(*lift(160, 0), lift(2000, 1), 2)
    assert found.r2 >= 0.95
    assert abs(found.time_error) <= 0.25


def test_twice_the_samples(planted):
    made = planted(d=50, outputs=10, strengths=(1.0, 0.8), noise=0.8)
    said, seen = [], []
    for k in range(6):
        x, y = made.draw(300, k)
        said.append(learning_curve(estimate_spectrum(x[:150], y[:150], n_components=50)).doubled.error)
        _, found = forecast_and_measure(x, y, made.draw(3000, 100 + k), 2)
        seen.append(found.best.error)
    assert np.mean(said) == pytest.approx(np.mean(seen), rel=0.05)


def test_nothing_to_learn_is_best_not_learned():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 20)), rng.normal(size=(300, 3))
    curve, _ = forecast_and_measure(x[:150], y[:150], (x[150:], y[150:]), 2)
    assert curve.best.time == 0
    assert curve.best.error == pytest.approx(1, abs=0.05)
    assert curve.held_out[-1] > 1.02
    assert curve.doubled.time == 0
    assert curve.curves.marks == {}


def test_one_layer_by_the_textbook(planted):
    """At the end of training the probe is least squares, whose error is known for Gaussian features."""
    made = planted(d=40, outputs=30, strengths=(1.0,), noise=1.0)
    n = 120
    found = []
    for k in range(12):
        spectrum = estimate_spectrum(*made.draw(n, k))
        unit = spectrum.at().total * 30 / (spectrum.labels.basis**2).sum()
        found.append(held_out_error(spectrum, [50.0], depth=1)[0] * unit)
    expected = 30 * made.noise**2 * (1 + 1 / n) * (n - 2) / (n - made.d - 2)
    assert np.mean(found) == pytest.approx(expected, rel=0.04)


def test_json_and_curves(planted):
    made = planted()
    curve = learning_curve(estimate_spectrum(*made.draw(200)), 2)
    told = curve.to_dict()
    assert told["measured"] is None and len(told["times"]) == 200 == len(told["held_out"])
    assert list(curve.curves.series) == ["training error", "held-out error"]
    assert curve.measured_curves is None


def test_bad_input(planted):
    made = planted()
    spectrum = estimate_spectrum(*made.draw(200))
    with pytest.raises(InputError, match="depth"):
        learning_curve(spectrum, 0)
    with pytest.raises(InputError, match="start"):
        learning_curve(spectrum, 2, -1.0)
