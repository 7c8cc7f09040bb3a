"""The solver where every penalty is a ridge: strongly convex, so that a gradient says how far the optimum is."""

from __future__ import annotations

import time

import torch

from ..contracts import Progress
from .certificate import Certificate, certify
from .descent import FactorDescent
from .problem import Factors, Problem
from .solution import Round, Solution, Status

__all__ = ["solve_ridge"]


def solve_ridge(
    problem: Problem,
    beta: float,
    *,
    tol: float,
    start: Factors | None,
    max_rounds: int,
    dtype: torch.dtype | None,
    progress: Progress | None,
) -> Solution:
    """Minimise ``L + beta / 2 ||Z||_F^2`` to a certified relative gap; arguments are those of `solve`.

    Quasi-Newton steps until the gradient promises the tolerance, then one proof; a round more, with a stricter
    promise, where that fails. Single precision comes first: the proof, always in double precision, says if it was
    enough.
    """
    began = time.perf_counter()
    work = dtype or torch.float32
    factors = (start.clone() if start is not None else problem.zero()).to(work, problem.device)
    proved: tuple[Certificate, Factors] | None = None
    descent = FactorDescent(problem, beta, factors)
    history: list[Round] = []
    status, promise, done = Status.ROUND_LIMIT, 0.5 * tol, 0
    try:
        for number in range(max_rounds + 1):
            if progress:
                progress("fit", number, max_rounds)
            earlier, idle = descent.iterations, 0
            while idle < 3 and descent.iterations - earlier < STEPS:
                enough = promise * problem.size(descent.value)
                idle = idle + 1 if descent.step(enough) <= 0 else 0
                if descent.bound <= enough:
                    break
            proved = certify(problem, descent.factors, beta, content=tol)
            found = proved[0]
            precision = str(descent.dtype)[6:]
            history.append(
                Round(time.perf_counter() - began, done + descent.iterations, found.primal, found.gap, 0, precision)
            )
            if found.relative_gap <= tol:
                status = Status.CERTIFIED
                break
            promise /= 4
            if descent.dtype == torch.float32:
                done += descent.iterations
                descent = FactorDescent(problem, beta, proved[1])
            elif idle:
                status = Status.STALLED
                break
    except KeyboardInterrupt:
        status, proved = Status.INTERRUPTED, None
    if proved is None:
        proved = certify(problem, descent.factors, beta)
        if proved[0].relative_gap <= tol:
            status = Status.CERTIFIED
    if progress:
        progress("fit", max_rounds, max_rounds)
    certificate, final = proved
    return Solution(final, certificate, history, status, 0, time.perf_counter() - began)


STEPS = 100
"""Most steps between two proofs."""
