"""What a solver returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .certificate import Certificate
from .problem import Factors

__all__ = ["Round", "Solution", "Status"]


class Status(Enum):
    """How a fit ended, as a sentence."""

    CERTIFIED = "the certified gap is below the tolerance"
    ROUND_LIMIT = (
        "the limit of rounds or iterations was reached before the certified gap fell below the tolerance; raise that "
        "limit (max_rounds or max_iterations) or tol"
    )
    STALLED = "no further progress in this precision; the certified gap is what could be reached"
    INTERRUPTED = "stopped by the user; the certified gap is that of the last iterate"


@dataclass(frozen=True)
class Round:
    """One row of a solver's history."""

    seconds: float
    iterations: int
    primal: float
    gap: float
    atoms: int
    dtype: str


@dataclass(frozen=True)
class Solution:
    """Atoms, intercept, proof and history of one fit.

    ``rank`` counts the atoms of the parts with a nuclear norm, after balancing.
    """

    factors: Factors
    certificate: Certificate
    history: list[Round]
    status: Status
    rank: int
    seconds: float
