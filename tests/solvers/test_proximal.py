"""Accelerated proximal gradient finds what the factored solver finds, by another way."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from headwise.errors import InputError
from headwise.solvers import HeldPasses, Problem, Status, condense, fista, proximal, solve, solve_proximal
from headwise.solvers.certificate import best_scale, certify

KINDS = ("attention", "linear", "ridge", "linear+attention", "ridge+attention")


def matrices(factors):
    return [u.flatten(1).T @ v.flatten(1) for u, v in zip(factors.u, factors.v, strict=True)]


def assert_the_same(one, other, rel=1e-6):
    """Equal objectives, each above the other's proved lower bound."""
    assert one.certificate.primal == pytest.approx(other.certificate.primal, rel=rel)
    for a, b in ((one, other), (other, one)):
        assert a.certificate.dual <= b.certificate.primal * (1 + 1e-12)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("kinds", KINDS)
def test_agrees_with_the_factored_solver(make, kinds, intercept, weighted):
    problem = make(kinds, intercept=intercept, weighted=weighted).problem
    wanted = solve(problem, 0.05, tol=1e-7)
    found = solve_proximal(problem, 0.05, tol=1e-7)
    assert found.status is Status.CERTIFIED
    assert found.certificate.relative_gap <= 1e-7
    assert_the_same(found, wanted)
    for a, b in zip(matrices(found.factors), matrices(wanted.factors), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3)
    if intercept:  # softmax does not see a common shift
        a, b = found.factors.intercept, wanted.factors.intercept
        torch.testing.assert_close(a - a.mean(), b - b.mean(), rtol=0, atol=1e-3)
    else:
        assert not found.factors.intercept.any()


@pytest.mark.parametrize("kinds", ["attention", "ridge+attention"])
def test_what_the_loop_reports_is_what_is_certified(make, kinds):
    solution = solve_proximal(make(kinds).problem, 0.05, tol=1e-5, check_every=10)
    last = solution.history[-1]
    assert last.primal == pytest.approx(solution.certificate.primal, rel=1e-12)
    assert last.gap == pytest.approx(solution.certificate.gap, rel=1e-3)
    assert last.atoms == solution.rank
    assert [r.iterations for r in solution.history] == list(range(0, last.iterations + 1, 10))


def test_certificates_on_the_way_are_sound(make):
    problem = make("linear+attention").problem
    optimum = solve(problem, 0.02, tol=1e-6).certificate
    for steps in (0, 1, 7, 40):
        solution = solve_proximal(problem, 0.02, tol=1e-9, max_iterations=steps)
        assert solution.status is Status.ROUND_LIMIT
        assert "max_iterations" in solution.status.value
        assert solution.history[-1].iterations == steps
        assert solution.certificate.dual <= optimum.primal
        assert solution.certificate.primal >= optimum.dual


def test_no_atoms_above_the_largest_beta_and_warm_starts_are_quick(make):
    problem = make("ridge+attention").problem
    assert solve_proximal(problem, 10.0, tol=1e-6).rank == 0
    cold = solve_proximal(problem, 0.05, tol=1e-6)
    warm = solve_proximal(problem, 0.05, tol=1e-6, start=cold.factors)
    assert warm.history[-1].iterations == 0
    assert_the_same(warm, cold, rel=1e-10)


