"""The metrics of each kind of target: their value, the same on resamples, and what they leave out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics as reference

from ..errors import InputError
from . import resampling
from .calibration import calibration_draw, calibration_error
from .outcomes import as_survival
from .resampling import Draw

__all__ = ["METRICS", "Metric", "Undefined", "auroc", "concordance"]

TINY = 1e-12
"""Probabilities below it count as this much in a log-loss."""


class Undefined(InputError):
    """The metric is not defined on these samples, others may be."""


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
