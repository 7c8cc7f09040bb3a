"""Solutions over a grid of betas, each started from the one before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch

from ..contracts import Progress
from .certificate import dual_point
from .choice import Solver
from .problem import Problem
from .solution import Solution, Status

__all__ = ["STEPS", "Record", "beta_grid", "beta_max", "solve_path"]

STEPS = 10
"""What one beta of a path counts for in its progress."""


class Record(Protocol):
    """Solutions of a path that outlive the run."""

    def load(self, number: int, beta: float) -> Solution | None:
        """Solution ``number`` of the path where it is there."""
        ...

    def keep(self, number: int, solution: Solution) -> None:
        """Keep a solution."""
        ...


def beta_max(problem: Problem) -> float:
    """Smallest beta whose solution has no atoms: ``max ||A*(grad L(b))||_2`` at the best constant output.

    Quadratic parts are never zero; for a problem with nothing else the same number serves as the top of the grid.
    """
    theta = dual_point(problem, problem.outputs(problem.zero()))
    norms = [
        (part.factored, float(torch.linalg.matrix_norm(matrix, 2)))
        for part, matrix in zip(problem.parts, problem.adjoint(theta), strict=True)
    ]
    return max((n for factored, n in norms if factored), default=max(n for _, n in norms))


def beta_grid(top: float, num: int = 12, ratio: float = 1e-3) -> np.ndarray:
    """Geometric grid from ``top`` down to ``top * ratio``."""
    return np.geomspace(top, top * ratio, num)


def solve_path(
    solver: Solver,
    betas: np.ndarray,
    *,
    tol: float = 1e-3,
    record: Record | None = None,
    progress: Progress | None = None,
) -> Iterator[Solution]:
    """Solve for each beta in turn, from large to small, with warm starts.

    Parameters
    ----------
    solver : Solver
        For example of `solver_of`.
    betas : ndarray
        Strengths, tried in decreasing order.
    tol : float
        Relative gap of each solution.
    record : Record, optional
        Gives solutions of an earlier run, and keeps those of this one.
    progress : callable, optional
        Told ``("path", done, total)``: each beta counts for `STEPS`, and the solver's rounds move within it.
    """
    start = None
    ordered = np.sort(np.asarray(betas, dtype=float))[::-1]
    for number, beta in enumerate(ordered):
        if progress:
            progress("path", STEPS * number, STEPS * len(ordered))
        solution = record.load(number, float(beta)) if record else None
        if solution is None:
            within = progress and _Within(progress, number, len(ordered))
            solution = solver(float(beta), tol=tol, start=start, progress=within)
            if solution.status is Status.INTERRUPTED:
                raise KeyboardInterrupt  # one solution was cut short: the path ends, not only this point
            if record:
                record.keep(number, solution)
        start = solution.factors
        yield solution
    if progress:
        progress("path", STEPS * len(ordered), STEPS * len(ordered))


class _Within:
    """Turns the rounds of one solution into steps of its path; how many rounds it takes is not known before."""

    def __init__(self, progress: Progress, number: int, betas: int) -> None:
        self.progress, self.number, self.betas, self.rounds = progress, number, betas, 0

    def __call__(self, step: str, done: int, total: int) -> None:
        self.rounds = min(self.rounds + 1, STEPS - 1)
        self.progress("path", STEPS * self.number + self.rounds, STEPS * self.betas)
