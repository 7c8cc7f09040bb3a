"""Features in coordinates of variance one, and what becomes of samples that those coordinates have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_whole
from ..errors import InputError

__all__ = ["Whitening", "as_features", "input_shift", "whiten"]

Floats = NDArray[np.float64]

FLOOR = 1e-8
"""Directions with less than this share of the largest variance are the rounding of stored tokens."""
FOLDS = 10
ALONE = 0.9
"""Leverage from which a sample is alone in a direction, where the others hold at least two samples for each."""


@dataclass(frozen=True)
class Whitening:
    """Centre and linear map after which the samples that it was made from have the unit matrix as covariance.

    Parameters
    ----------
    centre : array, shape (d,)
    map : array, shape (d, r)
    unseen : float
        Mean squared coordinate of samples that had no part in it; one for those that had. Larger than one because
        whitening fits the samples: ``n / (n - r)`` for Gaussian features, more for heavy tails.
    num_samples : int
        n, from which it was made.
    """

    centre: Floats
    map: Floats
    unseen: float
    num_samples: int

    @property
    def num_features(self) -> int:
        """d."""
        return self.map.shape[0]

    @property
    def num_directions(self) -> int:
        """r."""
        return self.map.shape[1]

    def __call__(self, features: ArrayLike) -> Floats:
        """Whitened features ``(n, r)``."""
        return (as_features(features, self.num_features) - self.centre) @ self.map

    def leading(self, features: ArrayLike, counts: Sequence[int]) -> list[Whitening]:
        """The same with fewer directions, those of most variance, for each number of them.

        Parameters
        ----------
        features : array, shape (n, d)
            Of the samples that this one was made from.
        counts : sequence of int
            Below the number of directions here.
        """
        unseen = _held_out(as_features(features, self.num_features), counts)
        n = self.num_samples
        return [Whitening(self.centre, self.map[:, :r], u, n) for r, u in zip(counts, unseen, strict=True)]

    def adapted(self, features: ArrayLike) -> Whitening:
        """The same for other samples, with coordinates as close to these as whitening allows.

        Parameters
        ----------
        features : array, shape (n, d)
            Samples of another data set.

        Returns
        -------
        Whitening
            Within the directions of this one, turned as little as possible (the symmetric root).

        Raises
        ------
        InputError
            Another number of features, or too few samples for these directions.
        """
        given = as_features(features, self.num_features)
        check_left_over(len(given), self.num_directions)
        centre = given.mean(0)
        inside = (given - centre) @ self.map
        variances, turn = np.linalg.eigh(inside.T @ inside / len(inside))
        if variances[0] <= FLOOR * variances[-1]:
            raise InputError(
                f"{len(given)} samples of the other data set do not vary in all {self.num_directions} directions of "
                "the first; give fewer components"
            )
        map_ = self.map @ (turn / variances**0.5) @ turn.T
        return Whitening(centre, map_, _left_out((given - centre) @ map_), len(given))


def input_shift(first: ArrayLike, other: ArrayLike, n_components: int) -> float:
    """How far the variances of two sets of features are apart.

    Root mean square, over the leading principal directions of both together, of the logarithm of the variance of one
    over that of the other. Samples of one kind come to about ``sqrt(2 / n + 2 / n_other)``.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> one, two = rng.normal(size=(2, 400, 10))
    >>> input_shift(one, two, 10) < 0.2 < input_shift(one, two * np.linspace(1, 3, 10), 10)
    True
    """
    parts = [as_features(part) for part in (first, other)]
    parts = [part - part.mean(0) for part in parts]
    covariances = [part.T @ part / len(part) for part in parts]
    _, directions = np.linalg.eigh(covariances[0] + covariances[1])
    kept = directions[:, ::-1][:, :n_components]
    least = np.finfo(float).tiny
    logs = [np.log(np.maximum(np.einsum("ij,ik,kj->j", kept, c, kept), least)) for c in covariances]
    return float(np.sqrt(np.mean((logs[1] - logs[0]) ** 2)))


def whiten(features: ArrayLike, n_components: int | None = None) -> Whitening:
    """Whiten features: all directions where samples are many, the leading principal components where they are few.

    Parameters
    ----------
    features : array, shape (n, d)
        One row a sample.
    n_components : int, optional
        Directions to keep, those of most variance. By default all that vary, but no more than half as many as samples:
        a probe with fewer than two samples for a direction is mostly noise. All directions may be asked for where at
        least two samples more than directions are there.

    Notes
    -----
    `Whitening.unseen` is needed because the held-out error is measured on samples that the whitening has not seen.
    Where all directions are kept it follows exactly from the leverages: without sample i the squared length of its
    whitened features is ``n l / (1 - l)`` with the leverage ``l`` of the sample; the factor ``1 / (1 - r / n)`` of
    Gaussian features takes it from n - 1 samples to n. With at least two samples a direction, those with a leverage
    above 0.9 are left out of the mean: each is alone in a direction (a pixel that is dark everywhere else), which
    would not be there without it, so that nothing would be learned along it. Where directions are chosen by their
    variance the choice itself fits the samples, so it is measured on held-out tenths.

    Raises
    ------
    InputError
        No matrix of finite numbers, features that do not vary, or more components than the samples allow.

    Examples
    --------
    >>> import numpy as np
    >>> features = np.random.default_rng(0).normal(size=(300, 100)) * np.linspace(1, 5, 100)
    >>> found = whiten(features)
    >>> bool(np.allclose(np.cov(found(features).T, bias=True), np.eye(100))), round(found.unseen, 1)
    (True, 1.5)
    """
    given = as_features(features)
    if n_components is not None:
        check_whole("n_components", n_components, 1)
    n = len(given)
    lengths, directions = _components(given)
    rank, half = len(lengths), max((n - 1) // 2, 1)
    if not rank:
        raise InputError("the features are the same for all samples; nothing can be learned from them")
    r = min(rank, half) if n_components is None else min(n_components, rank)
    if half < r < rank:
        raise InputError(
            f"{r} of {rank} directions and {n} samples; of fewer than all directions at most {half}, half as many as "
            f"samples, can be kept. Give n_components={half} or less, or more samples"
        )
    check_left_over(n, r)
    centre, map_ = given.mean(0), directions[:, :r] / lengths[:r] ** 0.5
    unseen = _left_out((given - centre) @ map_) if r == rank else _held_out(given, [r])[0]
    return Whitening(centre, map_, unseen, n)


def check_left_over(num_samples: int, num_directions: int) -> None:
    """Refuse more directions than leave samples over to measure the noise."""
    if num_directions > num_samples - 2:
        raise InputError(
            f"{num_samples} samples and {num_directions} directions leave nothing over to measure the noise; give "
            "fewer components (n_components) or more samples"
        )


def as_features(features: Any, width: int | None = None) -> Floats:
    """A matrix of finite numbers in float64.

    Raises
    ------
    InputError
        What is none, or has another number of columns than ``width``.
    """
    try:
        found = np.asarray(features, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("features must be a matrix of numbers, one row a sample") from None
    if found.ndim != 2 or 0 in found.shape:
        raise InputError(f"features have shape {found.shape}; (n, d) is needed, one row a sample")
    if width is not None and found.shape[1] != width:
        raise InputError(f"features have {found.shape[1]} columns; {width} are needed, as in the samples before")
    bad = np.flatnonzero(~np.isfinite(found).all(1))
    if len(bad):
        raise InputError(f"features hold NaN or infinity, first in sample {bad[0]} ({len(bad)} such); leave these out")
    return found


def _components(features: Floats) -> tuple[Floats, Floats]:
    """Variances of the principal components that vary, from large to small, and their directions ``(d, rank)``."""
    centre = features.mean(0)
    centred = features - centre
    n, d = centred.shape
    wide = d > n
    lengths, vectors = np.linalg.eigh((centred @ centred.T if wide else centred.T @ centred) / n)
    least = max(FLOOR * lengths[-1], 1e-24 * float((centre**2).max()))
    kept = np.flatnonzero(lengths > least)[::-1]
    lengths, vectors = lengths[kept], vectors[:, kept]
    return lengths, centred.T @ vectors / (n * lengths) ** 0.5 if wide else vectors


def _left_out(whitened: Floats) -> float:
    """Mean squared coordinate of each sample after whitening without it, from the leverages, taken to all samples."""
    n, r = whitened.shape
    leverage = (whitened**2).sum(1) / (n - 1)
    if n >= 2 * r:
        leverage = leverage[leverage <= ALONE]
    lengths = n * leverage / np.maximum(1 - leverage, 1 / n)
    return float(lengths.mean() / r * (1 - r / (n - 1)) / (1 - r / n))


def _held_out(features: Floats, counts: Sequence[int]) -> list[float]:
    """The same for some numbers of leading directions that are chosen anew without each fold."""
    n, most = len(features), max(counts)
    squares, seen = np.zeros(most), np.zeros(most)
    for part in np.array_split(np.random.default_rng(0).permutation(n), min(FOLDS, n)):
        rest = np.delete(features, part, axis=0)
        lengths, directions = _components(rest)
        kept = min(most, len(lengths))
        inside = (features[part] - rest.mean(0)) @ (directions[:, :kept] / lengths[:kept] ** 0.5)
        squares[:kept] += (inside**2).sum(0)
        seen[:kept] += len(inside)
    return [float(squares[:r].sum() / seen[:r].sum()) for r in counts]
