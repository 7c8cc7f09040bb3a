"""Targets in any units: the same head, the same relative gap, and a proof that holds in the units given."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from headwise.losses.huber import Huber
from headwise.losses.squared import Squared
from headwise.solvers import Status, beta_max, certify, solve_path, solver_of
from headwise.solvers.units import own_units

LOSSES = {"squared": Squared, "huber": Huber}


def numbers(made, loss, shift=0.0, scale=1.0, **options):
    """The problem with targets ``shift + scale y``, and its beta."""
    bound = LOSSES[loss](shift + scale * made.Y, made.Y.shape[1], made.w, **options)
    problem = replace(made.problem, loss=bound)
    return problem, 0.1 * beta_max(problem)


FAR = [(0.0, 1e10), (0.0, 1e-10), (1e9, 1.0), (-1e5, 1e3)]
CASES = [(kinds, *far) for kinds in ("attention", "linear+attention") for far in FAR]
CASES += [("ridge", 1e9, 1.0), ("ridge+attention", 1e9, 1.0)]  # quadratic penalties do not scale as norms do


@pytest.mark.parametrize(("kinds", "shift", "scale"), CASES)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_solution_is_that_of_targets_of_unit_size(make, kinds, loss, shift, scale):
    made = make(kinds)
    delta = {"delta": 2.0} if loss == "huber" else {}
    plain, beta = numbers(made, loss, **delta)
    far, _ = numbers(made, loss, shift, scale, **({"delta": 2.0 * scale} if delta else {}))
    wanted = solver_of(plain, "factored")(beta, tol=1e-6)
    found = solver_of(far, "factored")(beta * scale, tol=1e-6)
    assert found.status is Status.CERTIFIED and found.certificate.beta == beta * scale
    assert found.certificate.primal / scale**2 == pytest.approx(wanted.certificate.primal, rel=3e-6)
    again, _ = certify(far, found.factors, beta * scale, centre=False)
    assert again.relative_gap <= 2e-6 and again.primal == pytest.approx(found.certificate.primal, rel=1e-6)
    assert found.history[-1].primal == pytest.approx(found.certificate.primal, rel=1e-4)


@pytest.mark.parametrize("solver", ["factored", "proximal", "moments"])
def test_a_path_starts_each_solution_from_the_one_before(make, solver):
    problem, beta = numbers(make("attention"), "squared", 1e7, 1e4)
    last = list(solve_path(solver_of(problem, solver), [beta, beta / 2, beta / 2.01], tol=1e-5))[-1]
    assert last.status is Status.CERTIFIED
    assert last.history[0].atoms > 0 or solver != "factored"
    fresh = solver_of(problem, solver)(beta / 2.01, tol=1e-5)
    assert last.certificate.primal == pytest.approx(fresh.certificate.primal, rel=2e-5)


def test_ordinary_targets_are_solved_for_as_they_are(make):
    made = make("attention")
    assert own_units(numbers(made, "squared", 10.0)[0]) is None
    assert own_units(made.problem) is None  # classes have no units
    assert own_units(numbers(made, "squared", 1e5)[0]).scale == pytest.approx(1, abs=3)


def test_first_atoms_lower_a_loss_that_is_linear_far_away(make):
    problem, beta = numbers(make("attention"), "huber", delta=1e-5)
    history = solver_of(problem, "factored", max_rounds=2)(beta, tol=1e-2).history
    assert history[1].primal < history[0].primal


@pytest.mark.parametrize("tol", [1e-8, 1e-13, 1e-15])
def test_a_tolerance_below_rounding_costs_no_accuracy(make, tol):
    problem = make("attention").problem
    found = solver_of(problem, "factored")(0.1 * beta_max(problem), tol=tol)
    assert found.certificate.relative_gap <= 1e-7
    shifts = torch.stack([v.sum(-1).abs().max() for v in found.factors.v])
    assert float(shifts.max()) < 1e3  # a common shift of all classes is free and must not run away
