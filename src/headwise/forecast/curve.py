"""The learning curve of a linear probe before it is trained.

The probe is linear, with one layer or several, on features that are whitened on its training samples; it is trained by
full-batch gradient descent with small steps on half the squared error. Where it starts along the modes of the data its
modes are learned one by one, as `headwise.theory.deep_linear` has it; random small weights start a little later and
then do the same. Time is steps times learning rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_number, check_whole
from ..theory import Curves
from ..theory.mode_growth import mode_strengths
from ..theory.stopping import Stop, best_stop, learning_end
from .outlook import Outlook
from .spectrum import Spectrum

__all__ = ["LearningCurve", "Measured", "held_out_error", "learning_curve"]

Floats = NDArray[np.float64]

EARLY = 1e-3
"""First time after zero, as a share of the last."""


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
