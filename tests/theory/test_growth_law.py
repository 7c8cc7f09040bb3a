"""The growth law: closed forms against the equations that they solve, and against training of the model."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from headwise.errors import InputError
from headwise.theory.growth_law import (
    COMMON,
    GrowthLaw,
    margin,
    predict,
    signal,
    simulate,
    snap_time,
)


@pytest.mark.parametrize("rate_y", [0.5, 1, 2, 5])
@pytest.mark.parametrize("law", ["published", "orthogonal"])
def test_closed_form_solves_the_equations(rate_y, law) -> None:
    config = GrowthLaw(rate_y=rate_y, law=law, num_times=30)
    k, m, rho = config.num_classes, config.vocabulary, config.contrast
    power, scale = (4, rho**4 / k) if law == "published" else (2, rho**2 * (m - 1) ** 2 / ((k - 1) * m))

    def slope(_, state):
        h, z = state
        speed = (m - 1) ** 2 * h / (m - 1 + np.exp(m * h))
        return rate_y / (m - 1 + np.exp(m * h)) / k, -config.rate_z * speed * np.exp(power * z) / scale

    times = config.times
    solved = solve_ivp(slope, (0, times[-1]), (0.0, 0.0), t_eval=times, method="LSODA", rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(margin(config, times), m * solved.y[0], rtol=1e-6)
    np.testing.assert_allclose(predict(config)[COMMON], solved.y[1], rtol=1e-5)


def test_integral_of_the_speed() -> None:
    times = np.linspace(0, 400, 400_001)
    speed, total = signal(GrowthLaw(), times)
    by_hand = np.concatenate([[0], np.cumsum((speed[1:] + speed[:-1]) / 2 * np.diff(times))])
    np.testing.assert_allclose(total, by_hand, rtol=1e-6, atol=1e-8)


def test_regimes_of_theorem_4() -> None:
    """Below K ln M / eta_Y and above twice that the published formulas hold, up to their constant ln(C) / 4."""
    config = GrowthLaw(law="published", rate_y=1, vocabulary=10**6)
    k, m, c = 10, 10**6, config.contrast**4 / 10
    early, late = np.array([0.2, 0.6]) * k * np.log(m), np.array([100.0, 1000.0]) * k * np.log(m)
    _, total = signal(config, early)
    growth = 0.25 * np.log(c + 4 * config.rate_z * total)
    formula = 0.25 * np.log(c + 2 * (m - 1) ** 2 * config.rate_z * early**2 / (k * m**2))
    np.testing.assert_allclose(growth, formula, rtol=1e-3)
    _, total = signal(config, late)
    growth = 0.25 * np.log(c + 4 * config.rate_z * total)
    formula = 0.25 * np.log(c + 2 * k * (m - 1) ** 2 * config.rate_z * np.log(m * late / k) ** 2 / m**2)
    np.testing.assert_allclose(growth, formula, rtol=1e-3)


@pytest.mark.parametrize("rate_y", [0.5, 1, 2, 5])
def test_slope_changes_at_the_snap_and_larger_rates_move_it_earlier(rate_y) -> None:
    config = GrowthLaw(rate_y=rate_y, vocabulary=1000)
    at = snap_time(config)
    assert 1 < at / (2 * 10 * np.log(1000) / rate_y) < 1.4  # 1 + o(1)

    def slope(t):
        _, total = signal(config, np.array([t, t * 1.001]))
        return float(np.diff(np.log(total))[0] / np.log(1.001))

    assert slope(at / 10) == pytest.approx(2, abs=0.01)
    assert slope(at * 10) < 0.25
    assert slope(at / 6) > 1.8 > 0.8 > slope(at * 2)
    assert snap_time(GrowthLaw(rate_y=2 * rate_y)) == pytest.approx(at / 2)
    assert snap_time(GrowthLaw(vocabulary=10**100)) / (20 * np.log(1e100) / 5) == pytest.approx(1, abs=0.03)


def test_model_itself_follows_the_law_where_the_decoder_is_much_faster() -> None:
    config = GrowthLaw(num_classes=5, contrast=20.0, rate_y=50.0, num_times=40)
    predicted, model = predict(config), simulate(config, [0])
    np.testing.assert_allclose(model[COMMON], predicted[COMMON], rtol=0.05)
    np.testing.assert_allclose(model["distinct, weight 1"], predicted["distinct, weight 1"], rtol=0.08)
    published = predict(GrowthLaw(num_classes=5, contrast=20.0, rate_y=50.0, num_times=40, law="published"))
    factor = published[COMMON][0] / model[COMMON][0]
    assert factor == pytest.approx(5 / 4 * 1000 / 20**2, rel=0.05)  # M / rho^2, as the docstring says


def test_model_lags_behind_where_it_is_not() -> None:
    config = GrowthLaw(num_classes=5, contrast=20.0, rate_y=0.5, num_times=40)
    ratio = simulate(config, [0])[COMMON] / predict(config)[COMMON]
    assert ratio[0] > 0.9 and ratio[-1] < 0.9


def test_seeds_draw_the_start() -> None:
    config = GrowthLaw(num_classes=2, vocabulary=20, start_spread=0.3, num_times=5)
    assert simulate(config, [0, 1]).spread[COMMON][-1] > 0
    assert simulate(GrowthLaw(num_classes=2, vocabulary=20, num_times=5), [0, 1]).spread[COMMON].max() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_classes": 1},
        {"vocabulary": 10},
        {"rate_y": 0},
        {"contrast": float("inf")},
        {"lowest": 2},
        {"law": "orthogonall"},
        {"end": -1},
        {"start_spread": -0.1},
        {"num_times": 1},
    ],
)
def test_bad_configurations(wrong) -> None:
    with pytest.raises(InputError):
        GrowthLaw(**wrong)


def test_too_large_a_simulation_and_no_seeds() -> None:
    with pytest.raises(InputError, match="fewer classes"):
        simulate(GrowthLaw(num_classes=200, num_distinct=10), [0])
    with pytest.raises(InputError, match="seeds must be a row"):
        simulate(GrowthLaw(), [])
