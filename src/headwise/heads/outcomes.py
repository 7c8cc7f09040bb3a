"""Predictions and targets on held-out samples, checked by kind of target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError

__all__ = ["CHECKS", "as_classes", "as_counts", "as_labels", "as_numbers", "as_survival"]


def _columns(name: str, given: ArrayLike) -> NDArray[Any]:
    """``given`` as finite numbers ``(n, c)``."""
    values = np.asarray(given)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or not values.size:
        raise InputError(f"{name} must be an array (n, c) with at least one sample, got shape {np.shape(given)}")
    if values.dtype.kind not in "biuf":
        raise InputError(f"{name} must be numbers, got {values.dtype}")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{name} must be finite, got {np.count_nonzero(~np.isfinite(values))} that are not")
    return values


def as_numbers(predicted: ArrayLike, targets: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    p, y = _columns("predictions", predicted), _columns("targets", targets)
    if p.shape != y.shape:
        raise InputError(f"predictions and targets must have the same shape, got {p.shape} and {y.shape}")
    return p, y


def _require(holds: NDArray[Any], what: str) -> None:
    if not holds.all():
        raise InputError(f"{what}; {np.count_nonzero(~holds)} of {holds.size} are not")


def as_classes(predicted: ArrayLike, targets: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    p, y = _columns("probabilities", predicted), _columns("targets", targets)
    if np.ndim(predicted) != 2:
        raise InputError(f"probabilities of classes must be (n, c), got shape {np.shape(predicted)}")
    if y.shape != (len(p), 1):
        raise InputError(f"targets must be one class a sample, ({len(p)},), got shape {np.shape(targets)}")
    _require((p >= -1e-6) & (p <= 1 + 1e-6), "probabilities must lie between 0 and 1")
    _require(np.abs(p.sum(axis=1) - 1) < 0.01, "probabilities of a sample must sum to 1")
    _require((y >= 0) & (y < p.shape[1]) & (y == np.floor(y)), f"targets must be classes 0 .. {p.shape[1] - 1}")
    return np.clip(p, 0, 1), y[:, 0].astype(np.int64)


def as_labels(predicted: ArrayLike, targets: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    p, y = as_numbers(predicted, targets)
    _require((p >= -1e-6) & (p <= 1 + 1e-6), "probabilities must lie between 0 and 1")
    _require((y == 0) | (y == 1), "targets must be 0 or 1")
    return np.clip(p, 0, 1), y


def as_counts(predicted: ArrayLike, targets: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    p, y = as_numbers(predicted, targets)
    _require(p > 0, "rates must be above 0")
    _require(y >= 0, "counts must be 0 or more")
    return p, y


def as_survival(predicted: ArrayLike, targets: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    p, y = _columns("risk scores", predicted), _columns("targets", targets)
    if p.shape[1] != 1 or y.shape != (len(p), 2):
        raise InputError(
            "survival needs risk scores (n,) or (n, 1) and targets (n, 2) of time and event, "
            f"got shapes {np.shape(predicted)} and {np.shape(targets)}"
        )
    _require((y[:, 1] == 0) | (y[:, 1] == 1), "events must be 1, or 0 for censored")
    return p, y


CHECKS: dict[str, Callable[[ArrayLike, ArrayLike], tuple[NDArray[Any], NDArray[Any]]]] = {
    "classes": as_classes,
    "labels": as_labels,
    "numbers": as_numbers,
    "counts": as_counts,
    "survival": as_survival,
}
"""Predictions and targets as the metrics of a kind want them."""
