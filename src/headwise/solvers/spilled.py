"""Statistics on disk, for samples that do not fit in memory."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..ahead import ahead
from ..errors import InputError
from ..processes import ALONE, Processes
from .passes import Stats, chunk_samples

__all__ = ["SpilledPasses"]


@dataclass(frozen=True)
class _Layout:
    """Shapes of the statistics of one sample, part by part."""

    shapes: tuple[tuple[tuple[str, tuple[int, ...]], ...], ...]

    @classmethod
    def of(cls, stats: Sequence[Stats]) -> _Layout:
        return cls(tuple(tuple((name, tuple(x.shape[1:])) for name, x in part.items()) for part in stats))

    @property
    def numbers(self) -> int:
        """Numbers of one sample."""
        return sum(int(np.prod(shape)) for part in self.shapes for _, shape in part)

    def pack(self, stats: Sequence[Stats], rows: slice, dtype: torch.dtype) -> Tensor:
        """Statistics of ``rows`` one after the other, as they lie in the file."""
        return torch.cat([part[name][rows].to(dtype).flatten() for part in stats for name in part])

    def unpack(self, flat: Tensor, count: int) -> list[Stats]:
        """Views of the statistics of ``count`` samples."""
        found: list[Stats] = []
        at = 0
        for part in self.shapes:
            own = {}
            for name, shape in part:
                size = count * int(np.prod(shape))
                own[name] = flat[at : at + size].view(count, *shape)
                at += size
            found.append(own)
        return found


class SpilledPasses:
    """Statistics in a temporary file, read chunk by chunk in every pass, the next chunk while one is worked on.

    Written once, in float64 and float32: passes in float32 then read half as much. The file lies where ``TMPDIR``
    says, and goes with the object.

    Parameters
    ----------
    num_samples : int
        Samples of all processes.
    processes : Processes
        Who shares the samples, each its `Processes.run` of them.
    each : int
        Rows of outputs of a sample.
    device : str or torch.device
        Where chunks are given.

    Examples
    --------
    >>> passes = SpilledPasses(3)
    >>> passes.append([{"sum": torch.ones(3, 2, dtype=torch.float64)}])
    >>> [(rows, stats[0]["sum"].shape) for rows, stats in passes.chunks(torch.float32)]
    [(slice(0, 3, None), torch.Size([3, 2]))]
    """

    held = False

    def __init__(
        self,
        num_samples: int,
        processes: Processes = ALONE,
        each: int = 1,
        device: str | torch.device = "cpu",
    ) -> None:
        self.num_samples, self.processes, self._each = num_samples * each, processes, each
        self.device = torch.device(device)
        run = processes.run(num_samples)
        self._first, self._count, self._written = run.start, run.stop - run.start, 0
        self._folder = Path(tempfile.mkdtemp(prefix="headwise-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._layout: _Layout | None = None
        self._pieces: list[int] = []
        """Samples of each chunk in the file."""

    def _file(self, dtype: torch.dtype) -> Path:
        return self._folder / str(dtype).removeprefix("torch.")

    def append(self, stats: Sequence[Stats]) -> None:
        """Add the statistics of the next samples of this process.

        Raises
        ------
        InputError
            The disk has not enough room; nothing was written.
        """
        count = len(next(iter(stats[0].values())))
        if self._layout is None:
            self._layout = _Layout.of(stats)
            self._check_room(self._layout.numbers)
        step = chunk_samples(self._layout.numbers, self.device, self._each)
        for start in range(0, count, step):
            rows = slice(start, min(start + step, count))
            for dtype in (torch.float64, torch.float32):
                with self._file(dtype).open("ab") as file:
                    self._layout.pack(stats, rows, dtype).numpy(force=True).tofile(file)
            self._pieces.append(rows.stop - rows.start)
        self._written += count

    def _check_room(self, numbers: int) -> None:
        need, free = 12 * numbers * self._count, shutil.disk_usage(self._folder).free
        if need > free:
            raise InputError(
                f"the statistics of {self._count:,} samples take {need / 2**30:.1f} GiB on disk and "
                f"{self._folder.parent} has {free / 2**30:.1f} GiB free; set TMPDIR to a folder with more room, raise "
                "the memory limit, or use fewer components or gates"
            )

    def chunks(self, dtype: torch.dtype, times: int = 1) -> Iterator[tuple[slice, list[Stats]]]:
        layout = self._layout
        if layout is None or self._written != self._count:
            raise RuntimeError(f"{self._written} of {self._count} samples were written")
        numpy_type = np.float64 if dtype == torch.float64 else np.float32
        start = self._first
        with self._file(dtype).open("rb") as file:
            flats = (np.fromfile(file, numpy_type, count * layout.numbers) for count in self._pieces)
            for count, flat in zip(self._pieces, ahead(flats), strict=True):
                rows = slice(start * self._each, (start + count) * self._each)
                yield rows, layout.unpack(torch.from_numpy(flat).to(self.device), count)
                start += count
