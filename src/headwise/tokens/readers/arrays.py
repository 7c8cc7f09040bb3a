"""Files of arrays: ``.npy`` with labels beside it, ``.npz``, ``.safetensors``."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open

from ...errors import InputError
from ..samples import ArrayData, ImageSamples, check_classes
from ..table import as_ids, as_labels, as_names, as_splits, hash_samples, no_labels
from .folder import join_fingerprint, plain_name

__all__ = ["image_array_samples", "read_arrays"]

_TOKENS = ("tokens", "X", "x", "features")
_LABELS = ("labels", "y", "targets")
_WITH_LABELS = (*_LABELS, "class_names", "split", "groups")


def read_arrays(
    path: str | os.PathLike[str], labels: str | os.PathLike[str] | None = None, labelled: bool = True
) -> ArrayData | ImageSamples:
    """Read tokens (or images) and labels from one file of arrays.

    ``.npz`` and ``.safetensors`` hold ``tokens`` (or ``X``), ``labels`` (or ``y``) and, where wanted, ``split``,
    ``groups``, ``class_names``, ``mask``, ``grid``, ``num_prefix``, ``ids``; safetensors keep texts in their metadata,
    one a line. With ``images``, uint8 of shape (n, H, W, 3) or (n, H, W), the samples are images. A ``.npy`` file is
    mapped into memory and has its labels beside it: ``NAME.labels.npy``, ``NAME_labels.npy`` or ``labels.npy``; of type
    uint8 and shape (n, H, W, 3) it holds images.

    Parameters
    ----------
    path : path
        The file.
    labels : path or None
        File of the labels for ``.npy``.
    labelled : bool
        False needs no labels and leaves labels, class names, splits and groups aside.

    Raises
    ------
    InputError
        Something is missing, is pickled (object arrays), is ragged, or does not fit the rest.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix == ".npy":
        found: dict[str, Any] = {"tokens": _load(file, mapped=True)}
        if found["tokens"].dtype == np.uint8 and found["tokens"].ndim == 4:
            found["images"] = found.pop("tokens")
        if labelled:
            found["labels"] = _load(_beside(file, labels))
    elif suffix == ".npz":
        found = _archive(file)
    else:
        found = _safetensors(file)
    if not labelled:
        found = {name: value for name, value in found.items() if name not in _WITH_LABELS}
    y = _pick(file, found, _LABELS, "labels") if labelled else None
    names = None if found.get("class_names") is None else [str(v) for v in np.atleast_1d(found["class_names"])]
    columns = {name: found.get(name) for name in ("split", "groups", "ids")}
    description = f"arrays {plain_name(file.name)}"
    if "images" in found:
        images = found["images"]
        said = f"{description}: {len(images) if np.ndim(images) else 0} images"
        return image_array_samples(images, y, class_names=names, description=said, where=file, **columns)
    tokens = _pick(file, found, _TOKENS, "tokens")
    if tokens.ndim and not len(tokens):
        raise InputError(f"{file} holds no samples: its tokens have shape {tokens.shape}")
    if tokens.dtype.kind not in "fiu" or tokens.ndim not in (2, 3, 4) or 0 in tokens.shape:
        raise InputError(
            f"{file}: tokens have shape {tokens.shape} and type {tokens.dtype}; numbers (n, s, d) are needed"
        )
    n = len(tokens)
    codes, names_ = (no_labels(n), ()) if y is None else as_labels(y, n, names)
    grid = found.get("grid")
    if grid is not None and np.shape(grid) != (2,):
        raise InputError(f"{file}: grid is {np.asarray(grid).tolist()}; two numbers, rows and columns, are needed")
    return ArrayData(
        tokens=tokens,
        labels=codes,
        class_names=names_,
        description=f"{description}: {n} samples",
        split=as_splits(columns["split"], n),
        groups=as_names(columns["groups"], n, "groups"),
        mask=None if found.get("mask") is None else np.asarray(found["mask"], dtype=bool),
        grid=None if grid is None else (int(grid[0]), int(grid[1])),
        num_prefix=int(np.asarray(found.get("num_prefix", 0)).item()),
        ids=None if columns["ids"] is None else as_ids(columns["ids"], n),
    )


