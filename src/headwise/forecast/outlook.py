"""What the modes of a student do to the error on unseen samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Outlook"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outlook:
    """What each mode of a student adds to the error on unseen samples, at some number of samples.

    Parameters
    ----------
    data : array, shape (m,)
        Strengths of the modes in the data, which a student learns.
    along : array, shape (m,)
        How much of the teacher lies along each mode, in the units of ``data``.
    own : array, shape (m,)
        Mean squared length of unseen samples along the input direction of each mode.
    signal : float
        Share of the labels' variance that is linear in the features.
    floor : float
        Error that no linear student on these features can avoid.
    """

    data: Floats
    along: Floats
    own: Floats
    signal: float
    floor: float

    def error(self, strengths: Floats) -> Floats:
        """Error on unseen samples of students whose modes have these strengths, ``(p, m)``: shares of `total`."""
        return (self.total - 2 * strengths @ self.along + strengths**2 @ self.own) / self.total

    @property
    def total(self) -> float:
        """Expected square of unseen labels about the mean of the training labels: the error of that mean."""
        return self.signal + self.floor

    @property
    def least_error(self) -> float:
        """The same if every mode had the strength that is best for it: the bound of any stopping time."""
        return float(1 - (self.along**2 / self.own).sum() / self.total)
