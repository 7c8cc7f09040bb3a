"""Every loss against a conic solver: attention, linear and their sum reach its optimum and never claim more."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headwise.blocks.attention import Attention
from headwise.blocks.linear import Linear
from headwise.contracts import TokenShape
from headwise.losses import LOSSES
from headwise.penalties.nuclear import Nuclear
from headwise.solvers import HeldPasses, Part, Problem, solve, solve_proximal

cp = pytest.importorskip("cvxpy", reason="cvxpy is the independent solver: pip install headwise[dev]")

N, S, D = 28, 4, 3


def targets_of(name, rng, signal):
    """Targets of each loss with a part that the tokens explain, and the loss written for cvxpy."""
    noise = rng.normal(size=(N, 2))
    if name == "binary":
        y = (signal + noise > 0).astype(float)
        return y, lambda f, w: w @ cp.sum(cp.logistic(f) - cp.multiply(y, f), axis=1)
    if name == "huber":
        y = 2 * signal + noise + 8 * (rng.random((N, 2)) < 0.1)
        return y, lambda f, w: w @ cp.sum(cp.huber(f - y, 1.0), axis=1) / 2
    if name == "squared":
        y = 2 * signal + noise
        return y, lambda f, w: w @ cp.sum(cp.square(f - y), axis=1) / 2
    if name == "poisson":
        y = rng.poisson(np.exp(0.5 * signal + 0.5)).astype(float)
        constant = np.where(y > 0, y * np.log(np.maximum(y, 1)), 0) - y
        return y, lambda f, w: w @ cp.sum(cp.exp(f) - cp.multiply(y, f) + constant, axis=1)
    assert name == "cox"
    time = np.ceil(6 * rng.exponential(np.exp(-signal[:, 0])))  # whole numbers: some times are tied
    y = np.stack([time, (rng.random(N) < 0.7).astype(float)], 1)

    def loss(f, w):
        total = 0
        for i in np.flatnonzero(y[:, 1]):
            at_risk = np.flatnonzero(time >= time[i])
            total = total + w[i] * (cp.log_sum_exp(f[at_risk, 0] + np.log(N * w[at_risk])) - f[i, 0])
        return total

    return y, loss


@pytest.mark.parametrize("kinds", ["attention", "linear", "linear+attention"])
@pytest.mark.parametrize("name", sorted(set(LOSSES.names()) - {"multinomial"}))
def test_reaches_the_conic_optimum_and_never_claims_more(name, kinds):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(N, S, D))
    pooled = X.mean(1)
    y, conic = targets_of(name, rng, np.stack([2 * pooled[:, 0], pooled[:, 1] + pooled[:, 2]], 1))
    c = 1 if name == "cox" else 2
    weights = torch.from_numpy(rng.uniform(0.5, 2, N))
    loss = LOSSES.get(name)(torch.from_numpy(y), c, weights)
    parts, stats, pooling = [], [], torch.full((N, S), 1 / S, dtype=torch.float64)
    for kind in kinds.split("+"):
        block = (Attention if kind == "attention" else Linear)(TokenShape(S, D))
        parts.append(Part(block, Nuclear()))
        stats.append(block.statistics(torch.from_numpy(X), pooling))
    problem = Problem(parts, HeldPasses(stats), loss, loss.has_intercept)
    beta = 0.05

    w = weights.numpy() / weights.numpy().sum()
    b = cp.Variable((1, c))
    outputs, penalty = (np.ones((N, 1)) @ b if loss.has_intercept else 0), 0
    for kind in kinds.split("+"):
        if kind == "linear":
            Z = cp.Variable((D, c))
            outputs = outputs + pooled @ Z
        else:
            Z = cp.Variable((D * D, D * c))  # rows (a, k), columns (l, output)
            features = np.einsum("na,ntk,ntl->nakl", pooled, X, X).reshape(N, D**3)
            blocks = [cp.reshape(Z[:, [v * c + out for v in range(D)]], (D**3, 1), order="C") for out in range(c)]
            outputs = outputs + features @ cp.hstack(blocks)
        penalty = penalty + beta * cp.normNuc(Z)
    conic_problem = cp.Problem(cp.Minimize(conic(outputs, w) + penalty))
    conic_problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9)
    optimum = conic_problem.value

    for solver in (solve, solve_proximal):
        certificate = solver(problem, beta, tol=1e-7).certificate
        assert certificate.primal == pytest.approx(optimum, rel=1e-5)
        assert certificate.dual <= optimum + 1e-7 * abs(optimum)
        assert certificate.relative_gap <= 1e-5
