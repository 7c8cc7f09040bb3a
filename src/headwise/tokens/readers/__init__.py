"""Readers of data; `open_data` and `open_samples` choose one by what they are given."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..samples import ArrayData, ImageSamples, TextSamples
from ..store import TokenStore
from ..writer import MANIFEST_FILE
from .arrays import image_array_samples, read_arrays
from .digits import read_digits, read_photographs
from .folder import IMAGE_SUFFIXES, read_folder
from .table import read_table, table_columns
from .texts import TEXT_COLUMNS, read_lines, read_texts
from .unlabelled import read_images

__all__ = [
    "DATA_SETS",
    "TEXT_COLUMNS",
    "image_array_samples",
    "open_data",
    "open_samples",
    "read_arrays",
    "read_digits",
    "read_folder",
    "read_images",
    "read_lines",
    "read_photographs",
    "read_table",
    "read_texts",
]

DATA_SETS: dict[str, Callable[[], ImageSamples]] = {"digits": read_digits}
"""Data sets that need no file."""

_ACCEPTED = (
    f"one of the built-in sets ({', '.join(DATA_SETS)}), a token store, a folder of images with one subfolder a class, "
    "a .csv or .tsv list of images (path, label) or of texts (text, label), or arrays (.npy, .npz, .safetensors)"
)
_ACCEPTED_UNLABELLED = (
    f"one of the built-in sets ({', '.join(DATA_SETS)}), a token store, an image or a folder of images, "
    "a .csv or .tsv list of images (path) or of texts (text), a .txt file of texts, one a line, or arrays (.npy, .npz, "
    ".safetensors)"
)


def open_data(
    path_or_name: Any, columns: tuple[str, str] | None = None
) -> ImageSamples | TextSamples | TokenStore | ArrayData:
    """Open data by path or name.

    Parameters
    ----------
    path_or_name : path or str
        A token store, a folder of images, a list of images or texts, a file of arrays, or the name of a built-in set. A
        built-in name wins over a path of the same name; write ``./digits`` for the path. What is open already is given
        back.
    columns : (str, str), optional
        Columns of a ``.csv`` or ``.tsv`` file that hold texts and their labels; by default a file with a column "text",
        and none "path", holds texts, whose labels are in "label".

    Returns
    -------
    data : ImageSamples, TextSamples, TokenStore or ArrayData

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
    return _open(path_or_name, True, columns)


def open_samples(
    path_or_name: Any, columns: tuple[str, str] | None = None
) -> ImageSamples | TextSamples | TokenStore | ArrayData:
    """Open data whose labels are not needed, and not read where they are there.

    Parameters
    ----------
    path_or_name : path or str
        What `open_data` takes, and without labels: one image, a folder of images in any subfolders, a list of images
        with the column ``path`` or of texts with the column ``text``, a ``.txt`` file of texts, one a line, a file of
        arrays.
    columns : (str, str), optional
        As in `open_data`; labels are not read.

    Returns
    -------
    data : ImageSamples, TextSamples, TokenStore or ArrayData
        The labels of images, texts and arrays from files are NaN.

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
    return _open(path_or_name, False, columns)


def _open(
    path_or_name: Any, labelled: bool, columns: tuple[str, str] | None
) -> ImageSamples | TextSamples | TokenStore | ArrayData:
    found = _find(path_or_name, labelled, columns)
    if columns is not None and not isinstance(found, TextSamples):
        raise InputError(f"columns {columns} of texts are asked for, but {path_or_name} is no table of texts")
    return found


def _find(
    path_or_name: Any, labelled: bool, columns: tuple[str, str] | None
) -> ImageSamples | TextSamples | TokenStore | ArrayData:
    if isinstance(path_or_name, str) and path_or_name in DATA_SETS:
        return DATA_SETS[path_or_name]()
    accepted = _ACCEPTED if labelled else _ACCEPTED_UNLABELLED
    if isinstance(path_or_name, (ImageSamples, TextSamples, ArrayData, TokenStore)):
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
        named = table_columns(path)
        if columns is None and not {"path", TEXT_COLUMNS[0]} & set(named):
            raise InputError(
                f"{path} has no column 'path' of images and no column 'text' of texts; the first line must name one of "
                f"them (it says {', '.join(named) or 'nothing'}). Other columns of texts and labels: "
                "columns=(TEXT, LABEL), or --text-column on the command line, and --label-column where labels are read"
            )
        if columns is not None or "path" not in named:
            return read_texts(path, columns or TEXT_COLUMNS, labelled)
        return read_table(path, labelled)
    if not labelled and suffix == ".txt":
        return read_lines(path)
    if suffix in (".npy", ".npz", ".safetensors"):
        return read_arrays(path, labelled=labelled)
    raise InputError(f"{path} is not data that headwise knows; give {accepted}")
