"""How much memory a fit may take, and how it is kept."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from ..checks import as_bytes
from ..errors import InputError

__all__ = ["Memory", "as_memory"]

CHUNK_SHARE = 128  # about ten times a chunk is at work at once, and the allocator keeps as much again
WORK = 192 * 2**20
"""What passes and solvers take whatever the number of samples: chunks, libraries that load late, kept pieces."""


@dataclass(frozen=True)
class Memory:
    """Memory of this process during a fit.

    Parameters
    ----------
    limit : int or None
        Bytes that the process may hold in all, with what Python and torch take; None for no limit.
    taken : int
        Bytes that it held before the fit.

    Raises
    ------
    InputError
        What is left is too little for any fit.
    """

    limit: int | None = None
    taken: int = 0

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit - self.taken < WORK:
            raise InputError(
                f"max_memory is {self.limit / 2**20:.0f} MiB and the process holds {self.taken / 2**20:.0f} MiB before "
                f"it fits; give at least {(self.taken + WORK) / 2**20:.0f} MiB"
            )

    def room(self) -> int | None:
        """Bytes left for the fit; None without a limit."""
        return None if self.limit is None else self.limit - self.taken

    def chunk(self, bytes_per_sample: int) -> int | None:
        """Samples of a chunk of tokens; None leaves it to the source."""
        room = self.room()
        return None if room is None else max(1, min(8 * 2**20, room // CHUNK_SHARE) // max(1, bytes_per_sample))

    def holds(self, size: int) -> bool:
        """Whether ``size`` bytes of statistics may stay in memory: half of what the work leaves."""
        room = self.room()
        return room is None or 2 * size <= room - WORK


def as_memory(limit: int | str | None) -> Memory:
    """A limit in bytes, or as ``"900MB"``, ``"1.5 GiB"`` (units of 1,024).

    Examples
    --------
    >>> as_memory("100GB").limit == 100 * 2**30
    True
    """
    size = as_bytes("max_memory", limit)
    return Memory(size, 0 if size is None else resident())


def resident() -> int:
    """Bytes that this process holds now (on systems without /proc, the most it ever held)."""
    try:
        fields = Path("/proc/self/statm").read_text().split()
    except FileNotFoundError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    import mmap

    return int(fields[1]) * mmap.PAGESIZE