def image_array_samples(
    images: np.ndarray,
    labels: Any,
    *,
    class_names: Sequence[str] | None = None,
    description: str = "images",
    split: Any = None,
    groups: Any = None,
    ids: Any = None,
    where: Any = "images",
) -> ImageSamples:
    """Images in one uint8 array as `ImageSamples`.

    Parameters
    ----------
    images : array of uint8, shape (n, H, W, 3) or (n, H, W)
        RGB or grey images.
    labels : array-like, shape (n,)
        Text or whole numbers: classes. Real numbers: targets of a regression. None: not known.
    class_names, split, groups, ids
        As in `ImageSamples`.
    where : object
        What to call the data in errors.

    Raises
    ------
    InputError
        Not uint8, not images, one class only, or lengths that do not fit.
    """
    images = np.asarray(images)
    if images.ndim and not len(images):
        raise InputError(f"{where}: there are no samples, the images have shape {images.shape}")
    if images.ndim == 3:
        images = np.broadcast_to(images[..., None], (*images.shape, 3))
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise InputError(
            f"{where}: images have shape {images.shape} and type {images.dtype}; uint8 (n, H, W, 3) is needed"
        )
    n = len(images)
    codes, names = (no_labels(n), ()) if labels is None else as_labels(labels, n, class_names)
    if codes.dtype.kind == "i" and not names:
        values, codes = np.unique(codes, return_inverse=True)
        codes, names = codes.astype(np.int64).reshape(-1), tuple(str(v) for v in values)
    check_classes(codes, names, where)
    given = as_ids(None if ids is None else [str(v) for v in ids], n)
    split_, groups_ = as_splits(split, n), as_names(groups, n, "groups")

    def load(index: int) -> Image.Image:
        return Image.fromarray(np.ascontiguousarray(images[index]))

    return ImageSamples(
        ids=given,
        labels=codes,
        class_names=names,
        load=load,
        description=description,
        fingerprint=join_fingerprint(hash_samples(given, codes, names, split_, groups_), images),
        split=split_,
        groups=groups_,
    )


def _load(file: Path, mapped: bool = False) -> np.ndarray:
    try:
        if mapped:
            # "c" maps the file writable in memory only, so that PyTorch can share it without a copy.
            return np.load(file, mmap_mode="c", allow_pickle=False)
        with file.open("rb") as handle:
            return np.load(handle, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{file} does not exist") from None
    except (ValueError, EOFError, OSError) as error:
        raise InputError(_reason(file, error, "it" if mapped else "labels")) from None


def _archive(file: Path) -> dict[str, Any]:
    name = "it"
    found = {}
    try:
        # Opened here and not by NumPy, which leaves a broken archive open.
        with file.open("rb") as handle:
            archive = np.load(handle, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise InputError(f"{file} holds a single array, not an archive; name it .npy")
            with archive:
                for name in archive.files:
                    found[name] = archive[name]
    except InputError:
        raise
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, OSError) as error:
        raise InputError(_reason(file, error, name)) from None
    return found


def _reason(file: Path, error: Exception, name: str = "it") -> str:
    if any(word in str(error) for word in ("pickle", "Object arrays", "Python objects")):
        if name in ("it", *_TOKENS):
            need = "pad the tokens to one (n, s, d) array of numbers and add a boolean mask (n, s)"
        else:
            need = f"save {name} as numbers or as plain text: np.asarray({name}, dtype=str)"
        return f"{file}: {name} is ragged or pickled (an object array), which is never loaded; {need}"
    return damaged(file, error)


def damaged(file: Path, error: Exception) -> str:
    """Why a file could not be read: the system refused it, or its content is not what its name says."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"{file} cannot be read: {error.strerror}"
    return f"{file} is cut short or damaged ({error}); make it or copy it again"


def _beside(file: Path, labels: str | os.PathLike[str] | None) -> Path:
    if labels is not None:
        return Path(labels)
    places = [file.with_name(name) for name in (f"{file.stem}.labels.npy", f"{file.stem}_labels.npy", "labels.npy")]
    for place in places:
        if place.is_file() and place != file:
            return place
    raise InputError(f"{file} has no labels beside it; add {' or '.join(place.name for place in places)}")


def _safetensors(file: Path) -> dict[str, Any]:
    try:
        with safe_open(file, framework="pt") as handle:
            found: dict[str, Any] = {}
            for name in handle.keys():  # noqa: SIM118 - a safetensors handle is no mapping
                value = handle.get_tensor(name)
                found[name] = (
                    value.float() if value.dtype.itemsize == 2 and value.is_floating_point() else value
                ).numpy()
            metadata = handle.metadata() or {}
    except FileNotFoundError:
        raise InputError(f"{file} does not exist") from None
    except (SafetensorError, OSError) as error:
        raise InputError(damaged(file, error)) from None
    texts = {
        name: metadata[name].splitlines() for name in ("class_names", "split", "groups", "ids") if name in metadata
    }
    return {**{name: np.array(value) for name, value in texts.items()}, **found}


def _pick(file: Path, found: Mapping[str, Any], names: Sequence[str], what: str) -> np.ndarray:
    present = [name for name in names if name in found]
    if not present:
        raise InputError(
            f"{file} has no {what}: an array called {' or '.join(names)} is needed; it has {', '.join(found)}"
        )
    return found[present[0]]