@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_curvature_is_measured_on_short_moves_too(make, shift):
    """Where the difference of two values is rounding alone, the change of the gradient stands in."""
    problem = make("attention").problem
    oracle = proximal._Samples(problem)
    old = torch.randn(24, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + shift
    move = torch.randn(24, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for size in (1e-3, 1e-6, 1e-9):
        wanted = size**2 * float((problem.loss.hessian_product(old, move) * move).sum())
        assert oracle.excess(old + size * move, old) == pytest.approx(wanted, rel=1e-2)


def test_a_hopeful_look_is_not_a_certificate(make, monkeypatch):
    """The claim is that of `certify`, also where the estimate inside the loop is wrong."""
    problem = make("attention").problem
    monkeypatch.setattr(proximal, "best_scale", lambda *args: best_scale(*args) + 0.01)
    solution = solve_proximal(problem, 0.05, tol=1e-6, check_every=5, max_iterations=1000)
    fresh, _ = certify(problem, solution.factors, 0.05)
    assert solution.certificate.relative_gap == pytest.approx(fresh.relative_gap, rel=1e-3)
    assert (solution.status is Status.CERTIFIED) == (fresh.relative_gap <= 1e-6)


@pytest.mark.parametrize("at", [0, 50])
def test_interruption_keeps_an_honest_certificate(make, at):
    problem = make("attention").problem

    def stop(step, done, total):
        assert (step, total) == ("fit", 5000)
        if done == at:
            raise KeyboardInterrupt

    solution = solve_proximal(problem, 0.01, tol=1e-12, progress=stop)
    assert solution.status is Status.INTERRUPTED
    fresh, _ = certify(problem, solution.factors, 0.01)
    assert solution.certificate.primal == pytest.approx(fresh.primal, rel=1e-12)
    assert solution.certificate.dual <= solve(problem, 0.01, tol=1e-5).certificate.primal
    assert (solution.rank > 0) == (at > 0)


def test_progress_ends_at_its_total(make):
    told = []
    solve_proximal(make("linear").problem, 0.05, progress=lambda *what: told.append(what))
    assert told[0] == ("fit", 0, 5000) and told[-1] == ("fit", 5000, 5000)


def test_large_matrices_are_refused_before_any_work(make, monkeypatch):
    problem = make("linear+attention").problem
    monkeypatch.setattr(fista, "MATRIX_LIMIT", 9 * 9 - 1)
    with pytest.raises(InputError, match=r"attention part has 81 numbers, more than the 80 .*factored solver"):
        solve_proximal(problem, 0.05)
    monkeypatch.setattr(fista, "MATRIX_LIMIT", 9 * 9)
    assert solve_proximal(problem, 0.05).status is Status.CERTIFIED


def test_values_that_are_not_finite_end_in_an_error(make):
    problem = make("ridge").problem
    (_, (stats,)) = next(iter(problem.passes.chunks(torch.float64)))
    stats = {name: value.clone() for name, value in stats.items()}
    next(iter(stats.values()))[3] = torch.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        solve_proximal(Problem(problem.parts, HeldPasses([stats]), problem.loss), 0.05)


@pytest.mark.parametrize("scale", [1e-2, 100.0])
def test_the_size_of_the_features_costs_few_steps(make, scale):
    """The intercept keeps up with large features; beta grows with them, so that the problem stays the same."""
    problem = make("linear").problem
    (_, (stats,)) = next(iter(problem.passes.chunks(torch.float64)))
    passes = HeldPasses([{name: scale * value for name, value in stats.items()}])
    wanted = solve_proximal(problem, 0.05, tol=1e-6).certificate
    found = solve_proximal(Problem(problem.parts, passes, problem.loss), 0.05 * scale, tol=1e-6, max_iterations=500)
    assert found.status is Status.CERTIFIED
    assert found.certificate.primal == pytest.approx(wanted.primal, rel=1e-6)


def test_parts_for_some_of_the_outputs(make):
    """Channel groups: each part has columns of its own."""
    problem = make("linear+attention").problem
    parts = [replace(problem.parts[0], columns=slice(0, 2)), replace(problem.parts[1], columns=slice(1, 3))]
    problem = replace(problem, parts=parts)
    wanted = solve(problem, 0.05, tol=1e-7)
    found = solve_proximal(problem, 0.05, tol=1e-7)
    assert_the_same(found, wanted)
    with pytest.raises(InputError, match="channel groups"):
        condense(replace(problem, loss=make("linear", "squared").problem.loss))
