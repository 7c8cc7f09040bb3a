"""Quality of predictions on held-out samples, by kind of target, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, unknown_name
from . import resampling
from .metric_table import METRICS, Metric, Undefined
from .outcomes import CHECKS
from .resampling import Draw

__all__ = ["Measure", "evaluate", "paired_difference"]


@dataclass(frozen=True)
class Measure:
    """A metric on some samples and its interval.

    Attributes
    ----------
    value : float or None
        None where the metric is not defined on these samples; ``note`` says why.
    low, high : float or None
        Ends of the percentile bootstrap interval; None where none was asked for or no resample defined the metric.
    resamples, skipped : int
        Resamples that the interval rests on, and those left out because the metric is not defined on them.
    note : str
        What was left out, or why there is no value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    resamples: int = 0
    skipped: int = 0
    note: str = ""


def evaluate(
    kind: str,
    predicted: ArrayLike,
    targets: ArrayLike,
    *,
    metrics: Iterable[str] | None = None,
    intervals: float | None = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Measure]:
    """Metrics of predictions on held-out samples, with percentile bootstrap intervals over the samples.

    All metrics see the same resamples, so that a seed gives the same intervals again.

    Parameters
    ----------
    kind : {"classes", "labels", "numbers", "counts", "survival"}
        What the targets are.
    predicted : array
        Class probabilities ``(n, c)``; probabilities of each of c labels; numbers; rates above 0; or for "survival" a
        risk score ``(n,)`` or ``(n, 1)``, higher for an earlier event.
    targets : array
        Classes ``0 .. c-1`` as ``(n,)``; labels 0 or 1 as ``(n, c)``; numbers or counts ``(n, c)``; or for "survival"
        ``(n, 2)``: time, and 1 for an event or 0 for censored. With c = 1, ``(n,)`` will do for both arrays.
    metrics : names of `METRICS`, optional
        All of the kind if not given.
    intervals : float or None
        Level of the intervals; None for no intervals.
    resamples : int
        How many; concordance uses 200 at most, since its work grows with the square of n.
    seed : int
        Seed of the resamples.

    Returns
    -------
    dict of Measure
        A metric that is not defined on these samples has no value and says why.

    Raises
    ------
    InputError
        Shapes that do not match, numbers that are not finite, values outside their range, unknown names, survival times
        without a comparable pair.

    Notes
    -----
    A resample holds some samples more than once. That shifts nothing for means, but raises the calibration error, whose
    interval may lie above its value.

    Examples
    --------
    >>> found = evaluate("classes", [[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.8, 0.2]], [0, 0, 1, 1])
    >>> found["accuracy"].value, found["accuracy"].low, found["accuracy"].high
    (0.75, 0.25, 1.0)
    >>> evaluate("classes", [[0.9, 0.1], [0.6, 0.4]], [0, 0], metrics=["auroc"])["auroc"].note
    'AUROC needs samples of two classes, got one'
    """
    return _measured(kind, [predicted], targets, metrics, intervals, resamples, seed)


def paired_difference(
    kind: str,
    first: ArrayLike,
    second: ArrayLike,
    targets: ArrayLike,
    *,
    metrics: Iterable[str] | None = None,
    intervals: float | None = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Measure]:
    """Metrics of the first predictions minus those of the second, with paired bootstrap intervals.

    Both are scored on the same resamples of the same samples, so that what is hard for both does not widen the
    interval. An interval that holds zero means: these samples do not tell the two apart.

    Parameters
    ----------
    kind, targets, metrics, intervals, resamples, seed
        As in `evaluate`.
    first, second : array
        Two predictions of the same samples, each as in `evaluate`.

    Returns
    -------
    dict of Measure
        A difference of metrics that are not defined on these samples has no value and says why.

    Raises
    ------
    InputError
        As in `evaluate`, and predictions of different shapes.

    Examples
    --------
    >>> first, second = [[0.9, 0.1], [0.2, 0.8]] * 10, [[0.9, 0.1], [0.6, 0.4]] * 10
    >>> found = paired_difference("classes", first, second, [0, 1] * 10, metrics=["accuracy"])["accuracy"]
    >>> found.value, found.low, found.high
    (0.5, 0.25, 0.75)
    """
    if np.shape(first) != np.shape(second):
        raise InputError(
            f"both predictions must have the same shape to be compared, got {np.shape(first)} and {np.shape(second)}"
        )
    return _measured(kind, [first, second], targets, metrics, intervals, resamples, seed)


def _measured(
    kind: str,
    predictions: Sequence[ArrayLike],
    targets: ArrayLike,
    metrics: Iterable[str] | None,
    intervals: float | None,
    resamples: int,
    seed: int,
) -> dict[str, Measure]:
    """Metrics of one prediction, or of the first minus the second of two."""
    if kind not in METRICS:
        raise unknown_name("kind of target", kind, METRICS)
    if intervals is not None and not 0 < intervals < 1:
        raise InputError(f"intervals must lie between 0 and 1, got {intervals!r}")
    if resamples < 1:
        raise InputError(f"resamples must be 1 or more, got {resamples!r}")
    table = METRICS[kind]
    names = list(table) if metrics is None else list(metrics)
    for name in names:
        if name not in table:
            raise unknown_name(f"metric of {kind}", name, table)
    pairs = [CHECKS[kind](predicted, targets) for predicted in predictions]
    found: dict[str, Measure] = {}
    draws: dict[str, Draw] = {}
    for name in names:
        metric = table[name]
        try:
            found[name] = Measure(_minus([metric.value(p, y) for p, y in pairs]), note=metric.note(*pairs[0]))
            if intervals is not None:
                draws[name] = _draw_of([metric.prepare(p, y) for p, y in pairs])
        except Undefined as error:
            found[name] = Measure(None, note=str(error))
    for name, values in _resampled(draws, table, len(pairs[0][0]), resamples, seed).items():
        kept = values[~np.isnan(values)]
        counted = replace(found[name], resamples=len(kept), skipped=len(values) - len(kept))
        if len(kept) and intervals is not None:
            low, high = np.quantile(kept, [(1 - intervals) / 2, (1 + intervals) / 2])
            counted = replace(counted, low=float(low), high=float(high))
        found[name] = counted
    return found


def _minus(values: Sequence[Any]) -> Any:
    """The one value, or the first minus the second."""
    return values[0] if len(values) == 1 else values[0] - values[1]


def _draw_of(draws: Sequence[Draw]) -> Draw:
    return lambda counts: _minus([draw(counts) for draw in draws])


def _resampled(
    draws: dict[str, Draw], table: dict[str, Metric], n: int, num: int, seed: int
) -> dict[str, NDArray[Any]]:
    """Values of each metric on its resamples."""
    values: dict[str, list[NDArray[Any]]] = {name: [] for name in draws}
    left = {name: min(num, table[name].most) for name in draws}
    for counts in resampling.resamples(n, max(left.values(), default=0), seed):
        for name, draw in draws.items():
            if left[name] > 0:
                values[name].append(draw(counts[: left[name]]))
                left[name] -= len(counts)
    return {name: np.concatenate(parts) for name, parts in values.items()}
