"""Quality of predictions on held-out samples, by kind of target, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics as reference

from ..errors import InputError, unknown_name
from . import resampling
from .calibration import Bin, calibration_draw, calibration_error, reliability
from .outcomes import CHECKS, as_survival
from .resampling import Draw

__all__ = [
    "METRICS",
    "Bin",
    "Measure",
    "auroc",
    "calibration_error",
    "concordance",
    "evaluate",
    "paired_difference",
    "reliability",
]

TINY = 1e-12
"""Probabilities below it count as this much in a log-loss."""


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


class Undefined(InputError):
    """The metric is not defined on these samples, others may be."""


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


def auroc(probabilities: NDArray[Any], targets: NDArray[Any]) -> float:
    """Area under the ROC curve; of many classes one against the rest, the plain mean over the classes present."""
    scores, positive = _one_against_rest(probabilities, targets)
    return float(reference.roc_auc_score(positive, scores, average="macro"))


def _one_against_rest(probabilities: NDArray[Any], targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores and truths ``(n, k)``, one column for each class that is present; of two classes one column will do."""
    present = np.unique(targets)
    if len(present) < 2:
        raise Undefined("AUROC needs samples of two classes, got one")
    if probabilities.shape[1] == 2:
        present = present[1:]
    return probabilities[:, present], targets[:, None] == present


