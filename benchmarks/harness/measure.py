"""The common objective, and how a peer is followed: gap against seconds, every peer by the same rules."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from headwise.solvers import Factors, Problem, certify, solve

__all__ = ["Curve", "Moment", "Peer", "Setting", "bounded", "follow", "median", "timed"]


@dataclass(frozen=True)
class Setting:
    """One problem at one beta, with a proved lower bound of its optimum."""

    problem: Problem
    beta: float
    lower: float
    prepared: Any = None
    """What a peer that works on tokens needs: `headwise.heads.fitting.Prepared`."""
    extra: dict[str, Any] = field(default_factory=dict)

    def objective(self, factors: Factors) -> float:
        """Loss plus beta times the exact penalty of Z, in float64 from the statistics; the same for all peers."""
        import torch

        whole = self.problem.balanced(factors.to(torch.float64), drop=0.0)
        outputs = self.problem.outputs(whole)
        return float(self.problem.loss.value(outputs) + self.beta * self.problem.penalty(whole))

    def gap(self, factors: Factors) -> float:
        """Objective over the proved lower bound of the optimum, less one."""
        return (self.objective(factors) - self.lower) / abs(self.lower)


def bounded(problem: Problem, beta: float, tol: float = 1e-5, prepared: Any = None, **extra: Any) -> Setting:
    """A setting whose lower bound comes from a solution certified to ``tol``."""
    solution = solve(problem, beta, tol=tol, max_rounds=200)
    # the exact bound costs once and is never wrong
    certificate, _ = certify(problem, solution.factors, beta, kind="exact")
    return Setting(problem, beta, max(certificate.dual, solution.certificate.dual), prepared, extra)


@dataclass(frozen=True)
class Moment:
    """Where a peer stands. ``seconds`` is given where the peer's own clock is the fairer one."""

    factors: Factors
    seconds: float | None = None


class Peer(Protocol):
    """One way of solving a setting.

    ``restarts`` is True where every moment is a run of its own (a tighter tolerance, a longer schedule), False where
    moments are stations of one run. ``skip`` leaves out that many of the first runs of one that restarts.
    """

    name: str
    restarts: bool

    def run(self, setting: Setting, budget: float, skip: int = 0) -> Iterator[Moment]: ...


@dataclass
class Curve:
    """Gap of a peer against its seconds, and what is to be said of it."""

    name: str
    points: list[tuple[float, float]] = field(default_factory=list)
    said: str = ""

    def seconds_to(self, gap: float) -> float | None:
        """First time at which the gap is reached, None where it is not."""
        return next((seconds for seconds, found in self.points if found <= gap), None)

    @property
    def best(self) -> float | None:
        return min((gap for _, gap in self.points), default=None)

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "points": [list(p) for p in self.points], "said": self.said}


def follow(peer: Peer, setting: Setting, budget: float, target: float, skip: int = 0) -> Curve:
    """Run a peer until its objective is within ``target`` of the bound, or until ``budget`` seconds are spent.

    Only the time inside the peer counts; looking at the objective does not.
    """
    curve, seconds, spent = Curve(peer.name), 0.0, 0.0
    try:
        run = peer.run(setting, budget, skip)
        while spent <= budget:
            began = time.perf_counter()
            moment = next(run, None)
            took = time.perf_counter() - began
            spent = took if peer.restarts else spent + took
            if moment is None:
                break
            seconds = spent if moment.seconds is None else moment.seconds
            gap = setting.gap(moment.factors)
            curve.points.append((seconds, gap))
            if gap <= target:
                break
    except Exception as error:  # a peer that cannot do it is a result, said in the table
        curve.said = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
    return curve


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what the work gave."""
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def median(values: list[float]) -> float:
    return statistics.median(values)
