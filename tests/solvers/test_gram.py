"""Regression from second moments alone gives what the samples give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headwise.errors import InputError
from headwise.solvers import (
    Factors,
    HeldPasses,
    Problem,
    Status,
    condense,
    fista,
    gram,
    proximal,
    solve,
    solve_proximal,
)

KINDS = ("attention", "linear", "ridge", "linear+attention", "ridge+attention")


def matrices(factors):
    return [u.flatten(1).T @ v.flatten(1) for u, v in zip(factors.u, factors.v, strict=True)]


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("kinds", KINDS)
def test_agrees_with_the_solvers_on_samples(make, kinds, intercept, weighted):
    problem = make(kinds, "squared", intercept, weighted).problem
    found = condense(problem).solve(0.1, tol=1e-7)
    assert found.status is Status.CERTIFIED
    assert found.certificate.relative_gap <= 1e-7
    for other in (solve(problem, 0.1, tol=1e-7, max_rounds=120), solve_proximal(problem, 0.1, tol=1e-7)):
        assert found.certificate.primal == pytest.approx(other.certificate.primal, rel=1e-6)
        assert found.certificate.dual <= other.certificate.primal * (1 + 1e-12)
        assert other.certificate.dual <= found.certificate.primal * (1 + 1e-12)
        for a, b in zip(matrices(found.factors), matrices(other.factors), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-3)
        torch.testing.assert_close(found.factors.intercept, other.factors.intercept, rtol=0, atol=1e-3)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("kinds", KINDS)
def test_moments_and_samples_see_the_same_function(make, kinds, intercept):
    """Value, gradient, curvature and estimated gap at points that are no solutions."""
    problem = make(kinds, "squared", intercept).problem
    condensed, samples = condense(problem), proximal._Samples(problem)
    points = []
    for seed in (0, 1):
        generator = torch.Generator().manual_seed(seed)
        zero = problem.zero()
        numbers = [0.1 * torch.randn(p.p, p.k * 3, generator=generator, dtype=torch.float64) for p in problem.parts]
        eyes = [torch.eye(p.p, dtype=torch.float64).view(-1, *p.u_shape) for p in problem.parts]
        whole = Factors(
            eyes, [z.view(p.p, p.k, 3) for z, p in zip(numbers, problem.parts, strict=True)], zero.intercept
        )
        factors = problem.balanced(whole)
        iterate = fista.Iterate.of(problem, factors, 1.0)
        here = fista.Point(iterate, condensed.image(iterate))
        factors = condensed.finished(here)
        assert intercept or not factors.intercept.any()
        outputs = problem.outputs(factors)
        if intercept:
            assert float(problem.loss.gradient(outputs).sum(0).abs().max()) < 1e-13
        there = fista.Point(fista.Iterate.of(problem, factors, 1.0), outputs)
        for a, b in zip(condensed.gradient(here.image)[:-1], samples.gradient(outputs)[:-1], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
        assert condensed.look(here, 0.05) == pytest.approx(samples.look(there, 0.05), rel=1e-8)
        points.append((here.image, outputs))
    (a, b), (c, d) = points
    assert condensed.excess(a, c) == pytest.approx(samples.excess(b, d), rel=1e-10)


def test_nothing_is_asked_of_the_samples_between_condensing_and_the_proof(make):
    problem = make("linear+attention", "squared").problem
    passes = problem.passes

    class Counted:
        held, num_samples, processes, count = True, passes.num_samples, passes.processes, 0

        def chunks(self, dtype, times=1):
            yield from passes.chunks(dtype, times)
            self.count += 1  # whole passes: a look at the first chunk alone is none

    counted = Counted()
    condensed = condense(Problem(problem.parts, counted, problem.loss))
    assert counted.count == 1
    solution = condensed.solve(0.1)
    assert counted.count == 3, "outputs and adjoint of one certificate"
    assert solution.history[-1].gap == pytest.approx(solution.certificate.gap, rel=1e-4)


def test_chunks_and_far_means_change_nothing(make):
    """Features far from zero, cut into chunks: sums about the first chunk's mean keep their digits."""
    problem = make("linear", "squared", n=90).problem
    (_, (stats,)) = next(iter(problem.passes.chunks(torch.float64)))
    passes = HeldPasses([{name: value + 1e5 for name, value in stats.items()}])
    passes._chunk = 32
    moved = condense(Problem(problem.parts, passes, problem.loss))
    here = condense(problem)
    torch.testing.assert_close(moved.moments, here.moments, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(moved.cross, here.cross, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(moved.means, here.means + 1e5, rtol=1e-12, atol=0)


def test_ridge_alone_is_the_closed_form(make):
    made = make("ridge", "squared")
    solution = condense(made.problem).solve(0.2, tol=1e-12)
    pooled, w = made.X.mean(1), made.w[:, None]
    x, y = pooled - (w * pooled).sum(0), made.Y - (w * made.Y).sum(0)
    wanted = torch.linalg.solve(x.T @ (w * x) + 0.2 * torch.eye(3, dtype=torch.float64), x.T @ (w * y))
    torch.testing.assert_close(matrices(solution.factors)[0], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("kinds", "beta"), [("linear", 0.1), ("attention", 0.2), ("ridge+attention", 0.1)])
def test_reaches_the_conic_optimum(make, kinds, beta):
    cp = pytest.importorskip("cvxpy", reason="cvxpy is the independent solver: pip install headwise[dev]")
    made = make(kinds, "squared")
    X, Y, w = made.X.numpy(), made.Y.numpy(), made.w.numpy()
    (n, _, d), c = X.shape, Y.shape[1]
    pooled = X.mean(1)
    b = cp.Variable((1, c))
    outputs, penalty = np.ones((n, 1)) @ b, 0
    for kind in kinds.split("+"):
        if kind == "attention":
            features = np.einsum("na,nsk,nsl->nakl", pooled, X, X).reshape(n, -1)
            Z = cp.Variable((d * d, d * c))  # rows (a, k), columns (l, output)
            outputs = outputs + features @ cp.reshape(Z, (d**3, c), order="C")
        else:
            Z = cp.Variable((d, c))
            outputs = outputs + pooled @ Z
        penalty = penalty + (cp.sum_squares(Z) / 2 if kind == "ridge" else cp.normNuc(Z))
    loss = cp.sum_squares(cp.multiply(np.sqrt(w)[:, None], outputs - Y)) / 2
    conic = cp.Problem(cp.Minimize(loss + beta * penalty))
    conic.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9)
    certificate = condense(made.problem).solve(beta, tol=1e-7).certificate
    assert certificate.primal == pytest.approx(conic.value, rel=1e-6)
    assert certificate.dual <= conic.value * (1 + 1e-7)


def test_interruption_keeps_an_honest_certificate(make):
    problem = make("attention", "squared").problem

    def stop(step, done, total):
        if done == 50:
            raise KeyboardInterrupt

    solution = condense(problem).solve(0.1, tol=1e-12, progress=stop)
    assert solution.status is Status.INTERRUPTED
    assert 0 < solution.certificate.gap < 1
    assert solution.certificate.dual <= solve(problem, 0.1, tol=1e-5).certificate.primal


def test_other_losses_and_many_features_are_refused(make, monkeypatch):
    with pytest.raises(InputError, match=r"only the squared loss .* got multinomial; give solver='factored'"):
        condense(make("linear").problem)
    monkeypatch.setattr(gram, "FEATURE_LIMIT", 29)
    with pytest.raises(InputError, match=r"30 features are more than the 29 .*solver='factored'"):
        condense(make("linear+attention", "squared").problem)