def _labels_with_both(probabilities: NDArray[Any], targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores and truths of the labels that some samples have and some have not."""
    both = np.flatnonzero((targets == 1).any(axis=0) & (targets == 0).any(axis=0))
    if not len(both):
        raise Undefined("AUROC needs a label that some samples have and some have not, got none")
    return probabilities[:, both], targets[:, both] == 1


def concordance(risk: ArrayLike, targets: ArrayLike) -> float:
    """Harrell's concordance index: share of comparable pairs in which the earlier event has the higher risk.

    A pair is comparable if the shorter time ends in an event, or if at equal times one had the event and the other was
    censored. Equal risks count 1/2.

    Parameters
    ----------
    risk : array (n,) or (n, 1)
    targets : array (n, 2)
        Time, and 1 for an event or 0 for censored.

    Raises
    ------
    InputError
        No pair is comparable, for example because all samples are censored.

    Examples
    --------
    >>> concordance([3, 1, 2], [[1, 1], [2, 1], [3, 0]])
    0.6666666666666666
    """
    return _concordance(*as_survival(risk, targets))


def _concordance(risk: NDArray[Any], y: NDArray[Any]) -> float:
    won, comparable = resampling.pair_sums(risk[:, 0], y[:, 0], y[:, 1] == 1, np.ones((1, len(risk))))
    if not comparable[0]:
        why = (
            "some samples had the event, but none before another's time" if (y[:, 1] == 1).any() else "all are censored"
        )
        raise InputError(f"concordance needs a pair of samples that can be compared, got none: {why}")
    return float(won[0] / comparable[0])


def _balanced_accuracy(p: NDArray[Any], y: NDArray[Any]) -> float:
    # recall_score with the classes present: balanced_accuracy_score warns of predicted classes that no sample has
    return float(reference.recall_score(y, p.argmax(axis=1), labels=np.unique(y), average="macro"))


def _log_loss(p: NDArray[Any], y: NDArray[Any]) -> float:
    return float(reference.log_loss(y, _inside(p), labels=np.arange(p.shape[1]))) if p.shape[1] > 1 else 0.0


def _label_log_loss(p: NDArray[Any], y: NDArray[Any]) -> float:
    return float(reference.log_loss(y.ravel(), np.clip(p, TINY, 1 - TINY).ravel(), labels=[0, 1]))


def _inside(p: NDArray[Any]) -> NDArray[Any]:
    """Probabilities that are nowhere 0 and sum to 1."""
    safe = np.clip(p, TINY, None)
    return safe / safe.sum(axis=1, keepdims=True)


def _varied(p: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The outputs whose targets are not all the same."""
    kept = np.flatnonzero(np.ptp(y, axis=0) > 0)
    if not len(kept):
        raise Undefined("R2 needs targets that are not all the same")
    return p[:, kept], y[:, kept]


def _r2(p: NDArray[Any], y: NDArray[Any]) -> float:
    p, y = _varied(p, y)
    return float(reference.r2_score(y, p))


def _poisson_pieces(p: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """Deviance of each sample, averaged over outputs: ``2 (y log(y / p) - y + p)``."""
    return 2 * (y * np.log(np.where(y > 0, y, 1) / p) - y + p).mean(axis=1)


def _label_pieces(p: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    safe = np.clip(p, TINY, 1 - TINY)
    return -np.log(np.where(y == 1, safe, 1 - safe)).mean(axis=1)


def _hits(p: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    return (p.argmax(axis=1) == y).astype(np.float64)


def _classes_left_out(p: NDArray[Any], y: NDArray[Any]) -> str:
    return _left_out("classes without a sample", np.setdiff1d(np.arange(p.shape[1]), y))


def _labels_left_out(p: NDArray[Any], y: NDArray[Any]) -> str:
    return _left_out("labels that all or no samples have", np.flatnonzero(np.ptp(y, axis=0) == 0))


def _outputs_left_out(p: NDArray[Any], y: NDArray[Any]) -> str:
    return _left_out("outputs whose targets are all the same", np.flatnonzero(np.ptp(y, axis=0) == 0))


def _left_out(what: str, which: NDArray[Any]) -> str:
    more = f" and {len(which) - 10} more" if len(which) > 10 else ""
    return f"left out: {what}: {', '.join(map(str, which[:10]))}{more}" if len(which) else ""


class Metric(NamedTuple):
    """How to get the value, how to get it on resamples, what to say of it, and the most resamples to use."""

    value: Callable[[NDArray[Any], NDArray[Any]], float]
    prepare: Callable[[NDArray[Any], NDArray[Any]], Draw]
    note: Callable[[NDArray[Any], NDArray[Any]], str] = lambda p, y: ""
    most: int = 1_000_000_000


METRICS: dict[str, dict[str, Metric]] = {
    "classes": {
        "accuracy": Metric(
            lambda p, y: float(reference.accuracy_score(y, p.argmax(axis=1))),
            lambda p, y: resampling.mean(_hits(p, y)),
        ),
        "balanced_accuracy": Metric(
            _balanced_accuracy, lambda p, y: resampling.recalls(_hits(p, y), y, p.shape[1]), _classes_left_out
        ),
        "log_loss": Metric(_log_loss, lambda p, y: resampling.mean(-np.log(_inside(p)[np.arange(len(y)), y]))),
        "auroc": Metric(auroc, lambda p, y: resampling.area_under_curve(*_one_against_rest(p, y)), _classes_left_out),
        "calibration_error": Metric(calibration_error, calibration_draw),
    },
    "labels": {
        "log_loss": Metric(_label_log_loss, lambda p, y: resampling.mean(_label_pieces(p, y))),
        "auroc": Metric(
            lambda p, y: float(reference.roc_auc_score(*_labels_with_both(p, y)[::-1], average="macro")),
            lambda p, y: resampling.area_under_curve(*_labels_with_both(p, y)),
            _labels_left_out,
        ),
    },
    "numbers": {
        "r2": Metric(_r2, lambda p, y: resampling.explained(*_varied(p, y)), _outputs_left_out),
        "absolute_error": Metric(
            lambda p, y: float(reference.mean_absolute_error(y, p)),
            lambda p, y: resampling.mean(np.abs(y - p).mean(axis=1)),
        ),
    },
    "counts": {
        "poisson_deviance": Metric(
            lambda p, y: float(reference.mean_poisson_deviance(y.ravel(), p.ravel())),
            lambda p, y: resampling.mean(_poisson_pieces(p, y)),
        ),
    },
    "survival": {
        "concordance": Metric(
            _concordance, lambda p, y: resampling.concordant(p[:, 0], y[:, 0], y[:, 1] == 1), most=200
        ),
    },
}
"""The metrics of each kind of target."""
