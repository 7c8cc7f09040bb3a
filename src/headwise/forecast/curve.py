"""The learning curve of a linear probe before it is trained, and the same probe trained.

The probe is linear, with one layer or several, on features that are whitened on its training samples; it is trained by
full-batch gradient descent with small steps on half the squared error. Where it starts along the modes of the data its
modes are learned one by one, as `headwise.theory.deep_linear` has it; random small weights start a little later and
then do the same. Time is steps times learning rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_number, check_whole
from ..errors import InputError
from ..theory import Curves
from ..theory.mode_growth import mode_strengths
from ..theory.stopping import Stop, best_stop, learning_end
from .spectrum import Outlook, Spectrum

__all__ = ["LearningCurve", "Measured", "held_out_error", "learning_curve", "measure"]

Floats = NDArray[np.float64]

EARLY = 1e-3
"""First time after zero, as a share of the last."""
STEP = 0.03
"""Share of the strongest mode's rate of learning that one step of gradient descent takes."""


@dataclass(frozen=True)
class Measured:
    """The probe of a forecast, trained, at the times of the forecast.

    Parameters
    ----------
    training, held_out : array, shape (p,)
        Errors, as shares of the squares of the training and of the held-out labels about the mean of the training ones.
    best : Stop
        Time of the least held-out error among these times, and that error.
    excess : float
        Held-out error at the forecast's best time, less the least one: what the forecast's time costs.
    num_samples : int
        Held-out samples.
    r2 : float or None
        How much of the measured held-out curve the forecast explains; None where the curve is flat.
    time_error : float or None
        Forecast minus measured best time, as a share of the measured one; None where that is zero and the forecast is
        not.
    """

    training: Floats
    held_out: Floats
    best: Stop
    excess: float
    num_samples: int
    r2: float | None
    time_error: float | None


@dataclass(frozen=True)
class LearningCurve:
    """Forecast errors of a probe over training time, as shares of those of the mean of the training labels.

    Parameters
    ----------
    depth : int
        Layers of the probe.
    start : float
        Strength of its modes at time zero.
    times : array, shape (p,)
    training, held_out : array, shape (p,)
        Errors on the training samples and on unseen ones.
    best : Stop
        When to stop, and the held-out error there.
    doubled : Stop
        The same with twice the samples, for the directions that are kept and the modes that are visible now; what only
        the larger sample would show comes on top.
    least : float
        Held-out error if each mode were stopped at a time of its own: the bound of this curve.
    measured : Measured or None
        The probe itself, where it was trained.
    """

    depth: int
    start: float
    times: Floats
    training: Floats
    held_out: Floats
    best: Stop
    doubled: Stop
    least: float
    measured: Measured | None = None

    @property
    def curves(self) -> Curves:
        """The forecast, to draw."""
        return self._curves(self.training, self.held_out, self.best)

    @property
    def measured_curves(self) -> Curves | None:
        """The measurement under the same names."""
        found = self.measured
        return None if found is None else self._curves(found.training, found.held_out, found.best)

    def _curves(self, training: Floats, held_out: Floats, best: Stop) -> Curves:
        layers = "1 layer" if self.depth == 1 else f"{self.depth} layers"
        return Curves(
            f"Linear probe of {layers}",
            "time",
            self.times,
            {"training error": training, "held-out error": held_out},
            unit="steps x learning rate",
            value="share of the labels' variance",
            marks={"best stopping time": best.time} if best.time > 0 else {},
            log_axis=True,
        )

    def to_dict(self) -> dict[str, Any]:
        """All numbers, as JSON."""
        found = self.measured
        return {
            "depth": self.depth,
            "start": self.start,
            "times": self.times.tolist(),
            "training": self.training.tolist(),
            "held_out": self.held_out.tolist(),
            "best": self.best._asdict(),
            "doubled": self.doubled._asdict(),
            "least": self.least,
            "measured": None
            if found is None
            else {
                "training": found.training.tolist(),
                "held_out": found.held_out.tolist(),
                "best": found.best._asdict(),
                "excess": found.excess,
                "samples": found.num_samples,
                "r2": found.r2,
                "time_error": found.time_error,
            },
        }


def held_out_error(
    spectrum: Spectrum, times: ArrayLike, depth: int = 2, start: float = 1e-3, num_samples: int | None = None
) -> Floats:
    """Forecast error on unseen samples, noise of their labels included, at any times and number of training samples.

    Examples
    --------
    >>> import numpy as np
    >>> from headwise.forecast import estimate_spectrum
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(500, 40))
    >>> found = estimate_spectrum(features, features[:, 0] + rng.normal(size=500))
    >>> held_out_error(found, [0.0, 5.0], depth=1).round(1)
    array([1. , 0.5])
    """
    outlook = spectrum.at(num_samples)
    return outlook.error(mode_strengths(times, outlook.data, start, depth))


