"""What the estimators accept as X, y and weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, column_or_1d

from ..checks import check_nonnegative, check_unmasked, told
from ..contracts import TargetKind, TokenSource
from ..errors import InputError
from ..tokens import ArrayTokens, TokenStore
from .facts import TokenFacts

__all__ = ["as_labels", "as_source", "as_weights", "class_weights", "names_of", "source_of", "training_rows"]


def as_source(X: Any, *, mask: Any = None, num_prefix: int = 0, grid: tuple[int, int] | None = None) -> TokenSource:
    """A token source from a store, its path, ``(n, s, d)`` or ``(n, d)`` arrays, tensors or data frames."""
    if isinstance(X, (str, os.PathLike)):
        X = TokenStore.open(X)
    if _is_source(X):
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


def source_of(facts: TokenFacts, X: Any, mask: Any = None) -> TokenSource:
    """Tokens for a head: arrays have its layout; a store or another source says its own, which may be another."""
    if isinstance(X, (str, os.PathLike)) or _is_source(X):
        return as_source(X, mask=mask)
    try:
        return as_source(X, mask=mask, num_prefix=facts.num_prefix, grid=facts.grid)
    except InputError:
        return as_source(X, mask=mask)  # another number of tokens: the head says so in its own words


def _is_source(X: Any) -> bool:
    return hasattr(X, "chunks") and hasattr(X, "num_prefix")


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


def names_of(classes: NDArray[Any] | None, source: TokenSource) -> list[str] | None:
    """Names of classes that are the codes of a source; None where there are no classes or it has no names."""
    names = getattr(source, "class_names", ())
    if classes is None or not names:
        return None
    return [names[c] if isinstance(c, int) and 0 <= c < len(names) else str(c) for c in classes.tolist()]


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
    if isinstance(class_weight, Mapping):
        _check_class_weights(class_weight, classes)
    elif not isinstance(class_weight, str) or class_weight != "balanced":
        raise InputError(
            f"class_weight must be 'balanced', a mapping of classes to their weights, or None, got {told(class_weight)}"
        )
    from sklearn.utils.class_weight import compute_class_weight

    own = np.ones(len(codes)) if weights is None else weights
    try:
        factors = compute_class_weight(class_weight, classes=classes, y=classes[codes], sample_weight=own)
    except ValueError as error:
        raise InputError(f"class_weight: {error}") from None
    found: NDArray[Any] = own * factors[codes]
    if not (found > 0).any():
        raise InputError("class_weight leaves no training sample with a positive weight")
    return found


def _check_class_weights(class_weight: Mapping[Any, Any], classes: NDArray[Any]) -> None:
    """Refuse weights that are none, and names of classes that are not there where others have no weight."""
    known = classes.tolist()
    for name, weight in class_weight.items():
        check_nonnegative(f"class_weight of class {told(name)}", weight)
    strange = [name for name in class_weight if name not in known]
    if strange and any(name not in class_weight for name in known):  # more names than these samples have will do
        raise InputError(
            f"class_weight has the class {told(strange[0])}, which the labels do not have; they have "
            f"{', '.join(map(told, known[:10]))}{', ...' if len(known) > 10 else ''}"
        )
