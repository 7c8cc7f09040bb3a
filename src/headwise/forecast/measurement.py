"""The probe of a forecast, trained by gradient descent and seen on held-out samples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..theory.stopping import Stop
from .curve import LearningCurve, Measured
from .spectrum import Spectrum

__all__ = ["measure", "training_work"]

Floats = NDArray[np.float64]

STEP = 0.03
"""Share of the strongest mode's rate of learning that one step of gradient descent takes."""
OVERHEAD = 1e5
"""Multiplications that take as long as what a step does beside them."""


def measure(spectrum: Spectrum, curve: LearningCurve, features: ArrayLike, labels: Any) -> Measured:
    """Train the probe of a forecast by gradient descent, and see how it does on held-out samples.

    Parameters
    ----------
    spectrum : Spectrum
        Of the training samples.
    curve : LearningCurve
        The forecast; its depth, start and times are those of the training.
    features : array, shape (n, d)
        Of samples that had no part in the spectrum.
    labels : array-like, shape (n,) or (n, k)
        Their labels.

    Notes
    -----
    The weights of all layers are trained by steps of gradient descent, from the modes of the data. The features being
    whitened, the gradient on all training samples depends on them through their covariance with the labels alone, so
    the steps do not go through the samples again; nothing else of the forecast is used.

    Raises
    ------
    InputError
        Features or labels that do not fit those of the spectrum.

    Examples
    --------
    >>> import numpy as np
    >>> from headwise.forecast import estimate_spectrum, learning_curve
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(400, 50))
    >>> labels = features[:, :2] + rng.normal(size=(400, 2))
    >>> found = estimate_spectrum(features[:200], labels[:200])
    >>> measure(found, learning_curve(found), features[200:], labels[200:]).r2 > 0.9
    True
    """
    given, outputs = spectrum.whitening(features), spectrum.labels(labels)
    if len(given) != len(outputs):
        raise InputError(f"there are {len(given)} rows of features and {len(outputs)} labels; one label each is needed")
    n = len(given)
    size, mixed, own = float((outputs**2).sum()) / n, outputs.T @ given / n, given.T @ given / n
    unexplained = float((spectrum.residuals**2).sum()) / spectrum.num_samples
    target = spectrum.matrix
    maps = _descended(target, _layers(spectrum, curve), curve.times, _steps(spectrum, curve))
    training = np.array([unexplained + ((target - w) ** 2).sum() for w in maps])
    held_out = np.array([1 + (((w @ own) * w).sum() - 2 * (w * mixed).sum()) / size for w in maps])
    least = int(np.argmin(held_out))
    best = Stop(float(curve.times[least]), float(held_out[least]))
    spread = float(((held_out - held_out.mean()) ** 2).sum())
    r2 = 1 - float(((held_out - curve.held_out) ** 2).sum()) / spread if spread > 0 else None
    excess = float(np.interp(curve.best.time, curve.times, held_out)) - best.error
    return Measured(training, held_out, best, excess, n, r2, _time_error(curve.best.time, best.time))


def training_work(spectrum: Spectrum, curve: LearningCurve) -> float:
    """Multiplications that `measure` takes, roughly: to see beforehand whether training the probe is worth the wait.

    Examples
    --------
    >>> import numpy as np
    >>> from headwise.forecast import estimate_spectrum, learning_curve
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(400, 50))
    >>> found = estimate_spectrum(features, features[:, :2] + rng.normal(size=(400, 2)))
    >>> one, two = (training_work(found, learning_curve(found, depth)) for depth in (1, 2))
    >>> one < two < 1e9
    True
    """
    c, r = spectrum.matrix.shape
    step = c * r * (1 + 3 * (curve.depth - 1) * len(spectrum.values)) + OVERHEAD
    return float(_steps(spectrum, curve).sum() * step + len(curve.times) * c * r * r)


def _time_error(forecast: float, measured: float) -> float | None:
    if measured > 0:
        return forecast / measured - 1
    return 0.0 if forecast == 0 else None


def _steps(spectrum: Spectrum, curve: LearningCurve) -> NDArray[np.int64]:
    """Steps of gradient descent from each time of the curve to the next."""
    fastest = curve.depth * float(spectrum.values[0]) ** (2 - 2 / curve.depth)  # of a mode that is large
    return np.maximum(np.ceil(np.diff(curve.times) * fastest / STEP), 1).astype(np.int64)


def _layers(spectrum: Spectrum, curve: LearningCurve) -> list[Floats]:
    """Balanced layers along the modes of the data, from features to outputs."""
    each = curve.start ** (1 / curve.depth)
    if curve.depth == 1:
        return [each * spectrum.left @ spectrum.right]
    inner = [each * np.eye(len(spectrum.values)) for _ in range(curve.depth - 2)]
    return [each * spectrum.right, *inner, each * spectrum.left]


def _descended(target: Floats, layers: Sequence[Floats], times: Floats, steps: NDArray[np.int64]) -> list[Floats]:
    """The map of all layers together, ``(c, r)``, at each time, after so many steps of gradient descent each."""
    weights = list(layers)
    found = [_product(weights)]
    for (before, now), count in zip(pairwise(times), steps, strict=True):
        for _ in range(count):
            weights = _stepped(weights, target, (now - before) / count)
        found.append(_product(weights))
    return found


def _product(weights: Sequence[Floats]) -> Floats:
    found = weights[0]
    for weight in weights[1:]:
        found = weight @ found
    return found


def _stepped(weights: Sequence[Floats], target: Floats, rate: float) -> list[Floats]:
    below: list[Any] = [None]  # products of the layers before each; None stands for the features themselves
    for weight in weights[:-1]:
        below.append(weight if below[-1] is None else weight @ below[-1])
    last = weights[-1] if below[-1] is None else weights[-1] @ below[-1]
    error = target - last
    stepped = []
    for weight, before in zip(weights[::-1], below[::-1], strict=True):
        stepped.append(weight + rate * (error if before is None else error @ before.T))
        if before is not None:
            error = weight.T @ error
    return stepped[::-1]
