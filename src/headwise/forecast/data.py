"""Pooled features and labels of a store or of arrays, with training and held-out rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contracts import TokenSource
from ..errors import InputError
from ..tokens import ArrayTokens, TokenStore, make_splits
from ..tokens.pooling import pooled_tokens
from ..tokens.table import as_labels

__all__ = ["LabelledFeatures", "read", "refuse_other_origin"]

HELD_OUT = 0.2
"""Share of the training samples on which the probe is measured where a data set has no validation samples."""


@dataclass(frozen=True)
class LabelledFeatures:
    """Features and labels of one data set; those of a test part are never among them.

    Parameters
    ----------
    name : str
        Of the data set, for people.
    features, labels : array, shape (n, d) and (n,) or (n, k)
        Of the training rows.
    held_out_features, held_out_labels : array
        Of the held-out rows.
    rows, held_out_rows : array of int
        The training rows, and those held out.
    num_samples : int
        Of the data set, all parts together.
    fingerprint : str
        Of the tokens.
    origin : mapping or None
        Where the tokens came from.
    """

    name: str
    features: NDArray[Any]
    labels: NDArray[Any]
    held_out_features: NDArray[Any]
    held_out_labels: NDArray[Any]
    rows: NDArray[np.int64]
    held_out_rows: NDArray[np.int64]
    num_samples: int
    fingerprint: str
    origin: Mapping[str, Any] | None


def read(tokens: Any, labels: Any = None, seed: int = 0, like: LabelledFeatures | None = None) -> LabelledFeatures:
    """Read tokens once and keep one row of features a sample: prefix tokens joined with the mean patch token.

    Parameters
    ----------
    tokens : path, TokenStore, TokenSource or array
        A store (or its folder), or tokens ``(n, s, d)`` or ``(n, d)``.
    labels : array-like, shape (n,) or (n, k)
        Needed where the tokens have none of their own; replaces those of a store.
    seed : int
        Decides which samples are held out where the data do not say.
    like : LabelledFeatures, optional
        Another reading: where it is of the same tokens, its rows and features are taken.

    Raises
    ------
    InputError
        Tokens without labels, or of another number; labels that are not finite; and as in `headwise.TokenStore.open`.
    """
    source: TokenSource
    if isinstance(tokens, (str, os.PathLike)):
        source = TokenStore.open(tokens)
    else:
        source = tokens if hasattr(tokens, "chunks") else ArrayTokens(tokens)
    given = getattr(source, "labels", None) if labels is None else labels
    if given is None:
        raise InputError("these tokens have no labels of their own; give labels, one for each sample")
    codes, _ = as_labels(given, source.num_samples)
    name = source.path.name if isinstance(source, TokenStore) else "tokens"
    origin = source.manifest.origin if isinstance(source, TokenStore) else None
    if like is not None and like.fingerprint == source.fingerprint:
        there, held = codes[like.rows], codes[like.held_out_rows]
        return replace(like, name=name, origin=origin, labels=there, held_out_labels=held)
    train, held_out = _parts(source, codes, seed)
    both = np.concatenate([train, held_out])
    features = pooled_tokens(source, both).astype(np.float64)
    return LabelledFeatures(
        name,
        features[: len(train)],
        codes[train],
        features[len(train) :],
        codes[held_out],
        train,
        held_out,
        source.num_samples,
        source.fingerprint,
        origin,
    )


def _parts(source: Any, labels: NDArray[Any], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Training and validation rows; where there are no validation rows, a share of the training rows is held out."""
    parts = getattr(source, "split", None)
    if parts is None or "val" not in parts:
        shares = (1 - HELD_OUT, HELD_OUT, 0.0)
        names = getattr(source, "class_names", ())
        names = names if np.array_equal(getattr(source, "labels", ()), labels) else ()
        parts = make_splits(labels, getattr(source, "groups", None), shares, seed, split=parts, class_names=names)
    if "train" not in parts:
        raise InputError("the data have no training samples; a forecast is made from samples of the split 'train'")
    return np.flatnonzero(parts == "train"), np.flatnonzero(parts == "val")


def refuse_other_origin(first: LabelledFeatures, other: LabelledFeatures) -> None:
    """Refuse tokens of another backbone, layer or preprocessing: their features mean something else.

    Tokens from arrays are of an unknown one; they need the same number of features.

    Raises
    ------
    InputError
        Says what differs.
    """
    if first.origin is not None and other.origin is not None:
        differs = [name for name, value in first.origin.items() if other.origin.get(name) != value]
        if differs:
            said = "; ".join(f"{name}: {first.origin[name]!r} and {other.origin.get(name)!r}" for name in differs)
            raise InputError(
                f"{first.name} and {other.name} are tokens of different backbones or layers ({said}); extract "
                "both with the same backbone, layer and preprocessing"
            )
    if first.features.shape[1] != other.features.shape[1]:
        raise InputError(
            f"{first.name} has {first.features.shape[1]} features a sample and {other.name} has "
            f"{other.features.shape[1]}; a forecast of transfer needs tokens of the same backbone and layer"
        )
