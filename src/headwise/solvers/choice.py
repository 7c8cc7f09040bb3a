"""Solvers by name, bound to a problem."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from ..contracts import Loss, Progress
from ..errors import unknown_name
from .factored import solve
from .gram import check_squared, condense, fits_moments
from .problem import Factors, Problem
from .proximal import solve_proximal
from .solution import Solution
from .units import own_units

__all__ = ["SOLVERS", "Solver", "check_solver", "solver_of"]

SOLVERS = ("auto", "factored", "proximal", "moments")
"""Names that `solver_of` knows."""

MOMENTS_AT_MOST = 512
"""Most features for which "auto" takes the moments: their solver decomposes whole matrices Z in every step."""


class Solver(Protocol):
    """Solves one problem for any beta."""

    def __call__(
        self, beta: float, *, tol: float = ..., start: Factors | None = ..., progress: Progress | None = ...
    ) -> Solution:
        """The solution at ``beta`` to a certified relative gap ``tol``, from a warm start where one is given."""
        ...


def solver_of(problem: Problem, name: str = "auto", max_rounds: int = 60) -> Solver:
    """A solver of ``problem``.

    Targets of a squared or Huber loss that are far from zero, or from unit size, are solved for in units of their own
    spread (`headwise.solvers.units`); what comes back is in those given.

    Parameters
    ----------
    problem : Problem
    name : {"auto", "factored", "proximal", "moments"}
        "factored" works for every problem (`solve`), "proximal" on whole matrices of small ones (`solve_proximal`),
        "moments" for the squared loss with few features: after one pass its time does not depend on the number of
        samples (`condense`). "auto" takes the moments where there are at most 512 features and more samples than
        features, else the factored solver.
    max_rounds : int
        Rounds of the factored solver; the others may take a hundred steps for each.

    Raises
    ------
    InputError
        An unknown name, or a problem that the solver is not for.
    """
    check_solver(name, problem.loss)
    if name == "auto":
        few = fits_moments(problem, min(MOMENTS_AT_MOST, problem.passes.num_samples))
        name = "moments" if few else "factored"
    units = own_units(problem)
    if units is not None:
        return units.solver(_named(units.inside, name, max_rounds))
    return _named(problem, name, max_rounds)


def _named(problem: Problem, name: str, max_rounds: int) -> Solver:
    if name == "factored":
        return partial(solve, problem, max_rounds=max_rounds)
    if name == "proximal":
        return partial(solve_proximal, problem, max_iterations=100 * max_rounds)
    return partial(condense(problem).solve, max_iterations=400 * max_rounds)


def check_solver(name: str, loss: Loss) -> None:
    """Refuse a solver that is unknown or not for a loss, before there is a problem."""
    if name not in SOLVERS:
        raise unknown_name("solver", name, SOLVERS)
    if name == "moments":
        check_squared(loss)
