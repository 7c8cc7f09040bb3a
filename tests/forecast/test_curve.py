"""Forecast learning curves beside probes that are trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

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


def test_the_measured_probe_is_plain_gradient_descent_on_the_samples(planted):
    """The same layers by autograd on all rows, without whitening's shortcut."""
    made = planted(d=8, outputs=4, strengths=(1.0,), noise=0.5)
    x, y = made.draw(60)
    held_x, held_y = made.draw(50, 1)
    spectrum = estimate_spectrum(x, y)
    curve = learning_curve(spectrum, 2, start=0.01, num_times=20)
    found = measure(spectrum, curve, held_x, held_y)
    inside, outputs = (torch.from_numpy(a) for a in (spectrum.whitening(x), spectrum.labels(y)))
    weights = [0.1 * torch.from_numpy(part.copy()) for part in (spectrum.right, spectrum.left)]
    at = int(np.argmin(np.abs(found.training - (found.training[0] + found.training[-1]) / 2)))
    rate, time = 0.01, 0.0
    while time < curve.times[at] - rate / 2:
        for weight in weights:
            weight.requires_grad_(True)
        loss = ((outputs - inside @ weights[0].T @ weights[1].T) ** 2).sum() / (2 * len(x))
        slopes = torch.autograd.grad(loss, weights)
        weights = [(w - rate * g).detach() for w, g in zip(weights, slopes, strict=True)]
        time += rate
    unseen = torch.from_numpy(spectrum.whitening(held_x)) @ weights[0].T @ weights[1].T
    wanted = spectrum.labels(held_y)
    error = ((wanted - unseen.numpy()) ** 2).sum() / (wanted**2).sum()
    assert found.training[-1] + 0.05 < found.training[at] < found.training[0] - 0.05, "in the middle of learning"
    assert error == pytest.approx(found.held_out[at], rel=0.03)


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
    curve = learning_curve(spectrum)
    x, y = made.draw(10, 1)
    with pytest.raises(InputError, match="depth"):
        learning_curve(spectrum, 0)
    with pytest.raises(InputError, match="start"):
        learning_curve(spectrum, 2, -1.0)
    with pytest.raises(InputError, match="10 rows of features and 9 labels"):
        measure(spectrum, curve, x, y[:9])
    with pytest.raises(InputError, match="50 are needed"):
        measure(spectrum, curve, x[:, :3], y)
