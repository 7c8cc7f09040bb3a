"""Solvers of one convex problem: a loss of summed blocks with penalties, and the proof of how good a solution is."""

from .certificate import Certificate
from .choice import SOLVERS, Solver, check_solver, solver_of
from .cone import cone_difference
from .factored import solve
from .gram import CondensedProblem, condense
from .passes import HeldPasses, Passes
from .path import Record, beta_grid, beta_max, solve_path
from .problem import Factors, Part, Problem
from .proximal import solve_proximal
from .solution import Round, Solution, Status
from .spilled import SpilledPasses
from .units import certify

__all__ = [
    "SOLVERS",
    "Certificate",
    "CondensedProblem",
    "Factors",
    "HeldPasses",
    "Part",
    "Passes",
    "Problem",
    "Record",
    "Round",
    "Solution",
    "Solver",
    "SpilledPasses",
    "Status",
    "beta_grid",
    "beta_max",
    "certify",
    "check_solver",
    "condense",
    "cone_difference",
    "solve",
    "solve_path",
    "solve_proximal",
    "solver_of",
]
