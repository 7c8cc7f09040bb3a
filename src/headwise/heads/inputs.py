"""What the estimators accept as X, y and weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, column_or_1d

from ..checks import check_unmasked
from ..contracts import TargetKind, TokenSource
from ..errors import InputError
from ..tokens import ArrayTokens, TokenStore

__all__ = ["as_labels", "as_source", "as_weights", "training_rows"]


def as_source(X: Any, *, mask: Any = None, num_prefix: int = 0, grid: tuple[int, int] | None = None) -> TokenSource:
    """A token source from a store, its path, ``(n, s, d)`` or ``(n, d)`` arrays, tensors or data frames."""
    if isinstance(X, (str, os.PathLike)):
        X = TokenStore.open(X)
    if hasattr(X, "chunks") and hasattr(X, "num_prefix"):  # a TokenSource
        given = {"mask": mask is not None, "num_prefix": num_prefix not in (0, X.num_prefix)}
        given["grid"] = grid is not None and X.grid is not None and tuple(grid) != X.grid
        for name, asked in given.items():
            if asked:
                raise InputError(f"X is a token source and knows its own {name}; leave {name} out")
        return X
    if isinstance(X, (list, tuple)):
        X = _stacked(X)
    check_unmasked("tokens", X)
    if isinstance(X, torch.Tensor) or getattr(X, "ndim", 2) > 2:
        return ArrayTokens(X, mask=mask, num_prefix=num_prefix, grid=grid)
    shape = np.shape(X) if isinstance(X, np.ndarray) else ()
    if len(shape) == 1 and X.dtype != object:
        raise InputError(
            f"tokens have shape {shape}; (n, s, d) or (n, d) is needed. Reshape your data: array.reshape(-1, 1) has "
            "one feature, array.reshape(1, -1) one sample"
        )
    try:
        return ArrayTokens(check_array(X, dtype=[np.float64, np.float32]), mask=mask, num_prefix=num_prefix, grid=grid)
    except ValueError as error:
        if "setting an array element" in str(error):
            raise InputError(_RAGGED) from None
        raise InputError(str(error)) from None


_PAD = "pad them to one (n, s, d) array and give a boolean mask (n, s) that is True where a token is real"
_RAGGED = f"samples have different numbers of tokens or features; {_PAD}"


def _stacked(samples: Sequence[Any]) -> Any:
    """Samples ``(s, d)`` as one array; lists of anything else as they are."""
    try:
        arrays = [np.asarray(x) for x in samples]
    except ValueError:
        raise InputError(_RAGGED) from None
    if not arrays or arrays[0].ndim < 2:
        return samples
    for axis, what in enumerate(("tokens", "features")):
        sizes = sorted({x.shape[axis] for x in arrays if x.ndim == 2})
        if len(sizes) > 1:
            raise InputError(f"samples have between {sizes[0]} and {sizes[-1]} {what}; {_PAD}")
    if len({x.shape for x in arrays}) > 1:
        raise InputError(_RAGGED)
    return np.stack(arrays)


def as_labels(y: Any, source: TokenSource, rows: NDArray[Any], kind: TargetKind) -> NDArray[Any]:
    """Labels of ``rows``: those of a store by default; of all samples, or of the rows where their order is clear.

    One column of classes becomes a vector; one column of numbers stays one, so that predictions are one too.
    """
    if y is None:
        y = getattr(source, "labels", None)
        if y is None:
            raise InputError("requires y to be passed, but the target y is None")
    elif isinstance(y, torch.Tensor):
        y = y.numpy(force=True)
    check_unmasked("labels", y)
    try:
        y = np.asarray(y)
        as_given = y.dtype.names is not None or (y.ndim == 2 and (y.shape[1] > 1 or kind in ("numbers", "counts")))
        if not as_given:
            y = column_or_1d(y, warn=True)
    except ValueError as error:
        raise InputError(f"the labels cannot be used: {error}") from None
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


def as_weights(
    sample_weight: Any, source: TokenSource, rows: NDArray[Any], each: int | None = None
) -> NDArray[Any] | None:
    """Weights of ``rows`` in float64, or None; given for all samples, or for the rows.

    One a sample ``(n,)``, or one a token ``(n, each)`` where tokens have labels.
    """
    if sample_weight is None:
        return None
    if isinstance(sample_weight, torch.Tensor):
        sample_weight = sample_weight.numpy(force=True)
    check_unmasked("sample weights", sample_weight)
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("sample_weight must be numbers, one for each sample") from None
    if weights.ndim == 0:
        weights = np.full(len(rows), float(weights))
    elif weights.shape[0] == source.num_samples:
        weights = weights[rows]
    if weights.shape not in ((len(rows),), (len(rows), each)):
        need = f"({source.num_samples},)" + ("" if each is None else f" or ({source.num_samples}, {each})")
        raise InputError(f"sample_weight has shape {weights.shape}; {need} is needed")
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
