"""Solvers of one convex problem: a loss of summed blocks with penalties, and the proof of how good a solution is."""

from .certificate import Certificate, certify
from .factored import solve
from .passes import HeldPasses, Passes
from .path import beta_grid, beta_max, solve_path
from .problem import Factors, Part, Problem
from .proximal import solve_proximal
from .solution import Solution, Status

__all__ = [
    "Certificate",
    "Factors",
    "HeldPasses",
    "Part",
    "Passes",
    "Problem",
    "Solution",
    "Status",
    "beta_grid",
    "beta_max",
    "certify",
    "solve",
    "solve_path",
    "solve_proximal",
]
