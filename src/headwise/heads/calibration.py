"""Calibration of class probabilities: how often predictions of a given confidence are right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from ..errors import InputError
from .outcomes import as_classes
from .resampling import Draw, binned

__all__ = ["Bin", "Reliability", "calibration_draw", "calibration_error", "chance_error", "reliability"]


class Bin(NamedTuple):
    """Samples whose top probability lies in one bin; means are None where there are none."""

    confidence: float | None
    accuracy: float | None
    samples: int


class Reliability(list[Bin]):
    """Bins of `reliability`, from low to high confidence: a list, and its picture."""

    def plot(self, axes: Any = None) -> Any:
        """Accuracy against confidence, dots as large as their bins have samples; returns the matplotlib axes."""
        import matplotlib.pyplot as plt

        axes = axes or plt.subplots(figsize=(4, 4), layout="constrained")[1]
        filled = [b for b in self if b.samples]
        most = max((b.samples for b in filled), default=1)
        axes.plot([0, 1], [0, 1], "--", color="0.6", label="calibrated")
        axes.scatter(
            [b.confidence for b in filled],
            [b.accuracy for b in filled],
            s=[10 + 90 * b.samples / most for b in filled],
            color="#0072B2",
            label=f"bins, up to {most:,} samples",
        )
        axes.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), xlabel="confidence (top probability)", ylabel="accuracy")
        axes.legend(loc="best", frameon=False)
        return axes


def _bins(probabilities: NDArray[Any], bins: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Top probability and its bin; bin k holds what is above ``k / bins`` up to ``(k + 1) / bins``."""
    top = probabilities.max(axis=1)
    return top, np.clip(np.ceil(top * bins).astype(np.int64) - 1, 0, bins - 1)


def reliability(probabilities: ArrayLike, targets: ArrayLike, bins: int = 15) -> Reliability:
    """Mean top probability, accuracy and number of samples in bins of equal width of the top probability.

    Parameters
    ----------
    probabilities : array (n, c)
    targets : array (n,) of classes ``0 .. c-1``
    bins : int

    Returns
    -------
    Reliability
        A list of bins ``(confidence, accuracy, samples)``, from low to high confidence; ``.plot()`` draws them.

    Examples
    --------
    >>> reliability([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]], [0, 0, 0], bins=2)
    [Bin(confidence=0.5, accuracy=1.0, samples=1), Bin(confidence=0.75, accuracy=0.5, samples=2)]
    """
    if bins < 1:
        raise InputError(f"bins must be 1 or more, got {bins!r}")
    p, y = as_classes(probabilities, targets)
    top, places = _bins(p, bins)
    counts = np.bincount(places, minlength=bins)
    sums = (np.bincount(places, weights=values, minlength=bins) for values in (top, p.argmax(axis=1) == y))
    return Reliability(
        Bin(float(confidence / count), float(right / count), int(count)) if count else Bin(None, None, 0)
        for confidence, right, count in zip(*sums, counts, strict=True)
    )


def calibration_error(probabilities: ArrayLike, targets: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: mean over samples of the distance of accuracy and confidence in a sample's bin.

    Bins of equal width on the top probability, as in Naeini et al. (AAAI 2015) and Guo et al. (ICML 2017).

    Examples
    --------
    >>> calibration_error([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]], [0, 0, 0], bins=2)
    0.3333333333333333
    """
    filled = [b for b in reliability(probabilities, targets, bins) if b.samples]
    confidence, accuracy, samples = np.array(filled, dtype=np.float64).T
    return float(samples @ np.abs(accuracy - confidence) / samples.sum())


def chance_error(bins: Iterable[Bin]) -> float:
    """Calibration error that perfectly calibrated predictions would show on average on as many samples.

    The accuracy in a bin of few samples misses its confidence by chance alone, so the error of no head is zero. Its
    mean is the mean absolute deviation of a binomial count (de Moivre), taking every sample of a bin to have the bin's
    mean confidence.

    Examples
    --------
    >>> round(chance_error([Bin(0.5, 1.0, 2)]), 6)  # none, one or two of two are right: off by 1/2 half the time
    0.25
    """
    total, off = 0, 0.0
    for confidence, _, n in bins:
        if not n or confidence is None:
            continue
        total += n
        if 0 < confidence < 1:
            k = int(np.floor(n * confidence)) + 1
            ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
            off += 2 * k * float(np.exp(ways + k * np.log(confidence) + (n - k + 1) * np.log1p(-confidence)))
    if not total:
        raise InputError("a calibration error needs samples, got bins without any")
    return off / total


def calibration_draw(p: NDArray[Any], y: NDArray[Any], bins: int = 15) -> Draw:
    """`calibration_error` on resamples."""
    top, places = _bins(p, bins)
    return binned((p.argmax(axis=1) == y) - top, places, bins)
