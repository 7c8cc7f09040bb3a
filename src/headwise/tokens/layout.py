"""Where the tokens of a shard lie in its file, so that single samples can be read."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .manifest import DTYPES, Manifest

__all__ = ["ShardLayout"]


@dataclass(frozen=True)
class ShardLayout:
    """Where the tensors of one shard lie in its file."""

    file: Path
    dtype: str
    shape: tuple[int, int, int, int]
    tokens_at: int
    mask_at: int | None

    @classmethod
    def read(cls, file: Path, samples: int, manifest: Manifest) -> ShardLayout:
        try:
            with file.open("rb") as handle:
                length = int.from_bytes(handle.read(8), "little")
                size = os.fstat(handle.fileno()).st_size
                header = json.loads(handle.read(length)) if 8 + length <= size else None
        except FileNotFoundError:
            raise InputError(f"{file} is missing; run the command that made the store again") from None
        except ValueError:
            header = None
        if not isinstance(header, dict):
            raise InputError(f"{file} is cut short or not a safetensors file; delete it and make the store again")
        shape = (samples, *manifest.shape[1:])
        codes = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64"}
        wanted: dict[str, tuple[str, tuple[int, ...]]] = {"tokens": (codes[manifest.dtype], shape)}
        if manifest.has_mask:
            wanted["mask"] = ("BOOL", shape[:3])
        starts = {}
        for name, (code, dims) in wanted.items():
            entry = header.get(name)
            count = int(np.prod(dims)) * (1 if code == "BOOL" else DTYPES[manifest.dtype].itemsize)
            if not isinstance(entry, dict) or entry.get("dtype") != code or entry.get("shape") != list(dims):
                raise InputError(f"{file} does not hold {name} of shape {dims} and type {code}; make the store again")
            begin, end = entry["data_offsets"]
            if end - begin != count or begin < 0 or 8 + length + end > size:
                raise InputError(f"{file} is cut short: {name} needs {count} bytes; delete it and make the store again")
            starts[name] = 8 + length + begin
        return cls(file, manifest.dtype, shape, starts["tokens"], starts.get("mask"))

    def tokens(self, samples: np.ndarray, view: int) -> Tensor:
        """Tokens of a view of some samples, ``(m, s, d)``, in the type of the file."""
        values = self._read(samples, view, self.tokens_at, numpy_dtype(self.dtype), self.shape[2:])
        return values.view(torch.bfloat16) if self.dtype == "bfloat16" else values

    def mask(self, samples: np.ndarray, view: int) -> Tensor:
        """Their mask, ``(m, s)``."""
        return self._read(samples, view, self.mask_at or 0, np.dtype(np.bool_), self.shape[2:3])

    def _read(self, samples: np.ndarray, view: int, at: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Tensor:
        """Records of a view of samples in increasing order, one read for each run of neighbours.

        A memory map would be less work, but what was read through it counts as memory of the process until it ends.
        """
        found = np.empty((len(samples), *shape), dtype)
        views, size = self.shape[1], int(np.prod(shape)) * dtype.itemsize
        records = samples.astype(np.int64) * views + view
        ends = np.flatnonzero(np.diff(records) != 1) + 1
        with self.file.open("rb", buffering=0) as file:
            for run in np.split(np.arange(len(records)), ends):
                if len(run):
                    file.seek(at + int(records[run[0]]) * size)
                    _fill(file, found[run[0] : run[-1] + 1], self.file)
        return torch.from_numpy(found)


def _fill(file: Any, into: np.ndarray, name: Path) -> None:
    """Read as many bytes as ``into`` holds."""
    left = into.reshape(-1).view(np.uint8).data
    while len(left):
        got = file.readinto(left)
        if not got:
            raise InputError(f"{name} is cut short; delete it and make the store again")
        left = left[got:]


def numpy_dtype(name: str) -> np.dtype[Any]:
    """NumPy type with the same bytes; bfloat16, which NumPy lacks, as int16."""
    return np.dtype("int16" if name == "bfloat16" else name)
