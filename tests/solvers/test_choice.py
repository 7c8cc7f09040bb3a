"""Solvers by name give one answer; a name that does not fit the problem is refused."""

from __future__ import annotations

import pytest

from headwise.errors import InputError
from headwise.solvers import SOLVERS, solve, solver_of


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_reaches_the_same_optimum(make, name):
    problem = make("linear+attention", "squared").problem
    solution = solver_of(problem, name)(0.1, tol=1e-6)
    wanted = solver_of(problem, "factored")(0.1, tol=1e-6)
    assert solution.certificate.relative_gap <= 1e-6
    assert solution.certificate.primal == pytest.approx(wanted.certificate.primal, rel=2e-6)


@pytest.mark.parametrize(
    ("loss", "n", "wanted"), [("multinomial", 40, False), ("squared", 20, False), ("squared", 40, True)]
)
def test_auto_takes_moments_only_where_they_pay(make, loss, n, wanted):
    solver = solver_of(make("linear+attention", loss, n=n).problem)  # 3 + 27 features
    assert (solver.func is not solve) == wanted


def test_names_and_problems_that_do_not_fit(make):
    problem = make("linear").problem
    with pytest.raises(InputError, match="did you mean factored"):
        solver_of(problem, "factord")
    with pytest.raises(InputError, match="only the squared loss"):
        solver_of(problem, "moments")
