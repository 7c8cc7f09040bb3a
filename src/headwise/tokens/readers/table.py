"""A CSV or TSV file that lists images and their labels."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

import numpy as np

from ...errors import InputError
from ..samples import ImageSamples, check_classes
from ..table import as_splits, no_labels
from .folder import file_samples, plain_name

__all__ = ["class_codes", "read_table", "table_columns", "table_rows"]

_COLUMNS = ("path", "label", "split", "group")


def read_table(path: str | os.PathLike[str], labelled: bool = True) -> ImageSamples:
    """Read a list of images with the columns ``path``, ``label`` and, where wanted, ``split`` and ``group``.

    Paths are relative to the file's folder and must stay inside it. Other columns are ignored.

    Parameters
    ----------
    path : path
        A ``.csv`` (commas) or ``.tsv`` (tabs) file in UTF-8 with a header line.
    labelled : bool
        False needs and reads the column ``path`` alone.

    Raises
    ------
    InputError
        A column or value is missing, a path is absolute, leaves the folder, is listed twice or does not exist, or there
        is only one class.
    """
    file = Path(path)
    needed = _COLUMNS[: 2 if labelled else 1]
    rows = table_rows(file, "images", needed, _COLUMNS[2:] if labelled else ())
    for line, row in rows:
        empty = [name for name in row if not row[name] and name != "split"]
        if empty:
            raise InputError(f"{file} line {line} has no {empty[0]}; each line needs one")
    root = file.parent.resolve()
    files = [_inside(root, row["path"], f"{file} line {line}") for line, row in rows]
    ids = tuple(plain_name(row["path"]) for _, row in rows)
    repeated = sorted({name for name in ids if ids.count(name) > 1}) if len(set(ids)) < len(ids) else []
    if repeated:
        raise InputError(f"{file}: {repeated[0]} is listed more than once ({len(repeated)} such)")
    said = f"image list {plain_name(file.name)}: {len(ids)} images"
    if not labelled:
        return file_samples(files, ids, no_labels(len(ids)), (), said)
    labels, names = class_codes([row["label"] for _, row in rows], file)
    split = as_splits([row["split"] for _, row in rows], len(rows)) if "split" in rows[0][1] else None
    groups = np.array([row["group"] for _, row in rows]) if "group" in rows[0][1] else None
    return file_samples(files, ids, labels, names, f"{said}, {len(names)} classes", split, groups)


def table_columns(file: Path) -> list[str]:
    """Names of the columns of a table, from its first line."""
    with _proper(file), file.open(encoding="utf-8-sig", newline="") as handle:
        return _named(csv.DictReader(handle, delimiter=_delimiter(file), strict=True))


def table_rows(
    file: Path, what: str, needed: Sequence[str], known: Sequence[str] = (), free_text: bool = False
) -> list[tuple[int, dict[str, str]]]:
    """Line numbers, with the columns of ``needed`` and those of ``known`` that are there; missing values are empty.

    Parameters
    ----------
    file : Path
    what : str
        What a line stands for, in the plural.
    needed, known : sequence of str
        Columns that must be there, and columns that may be.
    free_text : bool
        Quotation marks of a ``.tsv`` file are text, as that format has none; and a line with more fields than columns,
        whose text would be cut at a comma or a tab, is refused.

    Raises
    ------
    InputError
        The file is no table in UTF-8, lacks a column or lists nothing, or a line has too many fields.
    """
    delimiter = _delimiter(file)
    quoting: Literal[0, 3] = csv.QUOTE_NONE if free_text and delimiter == "\t" else csv.QUOTE_MINIMAL
    with _proper(file), file.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle, delimiter=delimiter, strict=True, quoting=quoting)
        columns = _named(reader)
        missing = [name for name in needed if name not in columns]
        if missing:
            others = f" and maybe {', '.join(known)}" if known else ""
            raise InputError(
                f"{file} has no column {missing[0]!r}; the first line must name {', '.join(needed)}{others} "
                f"(it says {', '.join(columns) or 'nothing'})"
            )
        rows = [(reader.line_num, row) for row in reader]
    if not rows:
        raise InputError(f"{file} lists no {what}")
    long = [line for line, row in rows if None in row] if free_text else []
    if long:
        repair = "replace the tabs in its text" if delimiter == "\t" else 'put its text in quotation marks, "like, so"'
        raise InputError(
            f"{file} line {long[0]} has more fields than the first line has names ({len(long)} such); {repair}"
        )
    wanted = [name for name in (*needed, *known) if name in columns]
    return [(line, {name: (row[name] or "").strip() for name in wanted}) for line, row in rows]


def class_codes(names: Sequence[str], where: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes of the class of each line, and the sorted names of the classes; refused where there is one only."""
    classes = tuple(sorted(set(names)))
    codes = {name: code for code, name in enumerate(classes)}
    labels = np.array([codes[name] for name in names], dtype=np.int64)
    check_classes(labels, classes, where)
    return labels, classes


def _named(reader: csv.DictReader[str]) -> list[str]:
    reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
    return list(reader.fieldnames)


def _delimiter(file: Path) -> str:
    return "\t" if file.suffix.lower() == ".tsv" else ","


@contextmanager
def _proper(file: Path) -> Iterator[None]:
    """What is wrong with a file that is no table, as an error with a remedy."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}; save it as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{file} is not a proper {file.suffix} file: {error}") from None


def _inside(root: Path, name: str, where: str) -> Path:
    """The file ``name`` below ``root``; links that lead out of it are refused as well."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    steps = {*posix.parts, *windows.parts}
    if posix.is_absolute() or windows.drive or windows.root or ".." in steps or "\0" in name:
        raise InputError(f"{where}: path {name!r} leaves the folder of the list; give paths below it")
    target = (root / name).resolve()
    if not target.is_relative_to(root):
        raise InputError(f"{where}: path {name!r} is a link that leaves the folder of the list; copy the file into it")
    if not target.is_file():
        raise InputError(f"{where}: {name!r} does not exist in the folder of the list")
    return target
