"""Metrics on many bootstrap resamples at once, from how often each sample was drawn.

A resample is a row of counts that sum to n. Each function here prepares what does not change from resample to resample
and returns a function from counts ``(b, n)`` to values ``(b,)``: nan where the metric is not defined on a resample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = ["Draw", "area_under_curve", "binned", "concordant", "explained", "mean", "pair_sums", "recalls", "resamples"]

Draw = Callable[[NDArray[Any]], NDArray[Any]]

BLOCK = 5_000_000
"""Most numbers in one temporary array."""


def resamples(n: int, num: int, seed: int) -> Iterator[NDArray[Any]]:
    """Counts ``(b, n)`` of ``num`` resamples with replacement, in blocks.

    Examples
    --------
    >>> [block.sum(axis=1).tolist() for block in resamples(5, 3, seed=0)]
    [[5.0, 5.0, 5.0]]
    """
    rng = np.random.default_rng(seed)
    size = max(1, BLOCK // n)
    for start in range(0, num, size):
        b = min(size, num - start)
        drawn = rng.integers(n, size=(b, n)) + n * np.arange(b)[:, None]
        yield np.bincount(drawn.ravel(), minlength=b * n).reshape(b, n).astype(np.float64)


def mean(pieces: NDArray[Any]) -> Draw:
    """Mean of one number a sample."""
    return lambda counts: counts @ pieces / counts.sum(axis=1)


def recalls(hits: NDArray[Any], targets: NDArray[Any], num_classes: int) -> Draw:
    """Mean over the classes drawn of the share of hits in each."""
    members = _grouped(np.ones(len(targets)), targets, num_classes)
    right = _grouped(hits, targets, num_classes)

    def draw(counts: NDArray[Any]) -> NDArray[Any]:
        return _mean_defined(_ratio(counts @ right, counts @ members))

    return draw


def binned(differences: NDArray[Any], groups: NDArray[Any], num_groups: int) -> Draw:
    """Sum over groups of the absolute sum of differences in each, over n: the calibration error, from its bins."""
    table = _grouped(differences, groups, num_groups)
    return lambda counts: np.abs(counts @ table).sum(axis=1) / counts.sum(axis=1)


def explained(predicted: NDArray[Any], targets: NDArray[Any]) -> Draw:
    """R2 of numbers ``(n, c)``, averaged over the outputs whose targets vary."""
    residual = (targets - predicted) ** 2
    centred = targets - targets.mean(axis=0)
    floor = 1e-12 * (centred**2).sum(axis=0)

    def draw(counts: NDArray[Any]) -> NDArray[Any]:
        total = counts @ centred**2 - (counts @ centred) ** 2 / counts.sum(axis=1, keepdims=True)
        return _mean_defined(1 - _ratio(counts @ residual, np.where(total > floor, total, 0)))

    return draw


def area_under_curve(scores: NDArray[Any], positive: NDArray[Any]) -> Draw:
    """Area under the ROC curve, macro average over the columns of scores and truths ``(n, c)`` that have both kinds."""
    columns = []
    for score, truth in zip(scores.T, positive.T.astype(bool), strict=True):
        pos, neg = np.flatnonzero(truth), np.flatnonzero(~truth)
        neg = neg[np.argsort(score[neg], kind="stable")]
        places = [np.searchsorted(score[neg], score[pos], side) for side in ("left", "right")]
        columns.append((pos, neg, places))

    def draw(counts: NDArray[Any]) -> NDArray[Any]:
        found = []
        for pos, neg, (below, upto) in columns:
            beaten = np.zeros((len(counts), len(neg) + 1))
            np.cumsum(counts[:, neg], axis=1, out=beaten[:, 1:])
            drawn = counts[:, pos]
            won = np.einsum("bi,bi->b", drawn, beaten[:, below] + beaten[:, upto]) / 2
            found.append(_ratio(won, drawn.sum(axis=1) * beaten[:, -1]))
        return _mean_defined(np.stack(found, axis=1))

    return draw


def pair_sums(
    risk: NDArray[Any], time: NDArray[Any], event: NDArray[Any], counts: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Concordant and comparable pairs ``(b,)`` by Harrell, each pair counted as often as both its samples were drawn.

    Comparable: the one with the shorter time had the event, or, at equal times, one had the event and the other was
    censored. Concordant: the one with the event has the higher risk; equal risks count 1/2.
    """
    drawn = counts.astype(np.float32).T  # sums of counts and of their halves are exact below 2**23
    won, comparable = np.zeros(len(counts)), np.zeros(len(counts))
    first = np.flatnonzero(event)
    size = max(1, BLOCK // len(risk))
    for rows in (first[i : i + size] for i in range(0, len(first), size)):
        known = time[rows, None] < time
        known |= (time[rows, None] == time) & ~event
        higher = (np.sign(risk[rows, None] - risk) + 1) / 2
        weight = counts[:, rows].T
        comparable += (weight * (known.astype(np.float32) @ drawn)).sum(axis=0)
        won += (weight * ((known * higher).astype(np.float32) @ drawn)).sum(axis=0)
    return won, comparable


def concordant(risk: NDArray[Any], time: NDArray[Any], event: NDArray[Any]) -> Draw:
    """Harrell's concordance index; work grows with the square of n."""
    return lambda counts: _ratio(*pair_sums(risk, time, event, counts))


def _grouped(values: NDArray[Any], groups: NDArray[Any], num_groups: int) -> Any:
    """Sparse ``(n, groups)`` with each value in the column of its group."""
    return csr_array((values.astype(np.float64), (np.arange(len(groups)), groups)), shape=(len(groups), num_groups))


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> NDArray[Any]:
    """``above / below``, nan where ``below`` is 0."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _mean_defined(columns: NDArray[Any]) -> NDArray[Any]:
    """Mean of each row over what is not nan; nan where nothing is left."""
    defined = ~np.isnan(columns)
    return _ratio(np.where(defined, columns, 0).sum(axis=1), defined.sum(axis=1).astype(np.float64))
