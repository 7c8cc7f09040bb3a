"""Piecewise linear ridges by least squares: kinks are found where they are, and what is out of reach is said."""

from __future__ import annotations

import numpy as np
import pytest

from headwise.theory.ridge_pursuit import pursue


def test_kinks_along_integer_directions_are_found_to_rounding():
    def kinks(v):
        a, b = v[:, 0], v[:, 1]
        return np.stack([np.abs(a - b) + 0.5 * np.abs(2 * a + b - 1), 3 * a - 1], axis=1)

    found = pursue(kinks, 2, 1e-3, 2000, 2**12)
    assert found is not None and {(1, -1), (2, 1)} <= set(map(tuple, found.directions.tolist()))
    v = np.random.default_rng(1).random((2000, 2))
    np.testing.assert_allclose(found(v), kinks(v), atol=1e-3)
    assert np.all(np.abs(found(v) - kinks(v)).max(0) <= found.dropped)


def test_the_sum_of_its_profiles_is_the_function():
    found = pursue(lambda v: np.stack([v.max(1), v.min(1), v.sum(1)], axis=1), 2, 0.01, 2000, 2**12)
    assert found is not None
    v = np.random.default_rng(0).random((50, 2))
    total = found.constant + v @ found.slope
    for ridge, direction in enumerate(found.directions):
        total = total + found.profile(ridge, v @ direction)
    np.testing.assert_allclose(total, found(v), atol=1e-12)
    np.testing.assert_allclose(found.only(slice(1, 2))(v)[:, 0], found(v)[:, 1], atol=1e-12)
    assert (found.bend() == 0).all() and found.pieces.tolist() == [len(one) - 1 for one in found.values]


@pytest.mark.parametrize(
    ("function", "units"),
    [(lambda v: (v[:, :1] > 0.37) * 1.0, 300), (lambda v: np.abs(v[:, :1] - v[:, 1:]), 10)],
    ids=["a jump", "too few units"],
)
def test_none_where_it_does_not_get_there(function, units):
    assert pursue(function, 2, 0.01, units, 2**12) is None
