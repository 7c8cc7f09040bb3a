"""How modes grow: closed forms against an integrator, and times against the growth that they invert."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from headwise import InputError
from headwise.theory.mode_growth import mode_strengths, time_to_learn


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_modes_solve_their_equation(depth):
    """Growing modes, one that decays, and one that is not in the data."""
    data, start, times = np.array([3.0, 0.5, 0.02, 0.0]), 0.05, np.array([0.0, 0.3, 1.0, 4.0])
    slope = lambda _, s: depth * s ** (2 - 2 / depth) * (data - s)  # noqa: E731
    found = solve_ivp(slope, (0, 4), np.full(4, start), "DOP853", times, rtol=1e-10, atol=1e-13).y.T
    np.testing.assert_allclose(mode_strengths(times, data, start, depth), found, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6])
def test_time_to_learn_is_the_inverse_of_the_growth(depth):
    data = np.array([5.0, 2.0, 0.5])
    times = time_to_learn(data, 0.5 * data, 1e-3, depth)
    np.testing.assert_allclose(np.diag(mode_strengths(times, data, 1e-3, depth)), 0.5 * data, rtol=1e-6)


def test_modes_far_from_rounding():
    """No overflow at late times; many equal times in any order."""
    late = mode_strengths([1e6, 0.0, 1e6], [4.0, 1e-12], 1e-3)
    np.testing.assert_allclose(late[:, 0], [4, 1e-3, 4])
    deep = mode_strengths([50.0, 0.0, 50.0], [4.0], 1e-3, depth=3)
    np.testing.assert_allclose(deep[:, 0], [4, 1e-3, 4])


def test_one_layer_has_no_order_and_more_have():
    half = {depth: time_to_learn([5.0, 1.0], [2.5, 0.5], 1e-3, depth) for depth in (1, 2, 3)}
    assert half[1][1] == pytest.approx(half[1][0], rel=1e-2)
    assert half[2][1] > 3 * half[2][0]
    assert half[3][1] > 3 * half[3][0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: time_to_learn(1.0, 2.0, 1e-3), "never reach"),
        (lambda: mode_strengths([-1.0], [1.0], 1e-3), "times"),
        (lambda: mode_strengths([1.0], [np.nan], 1e-3), "finite"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message):
        call()