def learning_curve(spectrum: Spectrum, depth: int = 2, start: float = 1e-3, num_times: int = 200) -> LearningCurve:
    """Forecast of a probe's learning curve, of the best time to stop, and of what twice the samples would bring.

    Parameters
    ----------
    spectrum : Spectrum
    depth : int
        Layers of the probe.
    start : float
        Strength of each mode of the probe at time zero, where the labels have the total variance one.
    num_times : int
        Times from zero until the visible modes and the strongest noise are learned, closer together at first.

    Examples
    --------
    >>> import numpy as np
    >>> from headwise.forecast import estimate_spectrum
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(150, 50))
    >>> curve = learning_curve(estimate_spectrum(features, features[:, :2] + rng.normal(size=(150, 2))))
    >>> bool(0.6 < curve.best.error < 0.9), curve.doubled.error < curve.best.error
    (True, True)
    """
    check_whole("depth", depth, 1)
    check_number("start", start)
    check_whole("num_times", num_times, 3)
    now = spectrum.at()
    end = _end(spectrum, now, start, depth)
    times = np.append(0.0, np.geomspace(EARLY * end, end, num_times - 1))
    strengths = mode_strengths(times, now.data, start, depth)
    unexplained = float((spectrum.residuals**2).sum()) / spectrum.num_samples
    return LearningCurve(
        depth,
        start,
        times,
        unexplained + ((spectrum.values - strengths) ** 2).sum(1),
        now.error(strengths),
        _best(spectrum, now, start, depth),
        _best(spectrum, spectrum.at(2 * spectrum.num_samples), start, depth),
        now.least_error,
    )


def _end(spectrum: Spectrum, outlook: Outlook, start: float, depth: int) -> float:
    """Until the visible modes and the strongest noise are learned."""
    noise = np.sort(outlook.data[~spectrum.visible])[::-1]
    return learning_end(np.append(outlook.data[spectrum.visible], noise[:1]), start, depth)


def _best(spectrum: Spectrum, outlook: Outlook, start: float, depth: int) -> Stop:
    def error(times: Floats) -> Floats:
        return outlook.error(mode_strengths(times, outlook.data, start, depth))

    return best_stop(error, _end(spectrum, outlook, start, depth))


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
    >>> from headwise.forecast import estimate_spectrum
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
    maps = _descended(target, _layers(spectrum, curve), curve.times, STEP / _rate(spectrum, curve.depth))
    training = np.array([unexplained + ((target - w) ** 2).sum() for w in maps])
    held_out = np.array([1 + (((w @ own) * w).sum() - 2 * (w * mixed).sum()) / size for w in maps])
    least = int(np.argmin(held_out))
    best = Stop(float(curve.times[least]), float(held_out[least]))
    spread = float(((held_out - held_out.mean()) ** 2).sum())
    r2 = 1 - float(((held_out - curve.held_out) ** 2).sum()) / spread if spread > 0 else None
    excess = float(np.interp(curve.best.time, curve.times, held_out)) - best.error
    return Measured(training, held_out, best, excess, n, r2, _time_error(curve.best.time, best.time))


def _time_error(forecast: float, measured: float) -> float | None:
    if measured > 0:
        return forecast / measured - 1
    return 0.0 if forecast == 0 else None


def _rate(spectrum: Spectrum, depth: int) -> float:
    """How fast the strongest mode is learned once it is large."""
    return depth * float(spectrum.values[0]) ** (2 - 2 / depth)


def _layers(spectrum: Spectrum, curve: LearningCurve) -> list[Floats]:
    """Balanced layers along the modes of the data, from features to outputs."""
    each = curve.start ** (1 / curve.depth)
    if curve.depth == 1:
        return [each * spectrum.left @ spectrum.right]
    inner = [each * np.eye(len(spectrum.values)) for _ in range(curve.depth - 2)]
    return [each * spectrum.right, *inner, each * spectrum.left]


def _descended(target: Floats, layers: Sequence[Floats], times: Floats, longest: float) -> list[Floats]:
    """The map of all layers together, ``(c, r)``, at each time, by steps of gradient descent of ``longest`` at most."""
    weights = list(layers)
    found = [_product(weights)]
    for before, now in pairwise(times):
        count = max(1, int(np.ceil((now - before) / longest)))
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
