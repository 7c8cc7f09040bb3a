"""How well a score orders candidates by what was measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import weightedtau

from ..checks import check_number, check_whole
from ..errors import InputError

__all__ = ["Agreement", "agreement"]


@dataclass(frozen=True)
class Agreement:
    """How well a score orders candidates by what was measured.

    Parameters
    ----------
    tau : float
        Weighted Kendall correlation, from -1 to 1; candidates at the top weigh most.
    low, high : float or None
        Ends of the percentile bootstrap interval over the candidates; None where no resample had two different ones.
    resamples : int
        That the interval rests on.
    """

    tau: float
    low: float | None
    high: float | None
    resamples: int


def agreement(
    scores: ArrayLike, measured: ArrayLike, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Agreement:
    """Weighted Kendall correlation of a score with measured accuracies, with a bootstrap interval.

    Parameters
    ----------
    scores, measured : array, shape (m,)
        Of the same candidates (a task, backbone and layer each).
    level : float
        Of the interval.
    resamples, seed : int
        Of the bootstrap.

    Raises
    ------
    InputError
        Fewer than three candidates, lengths that differ, values that are not finite or all the same.

    Examples
    --------
    >>> round(agreement([1, 2, 3, 4], [0.5, 0.6, 0.8, 0.9]).tau, 6)
    1.0
    """
    x, y = np.asarray(scores, dtype=float), np.asarray(measured, dtype=float)
    check_number("level", level, below=1)
    check_whole("resamples", resamples, 1)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 3 or not np.isfinite([x, y]).all():
        raise InputError(
            f"scores and measured values need one finite number for each of three candidates or more, got shapes "
            f"{x.shape} and {y.shape}"
        )
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        raise InputError("all scores, or all measured values, are the same; there is no order to compare")
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = rng.integers(len(x), size=len(x))
        if np.ptp(x[drawn]) > 0 and np.ptp(y[drawn]) > 0:
            found.append(float(weightedtau(x[drawn], y[drawn])[0]))
    ends = [float(q) for q in np.quantile(found, [(1 - level) / 2, (1 + level) / 2])] if found else [None, None]
    return Agreement(float(weightedtau(x, y)[0]), ends[0], ends[1], len(found))
