"""Readers of data; `open_data` and `open_samples` choose one by what they are given."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..samples import ArrayData, ImageSamples
from ..store import TokenStore
from ..writer import MANIFEST_FILE
from .arrays import image_array_samples, read_arrays
from .digits import read_digits, read_photographs
from .folder import IMAGE_SUFFIXES, read_folder
from .table import read_table
from .unlabelled import read_images

__all__ = [
    "DATA_SETS",
    "image_array_samples",
    "open_data",
    "open_samples",
    "read_arrays",
    "read_digits",
    "read_folder",
    "read_images",
    "read_photographs",
    "read_table",
]

DATA_SETS: dict[str, Callable[[], ImageSamples]] = {"digits": read_digits}
"""Data sets that need no file."""

_ACCEPTED = (
    f"one of the built-in sets ({', '.join(DATA_SETS)}), a token store, a folder of images with one subfolder a class, "
    "a .csv or .tsv list of images (path, label), or arrays (.npy, .npz, .safetensors)"
)
_ACCEPTED_UNLABELLED = (
    f"one of the built-in sets ({', '.join(DATA_SETS)}), a token store, an image or a folder of images, "
    "a .csv or .tsv list of images (path), or arrays (.npy, .npz, .safetensors)"
)


def open_data(path_or_name: Any) -> ImageSamples | TokenStore | ArrayData:
    """Open data by path or name.

    Parameters
    ----------
    path_or_name : path or str
        A token store, a folder of images, a list of images, a file of arrays, or the name of a built-in set. A built-in
        name wins over a path of the same name; write ``./digits`` for the path. What is open already is given back.

    Returns
    -------
    data : ImageSamples, TokenStore or ArrayData

    Raises
    ------
    InputError
        It is none of these, or it cannot be read.

    Examples
    --------
    >>> from headwise.tokens import open_data
    >>> open_data("digits").class_names[:3]
    ('0', '1', '2')
    """
    return _open(path_or_name, True)


def open_samples(path_or_name: Any) -> ImageSamples | TokenStore | ArrayData:
    """Open data whose labels are not needed, and not read where they are there.

    Parameters
    ----------
    path_or_name : path or str
        What `open_data` takes, and without labels: one image, a folder of images in any subfolders, a list of images
        with the column ``path``, a file of arrays.

    Returns
    -------
    data : ImageSamples, TokenStore or ArrayData
        The labels of images and arrays from files are NaN.

    Raises
    ------
    InputError
        It is none of these, or it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from headwise.tokens import open_samples
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (4, 4)).save(Path(folder, "cat.png"))
    ...     open_samples(folder).ids
    ('cat.png',)
    """
    return _open(path_or_name, False)


def _open(path_or_name: Any, labelled: bool) -> ImageSamples | TokenStore | ArrayData:
    if isinstance(path_or_name, str) and path_or_name in DATA_SETS:
        return DATA_SETS[path_or_name]()
    accepted = _ACCEPTED if labelled else _ACCEPTED_UNLABELLED
    if isinstance(path_or_name, (ImageSamples, ArrayData, TokenStore)):
        return path_or_name
    if not isinstance(path_or_name, (str, os.PathLike)):
        shape = f" of shape {tuple(path_or_name.shape)}" if hasattr(path_or_name, "shape") else ""
        raise InputError(
            f"data is a {type(path_or_name).__name__}{shape}; give {accepted}. Arrays in memory: "
            "headwise.TokenStore.from_arrays(PATH, tokens, labels) makes a token store of them"
        )
    path = Path(path_or_name)
    if not path.exists():
        close = get_close_matches(str(path_or_name), DATA_SETS, n=1)
        hint = f"did you mean {close[0]}? It must be" if close else "give"
        raise InputError(f"{path_or_name} does not exist; {hint} {accepted}")
    if path.is_dir() and (path / MANIFEST_FILE).is_file():
        return TokenStore.open(path)
    suffix = path.suffix.lower()
    if path.is_dir() or (not labelled and suffix in IMAGE_SUFFIXES):
        return read_folder(path) if labelled else read_images(path)
    if suffix in (".csv", ".tsv"):
        return read_table(path, labelled)
    if suffix in (".npy", ".npz", ".safetensors"):
        return read_arrays(path, labelled=labelled)
    raise InputError(f"{path} is not data that headwise knows; give {accepted}")
