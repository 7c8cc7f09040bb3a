"""Which backbone, or which layer, for these labels: a score from the forecast, beside those of the literature.

`forecast_score` is ours. LogME, H-score and NCE are written from their papers; NCE needs the classes that the
backbone's own classifier gives the samples, and there is none for a backbone without one.

References
----------
You, Liu, Wang and Long, "LogME: practical assessment of pre-trained models for transfer learning", ICML 2021, arXiv
2102.11005. Bao et al., "An information-theoretic approach to transferability in task transfer learning", ICIP 2019.
Tran, Nguyen and Hassner, "Transferability and hardness of supervised classification tasks", ICCV 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from ..errors import InputError
from ..tokens.table import as_labels
from .labels import LabelMatrix
from .spectrum import Spectrum, estimate_spectrum
from .whitening import FLOOR, as_features

__all__ = ["Scores", "compare_scores", "forecast_score", "h_score", "logme", "nce"]

Floats = NDArray[np.float64]

FEW = 20
"""Samples a direction from which fewer directions would hardly be better."""
NARROW = 8
"""Least number of directions that is tried."""
RATIOS = np.linspace(-30, 20, 101)
"""Logarithms of the ratio of prior to noise precision at which the evidence is looked at, over the largest variance."""


@dataclass(frozen=True)
class Scores:
    """Scores of features for labels; larger is better in all of them, and each has a scale of its own.

    Parameters
    ----------
    forecast : float
        Share of the labels' variance that is forecast to be explained on unseen samples, on all directions or on the
        leading ones, whichever is more.
    logme : float
        Log evidence of a Bayesian linear model, for each sample and output.
    h_score : float or None
        Of the class means in whitened features; None for targets that are numbers.
    nce : float or None
        Negative conditional entropy of the labels given the source classes (nats); None where these are not known.
    """

    forecast: float
    logme: float
    h_score: float | None = None
    nce: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """All numbers, as JSON."""
        return asdict(self)


def forecast_score(spectrum: Spectrum, features: ArrayLike | None = None, labels: Any = None) -> float:
    """Share of the labels' variance that the best linear probe is forecast to explain on unseen samples.

    Each mode has the strength that is best for it, which no stopping time betters. Below zero where nothing is visible:
    the mean of the labels has to be estimated too.

    Parameters
    ----------
    spectrum : Spectrum
    features, labels : array, optional
        Those of the spectrum. With them probes on fewer directions are forecast too, half as many each time, and
        the best one counts: where samples are few for the directions (less than 20 each), less is often more, and
        backbones of different width would not be compared alike.

    Examples
    --------
    >>> import numpy as np
    >>> from headwise.forecast import estimate_spectrum
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(500, 40))
    >>> round(forecast_score(estimate_spectrum(features, features[:, 0] + rng.normal(size=500))), 1)
    0.5
    """
    every = [spectrum]
    if features is not None and spectrum.samples_per_direction < FEW:
        r = spectrum.num_directions
        counts = [r >> k for k in range(1, r.bit_length()) if r >> k >= NARROW]
        if counts:
            fewer = spectrum.whitening.leading(features, counts)
            every += [estimate_spectrum(features, labels, whitening=one) for one in fewer]
    return max(1 - one.at().least_error for one in every)


def logme(features: ArrayLike, labels: Any) -> float:
    """LogME: the largest log evidence of a linear model with Gaussian weights, a sample and output.

    For each output, one-hot columns of classes or targets as they are, ``y ~ N(0, I / beta + F F^T / alpha)``. The
    paper finds the two precisions by a fixed-point iteration; here beta is eliminated in closed form and the ratio of
    both searched, which has the same maximum and no matter of convergence. As in the paper features are not centred
    and there is no bias.

    Parameters
    ----------
    features : array, shape (n, d)
    labels : array-like, shape (n,) or (n, k)

    Raises
    ------
    InputError
        As in `headwise.forecast.estimate_spectrum`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(100) % 2
    >>> noise = rng.normal(size=(100, 5))
    >>> logme(noise + labels[:, None], labels) > logme(noise, labels)
    True
    """
    given, columns = _paired(features, labels)
    n = len(given)
    wide = given.shape[1] > n
    squares, vectors = np.linalg.eigh(given @ given.T if wide else given.T @ given)
    kept = squares > 1e-12 * squares[-1]
    squares, vectors = squares[kept], vectors[:, kept]
    left = vectors if wide else given @ vectors / squares**0.5
    inside = (left.T @ columns) ** 2
    rest = np.maximum((columns**2).sum(0) - inside.sum(0), 0)

    def evidence(logarithm: Floats, k: int) -> Floats:
        ratio = squares[-1] * np.exp(logarithm)[:, None]
        size = rest[k] + (inside[:, k] * ratio / (ratio + squares)).sum(1)
        return -(n * np.log(2 * np.pi * size / n) + n + np.log1p(squares / ratio).sum(1)) / (2 * n)

    return float(np.mean([_largest(partial(evidence, k=k)) for k in range(columns.shape[1])]))


def _largest(function: Callable[[Floats], Floats]) -> float:
    found = function(RATIOS)
    best = int(np.argmax(found))
    around = RATIOS[max(best - 1, 0)], RATIOS[min(best + 1, len(RATIOS) - 1)]
    refined = minimize_scalar(lambda x: -float(function(np.array([x]))[0]), bounds=around, method="bounded")
    return max(float(found[best]), -float(refined.fun))


def h_score(features: ArrayLike, labels: Any) -> float:
    """H-score: ``tr(cov(f)^+ cov(E[f | y]))``, the class means' share of the variance, summed over directions.

    Parameters
    ----------
    features : array, shape (n, d)
    labels : array-like, shape (n,)
        Classes.

    Raises
    ------
    InputError
        Labels that are no classes, and as in `headwise.forecast.estimate_spectrum`.

    Examples
    --------
    >>> import numpy as np
    >>> round(h_score(np.array([[-1.0], [-1.0], [1.0], [1.0]]), [0, 0, 1, 1]), 6)
    1.0
    """
    given, columns = _paired(features, labels, classes_only=True)
    centred = given - given.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(given))
    kept = variances > max(FLOOR * variances[-1], 0)
    whitened = centred @ directions[:, kept] / variances[kept] ** 0.5
    counts = columns.sum(0)
    means = columns.T @ whitened / counts[:, None]
    return float((counts / len(given)) @ (means**2).sum(1))


def nce(source_classes: Any, labels: Any) -> float:
    """NCE: minus the conditional entropy of the labels given the source classes, in nats.

    Parameters
    ----------
    source_classes : array-like, shape (n,)
        The class that the backbone's own classifier gives each sample.
    labels : array-like, shape (n,)
        Classes.

    Raises
    ------
    InputError
        What is no row of classes, or lengths that differ.

    Examples
    --------
    >>> nce([0, 0, 1, 1], ["a", "a", "b", "b"])
    0.0
    >>> round(nce([0, 0, 0, 0], [0, 0, 1, 1]), 3)  # -log 2
    -0.693
    """
    codes = [np.unique(_classes(values), return_inverse=True)[1] for values in (source_classes, labels)]
    if len(codes[0]) != len(codes[1]):
        raise InputError(f"there are {len(codes[0])} source classes and {len(codes[1])} labels; one each is needed")
    table = np.zeros((codes[0].max() + 1, codes[1].max() + 1))
    np.add.at(table, (codes[0], codes[1]), 1 / len(codes[0]))
    given = np.broadcast_to(table.sum(1, keepdims=True), table.shape)
    some = table > 0
    return float((table[some] * np.log(table[some] / given[some])).sum())


def _classes(values: Any) -> NDArray[np.int64]:
    found, _ = as_labels(values, None)
    if found.ndim != 1 or found.dtype.kind == "f" or not len(found):
        raise InputError(f"classes must be one row of whole numbers or names, got shape {found.shape}")
    return found


def _paired(features: Any, labels: Any, classes_only: bool = False) -> tuple[Floats, Floats]:
    given, matrix = as_features(features), LabelMatrix.of(labels)
    if classes_only and matrix.classes is None:
        raise InputError("the H-score is about classes; these labels are numbers")
    columns = matrix.columns(labels)
    if len(columns) != len(given):
        raise InputError(f"there are {len(given)} rows of features and {len(columns)} labels; one label each is needed")
    return given, columns


def compare_scores(spectrum: Spectrum, features: ArrayLike, labels: Any, source_classes: Any = None) -> Scores:
    """All scores of the same features and labels.

    Parameters
    ----------
    spectrum : Spectrum
        Of these features and labels.
    features : array, shape (n, d)
    labels : array-like, shape (n,) or (n, k)
    source_classes : array-like, shape (n,), optional
        For NCE: the class that the backbone's own classifier gives each sample.
    """
    classes = spectrum.labels.classes is not None
    return Scores(
        forecast_score(spectrum, features, labels),
        logme(features, labels),
        h_score(features, labels) if classes else None,
        nce(source_classes, labels) if classes and source_classes is not None else None,
    )
