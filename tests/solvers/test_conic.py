"""The factored solver against a conic solver on small random problems."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headwise.blocks.attention import Attention
from headwise.blocks.linear import Linear
from headwise.contracts import TokenShape
from headwise.losses.multinomial import Multinomial
from headwise.penalties.nuclear import Nuclear
from headwise.penalties.ridge import Ridge
from headwise.solvers import HeldPasses, Part, Problem, solve

cp = pytest.importorskip("cvxpy", reason="cvxpy is the independent solver: pip install headwise[dev]")

CASES = [
    # seed, n, s, d, c, beta, parts
    (0, 24, 5, 3, 3, 0.05, "attention"),
    (1, 40, 6, 4, 2, 0.02, "attention"),
    (2, 30, 4, 4, 3, 0.03, "linear"),
    (3, 30, 5, 3, 3, 0.04, "ridge"),
    (4, 36, 4, 3, 3, 0.03, "linear+attention"),
    (5, 40, 6, 3, 2, 0.01, "ridge+attention"),
]


def make(seed, n, s, d, c, kinds):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, s, d))
    y = np.arange(n) % c
    X[:, 0] += 0.7 * y[:, None]
    values, pooling = torch.from_numpy(X), torch.full((n, s), 1 / s, dtype=torch.float64)
    parts, stats = [], []
    for kind in kinds.split("+"):
        shape = TokenShape(s, d)
        block = Attention(shape) if kind == "attention" else Linear(shape)
        parts.append(Part(block, Ridge() if kind == "ridge" else Nuclear()))
        stats.append(block.statistics(values, pooling))
    weights = torch.from_numpy(rng.uniform(0.5, 2, n))
    return X, y, weights, Problem(parts, HeldPasses(stats), Multinomial(torch.from_numpy(y), c, weights))


def conic_value(X, y, weights, c, beta, kinds):
    """The same convex problem written out densely, without any code of the package."""
    n, _, d = X.shape
    w = weights.numpy() / weights.numpy().sum()
    b = cp.Variable(c)
    outputs, penalty = cp.reshape(np.ones((n, 1)) @ cp.reshape(b, (1, c), order="C"), (n, c), order="C"), 0
    pooled = X.mean(1)
    for kind in kinds.split("+"):
        if kind == "attention":
            gram = np.einsum("nsk,nsl->nkl", X, X)
            Z = cp.Variable((d * d, d * c))  # rows (a, k), columns (l, output)
            columns = []
            for out in range(c):
                block = Z[:, [value * c + out for value in range(d)]]
                features = np.einsum("na,nkl->nakl", pooled, gram).reshape(n, d * d * d)
                columns.append(features @ cp.reshape(block, (d * d * d,), order="C"))
            outputs = outputs + cp.vstack(columns).T
            penalty = penalty + beta * cp.normNuc(Z)
        else:
            Z = cp.Variable((d, c))
            outputs = outputs + pooled @ Z
            penalty = penalty + (beta * cp.normNuc(Z) if kind == "linear" else beta / 2 * cp.sum_squares(Z))
    onehot = np.eye(c)[y]
    loss = w @ (cp.log_sum_exp(outputs, axis=1) - cp.sum(cp.multiply(onehot, outputs), axis=1))
    problem = cp.Problem(cp.Minimize(loss + penalty))
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9)
    return problem.value


@pytest.mark.parametrize(("seed", "n", "s", "d", "c", "beta", "kinds"), CASES)
def test_reaches_the_conic_optimum_and_never_claims_more(seed, n, s, d, c, beta, kinds):
    X, y, weights, problem = make(seed, n, s, d, c, kinds)
    optimum = conic_value(X, y, weights, c, beta, kinds)
    solution = solve(problem, beta, tol=1e-7)
    assert solution.certificate.primal == pytest.approx(optimum, rel=1e-5)
    assert solution.certificate.primal >= optimum * (1 - 1e-7)
    assert solution.certificate.dual <= optimum * (1 + 1e-7)
    assert solution.certificate.relative_gap <= 1e-5
