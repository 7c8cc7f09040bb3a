"""Weights and names of distinct tokens, and how they compete."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from headwise import InputError
from headwise.theory.distinct_tokens import check_lowest, compete, names, weights


def test_weights_grow_linearly_to_one():
    np.testing.assert_allclose(weights(0.1, 10), np.arange(1, 11) / 10)
    np.testing.assert_array_equal(weights(0.3, 1), [1])


def test_names_are_numbered_where_weights_look_the_same():
    assert names(1.0, 2) == ["distinct, weight 1 (0)", "distinct, weight 1 (1)"]
    assert len(set(names(0.999, 20))) == 20


@pytest.mark.parametrize("lowest", [0, 1.5, "a"])
def test_refuses(lowest):
    with pytest.raises(InputError, match="lowest"):
        check_lowest(lowest)


@pytest.mark.parametrize("growth", [0.01, 1.0, 8.0, 60.0])
def test_ratio_law(growth) -> None:
    """Theorem 3, and the equation that `compete` solves."""
    weights = np.linspace(0.2, 1, 5)
    z = compete(weights, np.array([growth]))[0]

    def slope(_, logits):
        square = weights**2 * np.exp(2 * (logits - logits.max()))
        return square / square.sum()

    exact = solve_ivp(slope, (0, growth), np.zeros(5), rtol=1e-10, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(z, exact, atol=1e-7)
    assert z.sum() == pytest.approx(growth, rel=1e-10)
    before = (weights[:, None] / weights) ** 2 - 1
    after = (weights[:, None] / weights) ** 2 * np.exp(2 * (z[:, None] - z)) - 1
    np.testing.assert_allclose(after, before * np.exp(2 * z)[:, None], rtol=1e-6, atol=1e-6 * np.exp(2 * z.max()))
    first = weights.max() ** 2 / (weights**2).sum()
    assert np.exp(2 * first * growth) * (1 - 1e-9) <= np.exp(2 * z.max()) <= np.exp(2 * growth) * (1 + 1e-9)


def test_tokens_of_the_same_weight_stay_together() -> None:
    np.testing.assert_allclose(compete(np.ones(4), np.array([2.0])), 0.5, atol=1e-9)
