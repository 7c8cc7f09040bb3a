"""A CSV or TSV file that lists images and their labels."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from ...errors import InputError
from ..samples import ImageSamples, check_classes
from ..table import as_splits, no_labels
from .folder import file_samples, plain_name

__all__ = ["read_table"]

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
    rows = _rows(file, _COLUMNS if labelled else _COLUMNS[:1])
    root = file.parent.resolve()
    files = [_inside(root, row["path"], f"{file} line {line}") for line, row in rows]
    ids = tuple(plain_name(row["path"]) for _, row in rows)
    repeated = sorted({name for name in ids if ids.count(name) > 1}) if len(set(ids)) < len(ids) else []
    if repeated:
        raise InputError(f"{file}: {repeated[0]} is listed more than once ({len(repeated)} such)")
    said = f"image list {plain_name(file.name)}: {len(ids)} images"
    if not labelled:
        return file_samples(files, ids, no_labels(len(ids)), (), said)
    names = tuple(sorted({row["label"] for _, row in rows}))
    codes = {name: code for code, name in enumerate(names)}
    labels = np.array([codes[row["label"]] for _, row in rows], dtype=np.int64)
    check_classes(labels, names, file)
    split = as_splits([row["split"] for _, row in rows], len(rows)) if "split" in rows[0][1] else None
    groups = np.array([row["group"] for _, row in rows]) if "group" in rows[0][1] else None
    return file_samples(files, ids, labels, names, f"{said}, {len(names)} classes", split, groups)


def _rows(file: Path, known: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and the columns of ``known`` that are there; path and, where known, label must be."""
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, delimiter=delimiter, strict=True)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            missing = [name for name in known[:2] if name not in columns]
            if missing:
                needed = "path, label and maybe split, group" if len(known) > 1 else "path"
                raise InputError(
                    f"{file} has no column {missing[0]!r}; the first line must name {needed} "
                    f"(it says {', '.join(columns) or 'nothing'})"
                )
            wanted = [name for name in known if name in columns]
            rows = [(reader.line_num, {name: (row[name] or "").strip() for name in wanted}) for row in reader]
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}; save it as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{file} is not a proper {file.suffix} file: {error}") from None
    if not rows:
        raise InputError(f"{file} lists no images")
    for line, row in rows:
        empty = [name for name in wanted if not row[name] and name != "split"]
        if empty:
            raise InputError(f"{file} line {line} has no {empty[0]}; each line needs one")
    return rows


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
