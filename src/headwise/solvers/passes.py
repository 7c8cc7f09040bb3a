"""Passes over the samples' statistics, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..processes import ALONE, Processes

__all__ = ["HeldPasses", "Passes", "Stats", "chunk_samples"]

Stats = Mapping[str, Tensor]

ADJOINT_TIMES = 8
"""Larger chunks for ``A*(theta)``: the matrix, of millions of numbers, is written once a chunk."""
CHUNK_BYTES = 16 * 2**20  # small enough that a chunk and its inner features stay in the processor's cache
DEVICE_CHUNK_BYTES = 256 * 2**20  # large enough that an accelerator is at work, and not waiting for orders


class Passes(Protocol):
    """Gives the statistics of all samples, in order, as often as asked.

    Several processes may share the samples: each gives its own, numbered as among all, and what is summed over samples
    is summed over processes by ``processes.add``.
    """

    num_samples: int
    """Rows of outputs of all processes together: samples, or their tokens where each has outputs of its own."""
    processes: Processes
    held: bool
    """True where statistics are in memory, so that solvers may keep values of the same size."""

    def chunks(self, dtype: torch.dtype, times: int = 1) -> Iterator[tuple[slice, list[Stats]]]:
        """Yield ``(rows of outputs, one statistics mapping for each part)``.

        Chunks may be so many ``times`` larger, where what is summed over them is large too.
        """
        ...


class HeldPasses:
    """Statistics in memory, in float64 (what certificates need) with a float32 copy made when first asked for.

    Parameters
    ----------
    stats : sequence of mappings
        One mapping for each part; first axes are the samples of this process.
    num_samples : int, optional
        Samples of all processes; those given by default.
    processes : Processes
        Who shares the samples, each its `Processes.run` of them.
    each : int
        Rows of outputs of a sample.
    """

    held = True

    def __init__(
        self,
        stats: Sequence[Stats],
        num_samples: int | None = None,
        processes: Processes = ALONE,
        each: int = 1,
    ) -> None:
        self._stats: dict[torch.dtype, list[Stats]] = {torch.float64: list(stats)}
        first = next(iter(stats[0].values()))
        self._count = len(first)
        count = self._count if num_samples is None else num_samples
        self.num_samples, self._each = count * each, each
        self.processes = processes
        self._first = processes.run(count).start
        # parts are passed one after the other, so the largest decides
        largest = max(sum(v[0].numel() for v in part.values()) for part in stats)
        self._chunk = chunk_samples(largest, first.device, each)

    def chunks(self, dtype: torch.dtype, times: int = 1) -> Iterator[tuple[slice, list[Stats]]]:
        if dtype not in self._stats:
            full = self._stats[torch.float64]
            distinct = {id(v): v for part in full for v in part.values()}  # gates may share features
            made = {key: v.to(dtype) for key, v in distinct.items()}
            self._stats[dtype] = [{k: made[id(v)] for k, v in part.items()} for part in full]
        stats = self._stats[dtype]
        step = times * self._chunk
        for start in range(0, self._count, step):
            stop = min(start + step, self._count)
            rows = slice((self._first + start) * self._each, (self._first + stop) * self._each)
            views = {id(v): v[start:stop] for part in stats for v in part.values()}  # what is shared stays shared
            yield rows, [{k: views[id(v)] for k, v in part.items()} for part in stats]


def chunk_samples(numbers: int, device: torch.device, each: int = 1) -> int:
    """Samples of a chunk on a device, where each has so many numbers and rows of outputs."""
    size = CHUNK_BYTES if device.type == "cpu" else DEVICE_CHUNK_BYTES
    return max(-(-32 // each), size // max(8 * numbers, 1))
