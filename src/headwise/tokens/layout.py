"""Where the tokens of a shard lie in its file, so that single samples can be read from a memory map."""

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

    def tokens(self, index: Any, view: int) -> Tensor:
        if self.shape[0] == 0:
            return torch.empty((0, *self.shape[2:]), dtype=DTYPES[self.dtype])
        array = np.memmap(self.file, numpy_dtype(self.dtype), "r", self.tokens_at, self.shape)
        # Copied, so that nothing handed out depends on the file any more.
        values = torch.from_numpy(np.array(array[index, view]))
        return values.view(torch.bfloat16) if self.dtype == "bfloat16" else values

    def mask(self, index: Any, view: int) -> Tensor:
        array = np.memmap(self.file, np.bool_, "r", self.mask_at or 0, self.shape[:3])
        return torch.from_numpy(np.array(array[index, view]))


def numpy_dtype(name: str) -> np.dtype[Any]:
    """NumPy type with the same bytes; bfloat16, which NumPy lacks, as int16."""
    return np.dtype("int16" if name == "bfloat16" else name)
