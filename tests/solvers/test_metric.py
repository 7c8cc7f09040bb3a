"""The curvature between gates, and what it saves."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from headwise.blocks.mlp import Mlp
from headwise.contracts import TokenShape
from headwise.gates.gaussian import Gaussian
from headwise.losses.multinomial import Multinomial
from headwise.losses.squared import Squared
from headwise.penalties.nuclear import Nuclear
from headwise.solvers import Factors, HeldPasses, Part, Problem, beta_max, metric, solve
from headwise.solvers.merged import Merged
from headwise.solvers.metric import GateMetric

BETA = 0.03


def merged(problem: Problem, atoms: int) -> Merged:
    """One merged part, with so many random atoms under each gate."""
    c = problem.loss.num_outputs
    u = [torch.randn(atoms, part.p, dtype=torch.float64) for part in problem.parts]
    v = [torch.randn(atoms, 1, c, dtype=torch.float64) for _ in problem.parts]
    return Merged.of(problem, Factors(u, v, torch.zeros(c, dtype=torch.float64)))


def independent() -> Problem:
    """Every pattern of three gates with every one of some features: the approximation is exact."""
    patterns = torch.tensor(list(product((0.0, 1.0), repeat=3)), dtype=torch.float64)
    x = torch.randn(9, 4, dtype=torch.float64)
    features = x.repeat(len(patterns), 1)[:, None]
    gates = patterns.repeat_interleave(len(x), 0)
    stats = [{"features": features, "gate": gates[:, g : g + 1]} for g in range(3)]
    block = Mlp(TokenShape(1, 4), gated=True)
    targets = torch.randn(len(features), 2, dtype=torch.float64)
    return Problem([Part(block, Nuclear()) for _ in stats], HeldPasses(stats), Squared(targets, 2), False)


def test_it_inverts_the_curvature_where_gates_and_features_are_independent():
    found = merged(independent(), atoms=2)
    problem, factors = found.problem, found.factors
    outputs = problem.outputs(factors)
    own = GateMetric(problem, BETA, factors)
    own.refresh(factors, outputs)
    for name in ("u", "v"):
        at = getattr(factors, name)[0]

        def gradient(x: torch.Tensor, name: str = name) -> torch.Tensor:
            """Of the squared loss linearised at the factors (Gauss-Newton), with the penalty."""
            moved = (
                Factors([x], factors.v, factors.intercept)
                if name == "u"
                else Factors(factors.u, [x], factors.intercept)
            )
            back = problem.loss.hessian_product(outputs, problem.outputs(moved))
            (_, stats), *_ = problem.passes.chunks(torch.float64)
            h = problem.parts[0].inner(stats[0], factors.u[0])
            if name == "v":
                return torch.einsum("nrk,nc->rkc", h, back) + BETA * x
            inner = (back @ factors.v[0].flatten(0, 1).T).view_as(h)
            return problem.parts[0].block.inner_adjoint(stats[0], inner) + BETA * x

        step = torch.randn_like(at)
        asked = Factors([torch.zeros_like(factors.u[0])], [torch.zeros_like(factors.v[0])], factors.intercept)
        setattr(asked, name, [gradient(step)])
        torch.testing.assert_close(getattr(own.solve(asked), name)[0], step, rtol=1e-9, atol=1e-9)


def many_gates(loss: str) -> Problem:
    x = torch.randn(400, 1, 6, dtype=torch.float64)
    block = Mlp(TokenShape(1, 6), gated=True)
    found = Gaussian().fit(block, TokenShape(1, 6), [x], 40, seed=0)
    stats = [block.statistics(x, torch.ones(400, 1, dtype=x.dtype), found.values(x, g)) for g in range(found.count)]
    y = (x[:, 0, 0].abs() + x[:, 0, 1] * x[:, 0, 2]).relu()
    made = Squared(y[:, None], 1) if loss == "squared" else Multinomial((y > y.median()).long(), 2)
    return Problem([Part(block, Nuclear()) for _ in stats], HeldPasses(stats), made, loss != "squared")


@pytest.mark.parametrize("loss", ["squared", "multinomial"])
def test_it_saves_steps_and_changes_no_optimum(loss, monkeypatch):
    problem = many_gates(loss)
    beta = 0.03 * beta_max(problem)
    ours = solve(problem, beta, tol=1e-6, max_rounds=200)
    monkeypatch.setattr(metric, "ATOMS_AT_MOST", 0)
    plain = solve(problem, beta, tol=1e-6, max_rounds=200)
    assert max(ours.certificate.relative_gap, plain.certificate.relative_gap) <= 1e-6
    assert ours.certificate.primal == pytest.approx(plain.certificate.primal, rel=2e-6)
    assert ours.history[-1].iterations < 0.8 * plain.history[-1].iterations


def test_parts_without_several_gates_keep_the_identity():
    problem = independent()
    found, empty = merged(problem, 2), merged(problem, 0)
    gradient = found.split(found.factors)
    apart = GateMetric(problem, BETA, gradient)
    assert not apart and apart.solve(gradient).u[0] is gradient.u[0]
    assert not GateMetric(empty.problem, BETA, empty.factors)
