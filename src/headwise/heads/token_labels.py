"""Labels of single tokens, for heads that give each token outputs of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..checks import check_unmasked
from ..contracts import TargetKind, TokenSource
from ..errors import InputError
from .targets import Targets, encode

__all__ = ["as_token_labels", "encode_tokens", "labelled_tokens", "no_class", "seen_tokens"]


def as_token_labels(y: Any, source: TokenSource, rows: NDArray[Any], each: int) -> NDArray[Any]:
    """Labels ``(len(rows), each)`` or ``(len(rows), each, outputs)``; given for all samples, or for the rows.

    Raises
    ------
    InputError
        There are none, or they have another shape.
    """
    need = f"({source.num_samples}, {each})"
    if y is None:
        y = getattr(source, "labels", None)  # those of samples are no labels of tokens
        y = y if np.ndim(y) > 1 else None
    if y is None:
        raise InputError(f"each token has a label of its own: give y of shape {need}")
    if isinstance(y, torch.Tensor):
        y = y.numpy(force=True)
    check_unmasked("labels", y)
    try:
        y = np.asarray(y)
    except ValueError as error:
        raise InputError(f"the labels cannot be used: {error}") from None
    if y.ndim not in (2, 3) or y.shape[1] != each or len(y) not in (source.num_samples, len(rows)):
        raise InputError(
            f"labels of tokens have shape {y.shape}; {need} is needed, one for each token that the head gives outputs "
            "of (prefix tokens come first, where there are any)"
        )
    return y[rows] if len(y) == source.num_samples else y


def seen_tokens(source: TokenSource, rows: NDArray[Any], each: int) -> NDArray[np.bool_] | None:
    """Which of the last ``each`` tokens of ``rows`` are real, ``(len(rows), each)``; None where all are."""
    found = []
    for _, tokens in source.chunks(rows):
        if tokens.mask is None:
            return None
        found.append(tokens.mask[:, -each:].numpy(force=True))
    return np.concatenate(found)


def labelled_tokens(kind: TargetKind, y: NDArray[Any], seen: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Which tokens have a label ``(n, s)``: NaN is none, and for classes a negative number, None or an empty text."""
    given = np.ones(y.shape, dtype=bool)
    if y.dtype.kind == "f":
        given[np.isnan(y)] = False
    if y.dtype.kind in "US":
        given[y == ""] = False
    if y.dtype.kind == "O":
        # NaN differs from itself
        given &= np.array([value is not None and value != "" and value == value for value in y.flat]).reshape(y.shape)
    if y.dtype.kind in "if" and kind in ("classes", "labels"):
        given[y < 0] = False
    labelled: NDArray[np.bool_] = np.all(given.reshape(*y.shape[:2], -1), axis=2)
    return labelled if seen is None else labelled & seen


def encode_tokens(
    kind: TargetKind, y: NDArray[Any], seen: NDArray[np.bool_] | None, classes: NDArray[Any] | None = None
) -> Targets:
    """Targets of labels ``(n, s)`` or ``(n, s, outputs)``; see `headwise.heads.targets.encode`.

    Parameters
    ----------
    kind : {"classes", "labels", "numbers", "counts"}
    y : ndarray
        NaN (for classes also a negative number, None or an empty text) stands for a token without a label.
    seen : ndarray of bool, shape (n, s), or None
        False where a token is hidden; its label is not looked at.
    classes : ndarray, optional
        The classes of an earlier fit, in its order.

    Raises
    ------
    InputError
        No token has a label, labels that are not of this kind, or survival times.

    Examples
    --------
    >>> found = encode_tokens("classes", np.array([[3, -1], [5, 3]]), None)
    >>> found.classes.tolist(), found.values.tolist(), found.labelled.tolist()
    ([3, 5], [[0, 0], [1, 0]], [[True, False], [True, True]])
    """
    if kind == "survival":
        raise InputError("survival times are those of samples, not of tokens; take pooling='mean'")
    if kind == "classes" and y.ndim != 2:
        raise InputError(f"classes of tokens have shape {y.shape}; one for each token, (n, s), is needed")
    labelled = labelled_tokens(kind, y, seen)
    if not labelled.any():
        raise InputError("no token has a label: NaN, a negative class, an empty text and hidden tokens have none")
    if y.dtype.kind == "f" and not np.isfinite(y[labelled]).all():
        raise InputError("the labels of tokens hold infinity; give NaN where a token has no label")
    own = encode(kind, y[labelled], classes)
    values = own.values.new_zeros(*labelled.shape, *own.values.shape[1:])
    values[torch.from_numpy(labelled)] = own.values
    return Targets(values, own.num_outputs, own.classes, own.flat, labelled)


def no_class(classes: NDArray[Any]) -> Any:
    """What stands for no class among predictions: -1, or the empty text; False where the classes are truth values."""
    kind = classes.dtype.kind
    if kind == "b":
        return False
    return "" if kind in "US" or (kind == "O" and isinstance(classes[0], str)) else -1
