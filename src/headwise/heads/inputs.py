"""What the estimators accept as X, y and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, column_or_1d

from ..contracts import TokenSource
from ..errors import InputError
from ..tokens import ArrayTokens

__all__ = ["as_labels", "as_source", "as_weights", "training_rows"]


def as_source(X: Any, *, mask: Any = None, num_prefix: int = 0, grid: tuple[int, int] | None = None) -> TokenSource:
    """A token source from a store, ``(n, s, d)`` or ``(n, d)`` arrays or tensors."""
    if hasattr(X, "chunks") and hasattr(X, "num_prefix"):  # a TokenSource
        given = {"mask": mask is not None, "num_prefix": num_prefix not in (0, X.num_prefix)}
        given["grid"] = grid is not None and X.grid is not None and tuple(grid) != X.grid
        for name, asked in given.items():
            if asked:
                raise InputError(f"X is a token source and knows its own {name}; leave {name} out")
        return X
    if isinstance(X, torch.Tensor) or (isinstance(X, np.ndarray) and X.ndim == 3):
        return ArrayTokens(X, mask=mask, num_prefix=num_prefix, grid=grid)
    if isinstance(X, (list, tuple)) and X and np.ndim(X[0]) == 2:
        lengths = sorted({len(x) for x in X})
        if len(lengths) > 1:
            raise InputError(
                f"samples have between {lengths[0]} and {lengths[-1]} tokens; pad them to one length and give a mask"
            )
        return ArrayTokens(np.asarray(X), mask=mask, num_prefix=num_prefix, grid=grid)
    return ArrayTokens(check_array(X, dtype=[np.float64, np.float32]), mask=mask, num_prefix=num_prefix, grid=grid)


def as_labels(y: Any, source: TokenSource, rows: NDArray[Any]) -> NDArray[Any]:
    """Labels of ``rows``: those of a store by default; of all samples, or of the rows where their order is clear."""
    if y is None:
        y = getattr(source, "labels", None)
        if y is None:
            raise InputError("requires y to be passed, but the target y is None")
    elif isinstance(y, torch.Tensor):
        y = y.numpy(force=True)
    y = np.asarray(y)
    if y.dtype.names is None and (y.ndim != 2 or y.shape[1] == 1):
        y = column_or_1d(y, warn=True)
    if len(y) == source.num_samples:
        return y[rows]
    if len(y) != len(rows) or (np.diff(rows) < 0).any():  # labels of some samples have no order but that of the rows
        raise InputError(f"{source.num_samples} samples but {len(y)} labels; give one label for each sample")
    return y


def training_rows(source: TokenSource) -> NDArray[Any]:
    """Rows to fit on: a store's training split where it has one, else all samples."""
    split = getattr(source, "split", None)
    if split is None:
        return np.arange(source.num_samples)
    rows = np.flatnonzero(np.asarray(split) == "train")
    if not len(rows):
        raise InputError(f"the samples have the parts {', '.join(sorted(set(split)))}, and none is called train")
    return rows


def as_weights(sample_weight: Any, source: TokenSource, rows: NDArray[Any]) -> NDArray[Any] | None:
    """Weights of ``rows`` as a float64 vector, or None; given for all samples, or for the rows."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, torch.Tensor):
        sample_weight = sample_weight.numpy(force=True)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.ndim == 0:
        weights = np.full(len(rows), float(weights))
    elif weights.shape == (source.num_samples,):
        weights = weights[rows]
    if weights.shape != (len(rows),):
        raise InputError(f"sample_weight has shape {weights.shape}; ({source.num_samples},) is needed")
    if not np.isfinite(weights).all() or (weights < 0).any() or not (weights > 0).any():
        raise InputError("sample weights must be finite and not negative, and not all of them zero")
    return weights


def class_weights(
    class_weight: Any, classes: NDArray[Any], codes: NDArray[Any], weights: NDArray[Any] | None
) -> NDArray[Any] | None:
    """Sample weights times class weights ("balanced" or a mapping), as scikit-learn has them."""
    if class_weight is None:
        return weights
    from sklearn.utils.class_weight import compute_class_weight

    own = np.ones(len(codes)) if weights is None else weights
    try:
        factors = compute_class_weight(class_weight, classes=classes, y=classes[codes], sample_weight=own)
    except ValueError as error:
        raise InputError(f"class_weight: {error}") from None
    return own * factors[codes]
