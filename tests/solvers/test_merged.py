"""Gates on shared features, worked on as one part."""

from __future__ import annotations

import pytest
import torch

from headwise.blocks.mlp import Mlp
from headwise.contracts import TokenShape
from headwise.gates.gaussian import Gaussian
from headwise.losses.multinomial import Multinomial
from headwise.losses.squared import Squared
from headwise.penalties.nuclear import Nuclear
from headwise.solvers import Factors, HeldPasses, Part, Problem, metric, solve, solve_proximal
from headwise.solvers import factored as factored_solver
from headwise.solvers.descent import FactorDescent
from headwise.solvers.merged import Merged


def problem(tokens: int = 1, gates: int = 6) -> Problem:
    values = torch.randn(40, tokens, 5, dtype=torch.float64)
    block = Mlp(TokenShape(tokens, 5), gated=True)
    found = Gaussian().fit(block, TokenShape(tokens, 5), [values], gates, seed=0)
    pooling = torch.full((40, tokens), 1 / tokens, dtype=torch.float64)
    stats = [block.statistics(values, pooling, found.values(values, g)) for g in range(found.count)]
    return Problem([Part(block, Nuclear()) for _ in stats], HeldPasses(stats), Multinomial(torch.arange(40) % 3, 3))


def factors(problem: Problem, counts: list[int]) -> Factors:
    u = [torch.randn(count, 5, dtype=torch.float64) for count in counts]
    v = [torch.randn(count, 1, 3, dtype=torch.float64) for count in counts]
    return Factors(u, v, torch.randn(3, dtype=torch.float64))


def test_a_merged_problem_is_the_same_problem(monkeypatch):
    monkeypatch.setattr(metric, "ATOMS_AT_MOST", 0)  # the same steps, too
    whole = problem()
    start = factors(whole, [2, 0, 1, 3, 0, 1])
    merged = Merged.of(whole, start)
    assert len(merged.problem.parts) == 1 and [len(u) for u in merged.factors.u] == [7]
    torch.testing.assert_close(merged.problem.outputs(merged.factors), whole.outputs(start), rtol=1e-12, atol=1e-12)
    ours, theirs = FactorDescent(merged.problem, 0.01, merged.factors), FactorDescent(whole, 0.01, start)
    for _ in range(5):
        assert ours.step() == pytest.approx(theirs.step(), rel=1e-8)
    back = merged.split(ours.factors)
    for a, b in zip([*back.u, *back.v], [*theirs.factors.u, *theirs.factors.v], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)
    again = [gates["gates"] for _, (gates,) in merged.problem.passes.chunks(torch.float64)]
    assert again[0] is next(iter(merged.problem.passes.chunks(torch.float64)))[1][0]["gates"]  # kept


def test_parts_with_features_of_their_own_stay_apart():
    whole = problem(tokens=3)
    start = factors(whole, [1] * 6)
    merged = Merged.of(whole, start)
    assert merged.problem is whole and merged.factors is start
    assert all(torch.equal(a, b) for a, b in zip(merged.split(start).u, start.u, strict=True))


def test_the_optimum_is_that_of_the_parts_alone(monkeypatch):
    whole = problem()
    found = solve(whole, 0.01, tol=1e-7, max_rounds=200)
    assert found.certificate.relative_gap <= 1e-7
    assert found.certificate.primal == pytest.approx(solve_proximal(whole, 0.01, tol=1e-7).certificate.primal, rel=1e-6)
    monkeypatch.setattr(
        factored_solver.Merged, "of", lambda p, f: Merged(p, f, [[i] for i in range(6)], [len(u) for u in f.u])
    )
    apart = solve(whole, 0.01, tol=1e-7, max_rounds=200)
    assert found.certificate.primal == pytest.approx(apart.certificate.primal, rel=1e-6)


def test_all_gates_at_once_give_what_each_gives_alone():
    whole = problem(gates=7)
    start = factors(whole, [2, 0, 1, 3, 0, 1, 1])
    theta = torch.randn(40, 3, dtype=torch.float64)
    (_, stats), *_ = whole.passes.chunks(torch.float64)
    assert whole.shared == [list(range(7))]
    for found, part, own in zip(whole.adjoint(theta), whole.parts, stats, strict=True):
        torch.testing.assert_close(found, part.block.adjoint(own, theta), rtol=1e-12, atol=1e-12)
    alone = [
        part.inner(own, u).flatten(1) @ v.flatten(0, 1)
        for part, own, u, v in zip(whole.parts, stats, start.u, start.v, strict=True)
    ]
    torch.testing.assert_close(whole.outputs(start), sum(alone) + start.intercept, rtol=1e-12, atol=1e-12)


def test_matrices_of_one_column_are_balanced_at_once():
    whole = problem()
    single = Problem(whole.parts, whole.passes, Squared(torch.randn(40, 1, dtype=torch.float64), 1))
    counts = [2, 0, 1, 3, 0, 1]
    u = [torch.randn(count, 5, dtype=torch.float64) for count in counts]
    v = [torch.randn(count, 1, 1, dtype=torch.float64) for count in counts]
    v[5] *= 0
    found = single.balanced(Factors(u, v, torch.zeros(1, dtype=torch.float64)))
    assert [len(atoms) for atoms in found.u] == [len(atoms) for atoms in found.v] == [1, 0, 1, 1, 0, 0]
    for before_u, before_v, after_u, after_v in zip(u, v, found.u, found.v, strict=True):
        z = before_u.T @ before_v.flatten(1)
        torch.testing.assert_close(after_u.T @ after_v.flatten(1), z, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(after_u.norm(), after_v.norm(), rtol=1e-12, atol=1e-12)
