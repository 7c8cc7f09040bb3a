"""The package's own FISTA on the explicit Z."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from headwise.solvers import fista, solve_proximal

from ..measure import Moment, Setting

__all__ = ["Proximal"]


class Proximal:
    """`solve_proximal` stopped after 1, 2, 4 ... seconds, with its limit of the size of Z lifted."""

    name, restarts = "FISTA with restarts on Z (headwise.solvers.solve_proximal)", True

    def __init__(self, first: float = 1.0) -> None:
        self.first = first

    def run(self, setting: Setting, budget: float, skip: int = 0) -> Iterator[Moment]:
        limit, fista.MATRIX_LIMIT = fista.MATRIX_LIMIT, sys.maxsize
        try:
            seconds = self.first * 2**skip
            while True:
                deadline = time.perf_counter() + min(seconds, budget)

                def stop(step: str, done: int, total: int, deadline: float = deadline) -> None:
                    if time.perf_counter() > deadline:
                        raise KeyboardInterrupt  # the solver hands back its last iterate

                found = solve_proximal(setting.problem, setting.beta, tol=1e-7, check_every=5, progress=stop)
                yield Moment(found.factors)
                if seconds >= budget:
                    return
                seconds *= 2
        finally:
            fista.MATRIX_LIMIT = limit
