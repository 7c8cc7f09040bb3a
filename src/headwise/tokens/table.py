"""Labels, splits and groups as codes with names."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..checks import check_unmasked
from ..errors import InputError

__all__ = [
    "SPLIT_NAMES",
    "as_ids",
    "as_labels",
    "as_names",
    "as_splits",
    "differing",
    "encode_names",
    "hash_columns",
    "hash_samples",
    "no_labels",
]


def as_labels(
    labels: Any, num_samples: int | None, class_names: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as int64 or float64, with the names of the classes.

    Text becomes codes of the sorted names (or of ``class_names``); whole numbers stay as they are, and must be codes of
    ``class_names`` where these are given; real numbers are targets of a regression.

    Parameters
    ----------
    labels : array-like, shape (n,) or (n, k)
        Labels or targets.
    num_samples : int or None
        n where it is known.
    class_names : sequence of str or None
        Names of the classes, in the order of their codes.

    Returns
    -------
    labels : array of int64 or float64
    class_names : tuple of str
        Empty where the labels are plain numbers.

    Raises
    ------
    InputError
        Wrong length or type, NaN, or a label without a class name.
    """
    values = _numpy(labels, "labels")
    if values.ndim not in (1, 2) or (num_samples is not None and len(values) != num_samples):
        needed = "n" if num_samples is None else num_samples
        raise InputError(f"labels have shape {values.shape}; ({needed},) is needed, one label for each sample")
    names = tuple(str(name) for name in class_names) if class_names is not None else ()
    if len(set(names)) != len(names):
        raise InputError(f"class_names repeat a name: {sorted({n for n in names if names.count(n) > 1})}")
    if values.dtype.kind in "US":
        text = values.astype(str)
        names = names or tuple(str(v) for v in np.unique(text))
        codes = {name: code for code, name in enumerate(names)}
        strange = sorted({str(v) for v in text.ravel()} - set(codes))
        if strange:
            raise InputError(f"label {strange[0]!r} is not among the class names {', '.join(names[:20])}")
        return np.array([codes[str(v)] for v in text.ravel()], dtype=np.int64).reshape(text.shape), names
    if values.dtype.kind in "iub":
        codes_ = values.astype(np.int64)
        if names and codes_.size and (codes_.min() < 0 or codes_.max() >= len(names)):
            bad = codes_[(codes_ < 0) | (codes_ >= len(names))][0]
            raise InputError(f"label {bad} has no class name; {len(names)} names are given, for 0 to {len(names) - 1}")
        return codes_, names
    if values.dtype.kind != "f":
        raise InputError(f"labels have type {values.dtype}; text, whole numbers or real numbers are needed")
    if names:
        raise InputError(
            "class_names are given but the labels are real numbers; give whole numbers or leave the names out"
        )
    bad_rows = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(1))
    if len(bad_rows):
        raise InputError(
            f"label of sample {bad_rows[0]} is NaN or infinite ({len(bad_rows)} such); leave these samples out"
        )
    return values.astype(np.float64), ()


def no_labels(num_samples: int) -> np.ndarray:
    """NaN for each sample: the labels are not known, and what needs labels refuses them."""
    return np.full(num_samples, np.nan)


SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
    "": "",
}
"""Names of the parts of a data set that are understood, in small letters."""


def as_names(values: Any, num_samples: int, what: str) -> np.ndarray | None:
    """One name for each sample as text, None where ``values`` is None."""
    if values is None:
        return None
    array = _numpy(values, what)
    if array.shape != (num_samples,) or array.dtype.kind not in "USiub":
        raise InputError(
            f"{what} has shape {array.shape} and type {array.dtype}; {num_samples} names or whole numbers are needed"
        )
    return array.astype(str)


