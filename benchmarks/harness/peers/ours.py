"""headwise itself, by tolerance: every moment is a whole certified run to a tighter gap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headwise.solvers import solver_of

from ..measure import Moment, Setting

__all__ = ["Ours"]


class Ours:
    """A solver of the package (`solver_of`), its certificate included in the seconds."""

    restarts = True

    def __init__(self, solver: str = "factored", tols: Sequence[float] = (0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4)):
        self.name, self.solver, self.tols = f"headwise ({solver}, with certificate)", solver, tols

    def run(self, setting: Setting, budget: float, skip: int = 0) -> Iterator[Moment]:
        for tol in self.tols[skip:]:
            yield Moment(solver_of(setting.problem, self.solver)(setting.beta, tol=tol).factors)
