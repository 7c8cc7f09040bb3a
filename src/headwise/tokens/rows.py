"""Which samples are asked for, and how many of them fit in memory at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["CHUNK_BYTES", "as_rows", "chunk_size", "first_bad", "pieces", "spread", "working_dtype"]

CHUNK_BYTES = 8 * 2**20
"""Memory that one chunk of tokens takes when no size is given.

Small enough that the allocator keeps its pieces: fresh pages from the system took more time than the work on them.
"""


def as_rows(rows: Any, num_samples: int) -> np.ndarray:
    """Row numbers as int64: all rows for None, the True ones for a boolean array.

    Raises
    ------
    InputError
        The rows are not one-dimensional whole numbers in ``[0, num_samples)``.
    """
    if rows is None:
        return np.arange(num_samples)
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (num_samples,):
        return np.flatnonzero(rows)
    if rows.size == 0:
        return np.zeros(0, dtype=np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise InputError(f"rows have shape {rows.shape} and type {rows.dtype}; a list of whole numbers is needed")
    bad = (rows < 0) | (rows >= num_samples)
    if bad.any():
        raise InputError(f"row {rows[bad][0]} is asked for; there are {num_samples} samples, 0 to {num_samples - 1}")
    return rows.astype(np.int64)


def chunk_size(size: int | None, bytes_per_sample: int) -> int:
    """Samples of a chunk: ``size``, or as many as fit in `CHUNK_BYTES` (at least one)."""
    if size is None:
        return max(1, CHUNK_BYTES // max(1, bytes_per_sample))
    if size < 1:
        raise InputError(f"chunks of {size} samples are asked for; at least 1 is needed")
    return size


def pieces(rows: np.ndarray, size: int) -> Iterable[np.ndarray]:
    """``rows`` cut into pieces of at most ``size``, in order."""
    return (rows[i : i + size] for i in range(0, len(rows), size))


def spread(total: int, count: int) -> list[int]:
    """At most ``count`` of the rows 0 to ``total - 1``, evenly over all."""
    found: list[int] = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()
    return found


def first_bad(values: Tensor, mask: Tensor | None = None) -> tuple[int, int]:
    """Position of the first sample that holds NaN or infinity, and how many samples do; ``(-1, 0)`` for none.

    Parameters
    ----------
    values : Tensor, shape (n, ..., d)
        Tokens.
    mask : Tensor of bool, shape (n, ...), or None
        Tokens that count; what is behind the mask may be anything.
    """
    # A sum is finite only if all its terms are, and is far cheaper than a flag per number; the exact test follows
    # only where the sum says that something may be wrong (it may also just have overflowed).
    if mask is None and bool(torch.isfinite(values.sum(dtype=torch.float64))):
        return -1, 0
    finite = torch.isfinite(values).all(-1)
    if mask is not None:
        finite = finite | ~mask
    bad = torch.nonzero(~finite.reshape(len(finite), -1).all(1)).flatten()
    return (int(bad[0]), len(bad)) if len(bad) else (-1, 0)


def working_dtype(stored: torch.dtype) -> torch.dtype:
    """Type in which tokens are given out: float64 stays, everything smaller becomes float32."""
    return torch.float64 if stored == torch.float64 else torch.float32