def as_splits(values: Any, num_samples: int) -> np.ndarray | None:
    """Part of each sample: "train", "val", "test", or "" for none; None where ``values`` is None.

    Case does not count, and the names in `SPLIT_NAMES` stand for the same parts.

    Raises
    ------
    InputError
        Any other name: its samples would be left out without a word.
    """
    names = as_names(values, num_samples, "split")
    if names is None:
        return None
    known, codes = np.unique(names, return_inverse=True)
    parts = [SPLIT_NAMES.get(str(name).strip().lower()) for name in known]
    bad = [str(name) for name, part in zip(known, parts, strict=True) if part is None]
    if bad:
        count = int(np.isin(names, bad).sum())
        raise InputError(
            f"split holds {', '.join(map(repr, bad[:5]))} ({count} samples); give train, val or test, or an empty name "
            "for samples of no part"
        )
    found: np.ndarray = np.array(parts)[codes.reshape(-1)]
    return found


def encode_names(values: np.ndarray | None, first: Iterable[str] = ()) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Codes and names; names of ``first`` that occur come first, the rest sorted."""
    if values is None:
        return None, ()
    present = {str(v) for v in np.unique(values)}
    head = [name for name in first if name in present]
    names = (*head, *sorted(present - set(head)))
    codes = {name: code for code, name in enumerate(names)}
    return np.array([codes[str(v)] for v in values], dtype=np.int64), names


def as_ids(ids: Sequence[str] | None, num_samples: int) -> tuple[str, ...]:
    """Names of the samples; numbers where none are given."""
    if ids is None:
        return tuple(str(i) for i in range(num_samples))
    names = tuple(str(name) for name in ids)
    if len(names) != num_samples:
        raise InputError(f"{len(names)} ids are given; {num_samples} samples need one each")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f"ids must differ; {repeated[0]!r} is given more than once ({len(repeated)} such)")
    return names


def hash_samples(
    ids: Sequence[str],
    labels: np.ndarray,
    class_names: Sequence[str],
    split: np.ndarray | None,
    groups: np.ndarray | None,
) -> str:
    """SHA-256 of what is known about the samples besides their content."""
    digest = hashlib.sha256()
    names = [None if column is None else [str(v) for v in column] for column in (split, groups)]
    facts = [list(ids), list(class_names), *names, str(labels.dtype), list(labels.shape)]
    digest.update(json.dumps(facts).encode())
    digest.update(np.ascontiguousarray(labels).tobytes())
    return digest.hexdigest()


def hash_columns(columns: tuple[Any, ...]) -> dict[str, str]:
    """Hashes of the arguments of `hash_samples`, given as one tuple, so that it can be said which of them differs."""
    ids, labels, class_names, split, groups = columns
    nothing = np.empty(0)
    return {
        "samples": hash_samples(ids, nothing, (), None, None),
        "labels": hash_samples((), labels, class_names, None, None),
        "splits": hash_samples((), nothing, (), split, None),
        "groups": hash_samples((), nothing, (), None, groups),
    }


def differing(there: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """What is not the same in two descriptions of a source, each with ``hash`` and, where known, ``columns``."""
    apart = ("hash", "columns", "content")
    names = [name for name in (*there, *asked) if name not in apart and there.get(name) != asked.get(name)]
    said = [f"{name} {there.get(name)!r} there, {asked.get(name)!r} asked" for name in dict.fromkeys(names)]
    if there.get("hash") != asked.get("hash"):
        before, now = (source.get("columns", {}) for source in (there, asked))
        other = [name for name in now if before.get(name) != now[name]]
        # other samples have other labels and splits as well
        what = "samples" if "samples" in other else " and ".join(other)
        said.append(f"other {what if before else 'samples, labels, splits or groups'} there than asked")
    elif there.get("content") != asked.get("content"):
        said.append("the same names and labels with other content there than asked")
    return ", ".join(said)


def _numpy(values: Any, what: str) -> np.ndarray:
    check_unmasked(what, values)
    values = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.empty(0, dtype=object)
    if array.dtype == object:
        # Lists with text of mixed kinds and pandas columns arrive as objects.
        if all(isinstance(v, str) for v in array.ravel()) and array.size:
            return array.astype(str)
        raise InputError(f"{what} are ragged or of mixed types; one label of one type for each sample is needed")
    return array
