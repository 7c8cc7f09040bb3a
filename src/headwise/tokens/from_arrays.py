"""Arrays in, token store out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contracts import Progress
from ..errors import InputError, unknown_name
from .arrays import as_mask, as_tokens, check_layout
from .manifest import DTYPES, Manifest
from .rows import first_bad
from .table import as_ids, as_labels, as_names, as_splits, encode_names, hash_columns, hash_samples
from .writer import NO_SPLIT, StoreWriter

__all__ = ["SHARD_BYTES", "SPLITS", "shard_samples", "split_codes", "write_arrays"]

SHARD_BYTES = (8 * 2**20, 32 * 2**20)
"""Smallest and largest size of a shard when none is given, which is what a stop can lose: see `shard_samples`."""

_SHARDS = 500  # the manifest lists them all and is written after each

SPLITS = ("train", "val", "test")


def write_arrays(
    path: str | os.PathLike[str],
    tokens: Any,
    labels: Any,
    *,
    split: Any = None,
    groups: Any = None,
    class_names: Sequence[str] | None = None,
    mask: Any = None,
    grid: tuple[int, int] | None = None,
    num_prefix: int = 0,
    ids: Sequence[str] | None = None,
    dtype: str = "float16",
    description: str = "arrays",
    shard_size: int | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> None:
    """Write arrays as a token store, shard by shard; parameters as in `TokenStore.from_arrays`."""
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    values = as_tokens(tokens, convert=False)  # a memory map of whole numbers is converted shard by shard
    if values.ndim not in (2, 3, 4) or 0 in values.shape:
        raise InputError(
            f"tokens have shape {tuple(values.shape)}; (n, d), (n, s, d) or (n, views, s, d) without a zero is needed"
        )
    n, d = values.shape[0], values.shape[-1]
    views = values.shape[1] if values.ndim == 4 else 1
    s = values.shape[-2] if values.ndim > 2 else 1
    values = values.reshape(n, views, s, d)
    kept = _view_mask(mask, n, views, s)
    num_prefix, grid = check_layout(num_prefix, grid, s)
    y, names = as_labels(labels, n, class_names)
    names_of_ids = as_ids(ids, n)
    split_text, group_text = as_splits(split, n), as_names(groups, n, "groups")
    split_values, split_names = split_codes(split_text)
    group_values, group_names = encode_names(group_text)
    shard_size = shard_samples(shard_size, views * s * d * DTYPES[dtype].itemsize, n)
    columns = (names_of_ids, y, names, split_text, group_text)
    source = {"description": description, "hash": hash_samples(*columns), "columns": hash_columns(columns)}
    manifest = Manifest(
        dtype=dtype,
        shape=(n, views, s, d),
        num_inputs=n,
        shard_size=shard_size,
        num_prefix=num_prefix,
        grid=grid,
        has_mask=kept is not None,
        class_names=names,
        split_names=split_names,
        group_names=group_names,
        source=source,
    )
    facts = ("dtype", "shape", "shard_size", "num_prefix", "grid", "has_mask", "class_names", "source")
    writer = StoreWriter(Path(path), manifest, {name: manifest.to_json()[name] for name in facts}, overwrite)
    if overwrite:
        writer.clear()
    writer.resume()
    for k in range(manifest.num_shards):
        rows = writer.inputs(k)
        part = values[rows.start : rows.stop]
        part_mask = None if kept is None else kept[rows.start : rows.stop]
        writer.write(k, _stored(part, part_mask, dtype, rows.start, names_of_ids), part_mask, compare=True)
        if progress is not None:
            progress("write tokens", rows.stop, n)
    writer.finish(y, names_of_ids, split_values, group_values)


def _view_mask(mask: Any, n: int, views: int, s: int) -> Tensor | None:
    if mask is not None:
        mask = torch.as_tensor(mask)
        if tuple(mask.shape) == (n, s):
            mask = mask[:, None].expand(n, views, s)
    return as_mask(mask, (n, views, s))


def _stored(part: Tensor, mask: Tensor | None, dtype: str, start: int, ids: Sequence[str]) -> Tensor:
    stored = part.to(DTYPES[dtype])
    bad, count = first_bad(stored, mask)
    if count:
        whole = first_bad(part[bad : bad + 1], None if mask is None else mask[bad : bad + 1])[1] == 0
        cause = f"are too large for {dtype} (store them as float32)" if whole else "hold NaN or infinity"
        raise InputError(
            f"tokens of sample {ids[start + bad]!r} (row {start + bad}) {cause}; {count} such in rows {start} to "
            f"{start + len(part) - 1}"
        )
    # What a mask hides may be NaN; zeros keep such values out of every later sum.
    return stored if mask is None else stored.masked_fill(~mask[..., None], 0)


def shard_samples(size: int | None, bytes_per_sample: int, num_samples: int) -> int:
    """Samples in a shard: ``size``, or a 500th of the store within `SHARD_BYTES`; no more than there are.

    It depends on the arguments alone, never on the speed of the machine: the fingerprint of a store depends on it.
    """
    if size is None:
        low, high = SHARD_BYTES
        size = max(1, min(max(low, num_samples * bytes_per_sample // _SHARDS), high) // bytes_per_sample)
    if size < 1:
        raise InputError(f"shard_size is {size}; at least 1 is needed")
    return min(size, num_samples)


def split_codes(split: np.ndarray | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Codes of split names, train, val and test first; "" becomes `NO_SPLIT`."""
    if split is None:
        return None, ()
    none = split == ""
    codes = np.full(len(split), NO_SPLIT, dtype=np.int64)
    present, names = encode_names(split[~none], SPLITS)
    if len(names) >= NO_SPLIT:
        raise InputError(f"there are {len(names)} splits; fewer than {NO_SPLIT} are possible")
    codes[~none] = 0 if present is None else present
    return codes, names
