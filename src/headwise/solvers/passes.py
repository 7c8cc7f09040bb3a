"""Passes over the samples' statistics, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["HeldPasses", "Passes", "Stats"]

Stats = Mapping[str, Tensor]

CHUNK_BYTES = 16 * 2**20  # small enough that a chunk and its inner features stay in the processor's cache


class Passes(Protocol):
    """Gives the statistics of all samples, in order, as often as asked."""

    num_samples: int

    def chunks(self, dtype: torch.dtype) -> Iterator[tuple[slice, list[Stats]]]:
        """Yield ``(samples, one statistics mapping for each part)``."""
        ...

    @property
    def held(self) -> bool:
        """True where statistics are in memory, so that solvers may keep values of the same size."""
        ...


class HeldPasses:
    """Statistics in memory, in float64 (what certificates need) with a float32 copy made when first asked for.

    Parameters
    ----------
    stats : sequence of mappings
        One mapping for each part; first axes are the samples.
    """

    held = True

    def __init__(self, stats: Sequence[Stats]) -> None:
        self._stats: dict[torch.dtype, list[Stats]] = {torch.float64: list(stats)}
        first = next(iter(stats[0].values()))
        self.num_samples = len(first)
        per_sample = sum(v[0].numel() * 8 for part in stats for v in part.values())
        self._chunk = max(32, min(self.num_samples, CHUNK_BYTES // max(per_sample, 1)))

    def chunks(self, dtype: torch.dtype) -> Iterator[tuple[slice, list[Stats]]]:
        if dtype not in self._stats:
            self._stats[dtype] = [{k: v.to(dtype) for k, v in part.items()} for part in self._stats[torch.float64]]
        stats = self._stats[dtype]
        for start in range(0, self.num_samples, self._chunk):
            rows = slice(start, min(start + self._chunk, self.num_samples))
            yield rows, [{k: v[rows] for k, v in part.items()} for part in stats]
