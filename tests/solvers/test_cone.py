"""Least differences of members of a cone, against a conic solver."""

from __future__ import annotations

import numpy as np
import pytest

from headwise.solvers import cone_difference
from headwise.solvers.cone import nearest_point

cp = pytest.importorskip("cvxpy", reason="cvxpy is the independent solver: pip install headwise[dev]")


def cone(m: int, p: int, seed: int):
    """A pattern that scores have, as unit rows, and a vector."""
    rng = np.random.default_rng(seed)
    scores, h, u = rng.normal(size=(m, p)), rng.normal(size=p), rng.normal(size=p)
    normals = np.sign(scores @ h)[:, None] * scores
    return normals / np.linalg.norm(normals, axis=1, keepdims=True), u


@pytest.mark.parametrize(("m", "p"), [(3, 6), (20, 4), (60, 6), (300, 9), (1000, 12)])
def test_least_norms_are_those_of_a_conic_solver(m, p):
    normals, u = cone(m, p, seed=m)
    a, b = cone_difference(normals, u)
    size = np.linalg.norm(a) + np.linalg.norm(b)
    np.testing.assert_allclose(a - b, u, atol=1e-13 * size)
    assert min((normals @ a).min(), (normals @ b).min()) >= -1e-12 * size
    first, second = cp.Variable(p), cp.Variable(p)
    held = [normals @ first >= 0, normals @ second >= 0, first - second == u]
    wanted = cp.Problem(cp.Minimize(cp.norm(first) + cp.norm(second)), held).solve(solver=cp.CLARABEL)
    assert size == pytest.approx(wanted, rel=1e-6)


def test_repeated_and_opposite_constraints():
    normals, u = cone(40, 5, seed=1)
    a, b = cone_difference(normals, u)
    twice, again = cone_difference(np.repeat(normals, 3, axis=0), u)
    np.testing.assert_allclose(twice, a, atol=1e-7)
    np.testing.assert_allclose(again, b, atol=1e-7)
    plane = np.eye(5)[:2]  # two normals and their opposites: the cone is a subspace, its interior empty
    assert cone_difference(np.concatenate([plane, -plane]), u) is None
    inside = np.array([0, 0, 1.0, 2, 3])
    found = cone_difference(np.concatenate([plane, -plane]), inside)
    assert found is not None
    np.testing.assert_allclose(found[0] - found[1], inside)


def test_members_need_no_partner():
    normals, u = cone(30, 4, seed=2)
    a, _ = cone_difference(normals, u)
    np.testing.assert_array_equal(cone_difference(normals, a * 2)[1], 0)
    np.testing.assert_array_equal(cone_difference(normals, -a)[0], 0)
    np.testing.assert_array_equal(cone_difference(normals[:0], u)[0], u)
    np.testing.assert_array_equal(cone_difference(normals, np.zeros(4)), np.zeros((2, 4)))


@pytest.mark.parametrize("seed", range(5))
def test_the_nearest_point_from_any_start(seed):
    rng = np.random.default_rng(seed)
    normals, u = cone(50, 6, seed)
    least = np.maximum(-(normals @ u), 0)
    point, active = nearest_point(normals, least, -0.3 * u)
    x = cp.Variable(6)
    cp.Problem(cp.Minimize(cp.sum_squares(x + 0.3 * u)), [normals @ x >= least]).solve(solver=cp.CLARABEL)
    np.testing.assert_allclose(point, x.value, atol=1e-5 * (1 + np.linalg.norm(point)))
    # its conditions of optimality: it differs from the target by a positive combination of the active normals
    weights, *_ = np.linalg.lstsq(normals[active].T, point + 0.3 * u, rcond=None)
    assert (weights > 0).all()
    np.testing.assert_allclose(normals[active].T @ weights, point + 0.3 * u, atol=1e-11 * (1 + np.linalg.norm(point)))
    _, elsewhere = nearest_point(normals, least, rng.normal(size=6))
    warm, _ = nearest_point(normals, least, -0.3 * u, elsewhere)
    np.testing.assert_allclose(warm, point, atol=1e-11 * (1 + np.linalg.norm(point)))
