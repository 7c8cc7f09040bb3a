"""Labels, splits, groups and names of a store's samples, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..errors import InputError
from ..files import read_json
from .manifest import Manifest
from .writer import IDS_FILE, NO_SPLIT, SAMPLES_FILE

__all__ = ["read_samples_table"]


def read_samples_table(folder: Path, manifest: Manifest) -> tuple[dict[str, np.ndarray], list[str]]:
    """Columns ("labels" and, where there are any, codes of "split" and "group") and ids, each of all samples.

    Raises
    ------
    InputError
        A file cannot be read, has another number of samples than the manifest, or codes without names.
    """
    try:
        table = {name: value.numpy() for name, value in load_file(folder / SAMPLES_FILE).items()}
    except (FileNotFoundError, SafetensorError) as error:
        raise InputError(f"{folder / SAMPLES_FILE} cannot be read: {error}; make the store again") from None
    ids = read_json(folder / IDS_FILE)
    n = manifest.shape[0]
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise InputError(f"{folder / IDS_FILE} is not a list of names; make the store again")
    sizes = {IDS_FILE: len(ids)} | {name: len(value) for name, value in table.items()}
    wrong = [f"{name} has {size}" for name, size in sizes.items() if size != n]
    if wrong or "labels" not in table:
        raise InputError(f"{folder}: {'; '.join(wrong) or 'no labels'}; {n} samples are stored. Make the store again")
    _check_codes(folder, table, manifest)
    return table, ids


def _check_codes(folder: Path, table: Mapping[str, np.ndarray], manifest: Manifest) -> None:
    """Codes that point past their names would fail later and far away."""
    labels = table["labels"]
    checks = [("class", labels, manifest.class_names)] if manifest.class_names else []
    if "split" in table:
        checks.append(("split", table["split"][table["split"] != NO_SPLIT], manifest.split_names))
    if "group" in table:
        checks.append(("group", table["group"], manifest.group_names))
    for kind, codes, names in checks:
        if codes.dtype.kind not in "iu" or (codes.size and (codes.min() < 0 or codes.max() >= len(names))):
            raise InputError(
                f"{folder / SAMPLES_FILE}: a {kind} code has no name ({len(names)} names); make the store again"
            )
