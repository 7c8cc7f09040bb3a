"""A CSV or TSV file of texts and their labels, or a plain file of texts, one a line."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..samples import TextSamples
from ..table import as_splits, hash_samples, no_labels
from .folder import join_fingerprint, plain_name
from .table import class_codes, table_rows

__all__ = ["TEXT_COLUMNS", "read_lines", "read_texts"]

TEXT_COLUMNS = ("text", "label")
"""Names of the columns of texts and of labels, where no others are given."""

_OTHERS = ("split", "group")


def read_texts(
    path: str | os.PathLike[str], columns: tuple[str, str] = TEXT_COLUMNS, labelled: bool = True
) -> TextSamples:
    """Read texts with the columns ``text``, ``label`` and, where wanted, ``split`` and ``group``.

    Empty texts cannot be used: they are left out, and named. With labels the same holds for a text that stands in an
    earlier line: a repeated text could be on both sides of a split, and would be known there before. Other columns are
    ignored.

    Parameters
    ----------
    path : path
        A file in UTF-8 with a header line: ``.csv`` (commas, texts with commas between quotation marks) or ``.tsv``
        (tabs; quotation marks are text, and no text holds a tab or a line break).
    columns : (str, str)
        Names of the columns of texts and labels.
    labelled : bool
        False needs and reads the texts alone.

    Raises
    ------
    InputError
        A column or label is missing, a line has more fields than columns, no text can be used, or there is only one
        class.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "mails.csv")
    ...     _ = file.write_text('body,kind\\n"Well, hello",ham\\nwin now,spam\\nwin now,spam\\n')
    ...     mails = read_texts(file, columns=("body", "kind"))
    >>> mails.text(0), dict(mails.faults)
    ('Well, hello', {2: 'the same text as line 3'})
    """
    file = Path(path)
    text, label = columns
    if text == label:
        raise InputError(f"texts and labels cannot both be in column {text!r}; name two columns")
    rows = table_rows(file, "texts", columns if labelled else (text,), _OTHERS if labelled else (), free_text=True)
    texts = tuple(row[text] for _, row in rows)
    lines = [line for line, _ in rows]
    ids = tuple(f"line {line}" for line in lines)
    said = f"texts {plain_name(file.name)}: {len(texts)} texts"
    faults = {i: "empty" for i, value in enumerate(texts) if not value}
    if len(faults) == len(texts):
        raise InputError(f"{file}: all {len(texts)} texts in column {text!r} are empty")
    if not labelled:
        return _unlabelled(file, texts, lines)
    for line, row in rows:
        empty = [name for name in (label, "group") if row.get(name) == ""]
        if empty:
            raise InputError(f"{file} line {line} has no {empty[0]}; each line needs one")
    first: dict[str, int] = {}
    for i, value in enumerate(texts):
        before = first.setdefault(value, i)
        if before < i and i not in faults:
            other = "" if rows[before][1][label] == rows[i][1][label] else ", with another label"
            faults[i] = f"the same text as line {lines[before]}{other}"
    labels, names = class_codes([row[label] for _, row in rows], file)
    split = as_splits([row["split"] for _, row in rows], len(rows)) if "split" in rows[0][1] else None
    groups = np.array([row["group"] for _, row in rows]) if "group" in rows[0][1] else None
    known = join_fingerprint(hash_samples(ids, labels, names, split, groups), _content(texts))
    return TextSamples(ids, labels, names, texts, f"{said}, {len(names)} classes", known, split, groups, faults)


def read_lines(path: str | os.PathLike[str]) -> TextSamples:
    """Read texts without labels from a plain file, one a line. Empty lines are left out, and named.

    Parameters
    ----------
    path : path
        A file in UTF-8.

    Raises
    ------
    InputError
        It cannot be read, is no text in UTF-8, or has no line with a text.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "notes.txt")
    ...     _ = file.write_text("see you\\n\\nwin now\\n")
    ...     notes = read_lines(file)
    >>> notes.text(2), dict(notes.faults)
    ('win now', {1: 'empty'})
    """
    file = Path(path)
    try:
        with file.open(encoding="utf-8-sig") as handle:
            texts = tuple(line.strip() for line in handle)
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no text in UTF-8: {error.reason}; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    if not any(texts):
        raise InputError(f"{file} holds no texts; one is needed, and each line is one")
    return _unlabelled(file, texts, range(1, len(texts) + 1))


def _unlabelled(file: Path, texts: tuple[str, ...], lines: Iterable[int]) -> TextSamples:
    ids = tuple(f"line {line}" for line in lines)
    none = no_labels(len(ids))
    known = join_fingerprint(hash_samples(ids, none, (), None, None), _content(texts))
    said = f"texts {plain_name(file.name)}: {len(texts)} texts"
    faults = {i: "empty" for i, value in enumerate(texts) if not value}
    return TextSamples(ids, none, (), texts, said, known, faults=faults)


def _content(texts: Sequence[str]) -> np.ndarray:
    return np.array(list(hashlib.sha256("\0".join(texts).encode()).digest()), dtype=np.uint8)
