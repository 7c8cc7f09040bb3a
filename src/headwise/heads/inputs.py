"""What the estimators accept as X and y."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, column_or_1d

from ..contracts import TokenSource
from ..errors import InputError
from ..tokens import ArrayTokens, TokenStore

__all__ = ["as_source", "as_targets", "as_weights", "training_rows"]


def as_source(X: Any, *, mask: Any = None, num_prefix: int = 0, grid: tuple[int, int] | None = None) -> TokenSource:
    """A token source from a store, ``(n, s, d)`` or ``(n, d)`` arrays or tensors."""
    if isinstance(X, (ArrayTokens, TokenStore)):
        return X
    if hasattr(X, "chunks") and hasattr(X, "num_prefix"):
        return X  # any other TokenSource
    if isinstance(X, torch.Tensor) or (isinstance(X, np.ndarray) and X.ndim == 3):
        return ArrayTokens(X, mask=mask, num_prefix=num_prefix, grid=grid)
    if isinstance(X, (list, tuple)) and X and np.ndim(X[0]) == 2:
        lengths = sorted({len(x) for x in X})
        if len(lengths) > 1:
            raise InputError(
                f"samples have between {lengths[0]} and {lengths[-1]} tokens; pad them to one length and give a mask"
            )
        return ArrayTokens(np.asarray(X), mask=mask, num_prefix=num_prefix, grid=grid)
    return ArrayTokens(check_array(X, dtype=[np.float64, np.float32]), mask=mask)


def as_targets(y: Any, source: TokenSource, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes, targets ``0 .. c-1`` of ``rows``, and the labels themselves; labels default to those of a store."""
    if y is None:
        y = getattr(source, "labels", None)
        if y is None:
            raise InputError("requires y to be passed, but the target y is None")
    elif isinstance(y, torch.Tensor):
        y = y.numpy(force=True)
    y = column_or_1d(y, warn=True)
    if len(y) == source.num_samples:
        y = y[rows]
    elif len(y) != len(rows) or (np.diff(rows) < 0).any():  # labels of some samples have no order but that of the rows
        raise InputError(f"{source.num_samples} samples but {len(y)} labels; give one label for each sample")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise InputError("the labels hold NaN or infinity; leave these samples out")
    check_classification_targets(y)
    classes, targets = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"the labels hold one class only ({classes[0]!r}); classification needs at least two")
    return classes, targets, y


def training_rows(source: TokenSource) -> np.ndarray:
    """Rows to fit on: a store's training split where it has one, else all samples."""
    split = getattr(source, "split", None)
    if split is not None and (np.asarray(split) == "train").any():
        return np.flatnonzero(np.asarray(split) == "train")
    return np.arange(source.num_samples)


def as_weights(sample_weight: Any, n: int) -> np.ndarray | None:
    """Sample weights as a float64 vector, or None."""
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.shape != (n,):
        raise InputError(f"sample_weight has shape {weights.shape}; ({n},) is needed")
    if not np.isfinite(weights).all() or (weights < 0).any() or not (weights > 0).any():
        raise InputError("sample weights must be finite and not negative, and not all of them zero")
    return weights
