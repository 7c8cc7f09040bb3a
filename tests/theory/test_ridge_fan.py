"""A fan of directions: the plane in which a function bends is found, and what is out of reach is said."""

from __future__ import annotations

import numpy as np
import pytest

from headwise.theory.ridge_fan import bending_plane, fan


def _planted(v):
    """Bends along (1, 2, -1, 0) and (0, 1, 1, 1) only."""
    a, b = v @ [1, 2, -1, 0], v @ [0, 1, 1, 1]
    return np.stack([np.abs(a - b) / 4 + v[:, 3], np.hypot(a, b - 1) / 4, v[:, 0]], axis=1)


def test_the_plane_and_the_slope_outside_it_are_found():
    plane, slope = bending_plane(_planted, 4)
    wanted = np.linalg.qr(np.array([[1.0, 2, -1, 0], [0, 1, 1, 1]]).T)[0].T
    np.testing.assert_allclose(np.linalg.svd(plane @ wanted.T)[1], 1, atol=1e-8)
    np.testing.assert_allclose(plane @ slope, 0, atol=1e-8)
    outside = np.eye(4) - wanted.T @ wanted
    np.testing.assert_allclose(slope[:, 2], outside[0], atol=1e-4)  # of v_1, which bends nowhere


def test_no_plane_where_a_function_bends_in_more():
    assert bending_plane(lambda v: (v**2).sum(1, keepdims=True), 3) is None
    assert fan(lambda v: (v**2).sum(1, keepdims=True), 3, 0.1, 10_000, 2**12) is None


@pytest.mark.parametrize("function", [lambda v: np.maximum.accumulate(v, axis=1), _planted], ids=["maximum", "planted"])
def test_what_is_left_is_within_what_is_said(function):
    inputs = 4 if function is _planted else 3
    found = fan(function, inputs, 0.06, 2000, 2**13)
    assert found is not None and found.dropped.max() <= 0.06
    v = np.random.default_rng(5).random((2000, inputs))
    assert (np.abs(found(v) - function(v)).max(0) <= found.dropped + 1e-6).all()
    total = found.constant + v @ found.slope
    for ridge, direction in enumerate(found.directions):
        total = total + found.profile(ridge, v @ direction)
    np.testing.assert_allclose(total, found(v), atol=1e-12)


def test_none_with_too_few_units():
    assert fan(lambda v: v.max(1, keepdims=True), 3, 0.01, 300, 2**12) is None
