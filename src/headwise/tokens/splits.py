"""Train, val and test parts: every class in each, no group in two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from .table import as_splits

__all__ = ["FRACTIONS", "fill_splits", "make_splits"]

FRACTIONS = (0.6, 0.2, 0.2)
"""Shares of train, val and test where none are given."""

_NAMES = ("train", "val", "test")
_ATTEMPTS = 20


def make_splits(
    labels: Any,
    groups: Any = None,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    *,
    split: Any = None,
    class_names: Sequence[str] = (),
) -> np.ndarray:
    """Part of each sample: "train", "val" or "test".

    Parameters
    ----------
    labels : array-like, shape (n,)
        Classes. Real numbers and ``(n, k)`` targets are not stratified.
    groups : array-like, shape (n,), or None
        Samples of one group (a patient, a scene) always share a part.
    fractions : three floats
        Shares of train, val and test, with sum 1. A share of 0 leaves the part out.
    seed : int
        Decides which samples go where.
    split : array-like of str, shape (n,), or None
        Parts that are already given. A part that has a share but no samples is taken from "train"; the rest stays.
        Samples of no part ("") stay out.
    class_names : sequence of str
        Names of integer labels, for the errors.

    Returns
    -------
    parts : array of str, shape (n,)

    Raises
    ------
    InputError
        Shares that make no sense, a class that would be missing from a part, or a given split that cuts a group.

    Examples
    --------
    >>> from headwise.tokens import make_splits
    >>> parts = make_splits([0] * 10 + [1] * 10)
    >>> [int((parts == name).sum()) for name in ("train", "val", "test")]
    [12, 4, 4]
    """
    try:
        shares = np.asarray(fractions, dtype=float)
    except (TypeError, ValueError):
        shares = np.empty(0)
    if shares.shape != (3,) or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-6 or shares[0] == 0:
        raise InputError(f"fractions are {fractions!r}; three shares with sum 1 and some for train are needed")
    y = np.asarray(labels)
    if y.ndim not in (1, 2) or not len(y):
        raise InputError(f"labels have shape {y.shape}; one label for each sample is needed")
    stratified = y.ndim == 1 and y.dtype.kind != "f"
    names, codes = (
        np.unique(y, return_inverse=True) if stratified else (np.array(["(all)"]), np.zeros(len(y), dtype=int))
    )
    codes = codes.reshape(-1)
    group_codes = None
    if groups is not None:
        group_names, group_codes = np.unique(np.asarray(groups), return_inverse=True)
        if group_codes.shape != codes.shape:
            raise InputError(f"groups have length {len(group_codes)}; {len(codes)} samples need one each")
    given = as_splits(split, len(codes))
    parts = np.full(len(codes), "train", dtype="<U5") if given is None else given
    if split is not None:
        if "train" not in parts:
            raise InputError(
                f"the given split has {', '.join(sorted(set(parts)))} but no train samples to take others from"
            )
        if group_codes is not None:
            _check_groups(parts, group_codes, group_names)
    wanted = [k for k, name in enumerate(_NAMES) if shares[k] > 0 and (k == 0 or name not in parts)]
    if len(wanted) > 1:
        rows = np.flatnonzero(parts == "train")
        share = shares[wanted] / shares[wanted].sum()
        rng = np.random.default_rng(seed)
        inside = codes[rows]
        if group_codes is None:
            chosen = _by_class(inside, share, rng)
        else:
            chosen = _by_group(inside, group_codes[rows], share, rng)
        parts = parts.astype(np.result_type(parts.dtype, "<U5"))
        parts[rows] = np.array([_NAMES[k] for k in wanted])[chosen]
    for k, name in enumerate(_NAMES):
        missing = np.setdiff1d(np.arange(len(names)), codes[parts == name])
        if shares[k] > 0 and len(missing):
            unit = "samples" if group_codes is None else "groups"
            label = names[missing[0]]
            name_of = class_names[int(label)] if len(class_names) and stratified else str(label)
            others = (
                f" (nor {'has 1 other' if len(missing) == 2 else f'have {len(missing) - 1} others'})"
                if len(missing) > 1
                else ""
            )
            raise InputError(
                f"class {name_of!r} has no samples in the {name} part{others}; each class needs {unit} for every part. "
                f"Add {unit} of it, or leave the class out"
            )
    return parts


def fill_splits(data: Any, fractions: Sequence[float] = FRACTIONS, seed: int = 0) -> np.ndarray:
    """Parts of a data set's samples: those that it gives, the others made by `make_splits` of labels and groups."""
    return make_splits(data.labels, data.groups, fractions, seed, split=data.split, class_names=data.class_names)


def _by_class(codes: np.ndarray, share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part of each sample; each class is cut by shares, and what rounding leaves goes where most is missing."""
    chosen = np.zeros(len(codes), dtype=np.int64)
    given = np.zeros(len(share))
    asked = np.zeros(len(share))
    for code in np.unique(codes):
        rows = rng.permutation(np.flatnonzero(codes == code))
        counts = np.floor(len(rows) * share + 1e-9).astype(np.int64)
        asked += len(rows) * share
        if len(rows) >= len(share):
            counts = np.maximum(counts, 1)
        while counts.sum() > len(rows):
            counts[np.argmax(counts)] -= 1
        while counts.sum() < len(rows):
            counts[np.argmax(asked - given - counts)] += 1
        given += counts
        chosen[rows] = np.repeat(np.arange(len(share)), counts)
    return chosen


def _by_group(codes: np.ndarray, groups: np.ndarray, share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part of each sample with groups whole: large ones first, each where class counts stay closest to their shares."""
    _, members = np.unique(groups, return_inverse=True)
    table = np.zeros((members.max() + 1, codes.max() + 1))
    np.add.at(table, (members, codes), 1)
    present = table.sum(0) > 0
    table = table[:, present]
    target = share[:, None] * table.sum(0)
    best, best_key = np.zeros(len(table), dtype=np.int64), (np.inf, np.inf)
    for _ in range(_ATTEMPTS):
        order = rng.permutation(len(table))
        order = order[np.argsort(-table[order].sum(1), kind="stable")]
        have = np.zeros_like(target)
        chosen = np.zeros(len(table), dtype=np.int64)
        for g in order:
            # The change of sum (have - target)^2 / target when group g joins each part.
            cost = (table[g] * (2 * (have - target) + table[g]) / target).sum(1)
            chosen[g] = np.argmin(cost)
            have[chosen[g]] += table[g]
        key = (float((have == 0).sum()), float(((have - target) ** 2 / target).sum()))
        if key < best_key:
            best, best_key = chosen, key
    return best[members]


def _check_groups(parts: np.ndarray, group_codes: np.ndarray, group_names: np.ndarray) -> None:
    order = np.lexsort((parts, group_codes))
    cut = np.flatnonzero((np.diff(group_codes[order]) == 0) & (parts[order][1:] != parts[order][:-1]))
    if len(cut):
        name = str(group_names[group_codes[order[cut[0]]]])
        raise InputError(f"the given split cuts group {name!r}; put all its samples in one part or give no groups")
