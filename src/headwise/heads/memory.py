"""How much memory a fit may take, and how it is kept."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

__all__ = ["Memory", "as_memory"]

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
CHUNK_SHARE = 32  # a chunk of tokens, its float64 copy and what conditioning makes of it: about ten chunks at once
SMALLEST_ROOM = 128 * 2**20


@dataclass(frozen=True)
class Memory:
    """Memory of this process during a fit.

    Parameters
    ----------
    limit : int or None
        Bytes that the process may hold in all, with what Python and torch take; None for no limit.
    """

    limit: int | None = None

    def room(self) -> int | None:
        """Bytes left now; None without a limit.

        Raises
        ------
        InputError
            What is left is too little for any fit.
        """
        if self.limit is None:
            return None
        taken = resident()
        if self.limit - taken < SMALLEST_ROOM:
            raise InputError(
                f"max_memory is {self.limit / 2**20:.0f} MiB and the process holds {taken / 2**20:.0f} MiB before it "
                f"fits; give at least {(taken + SMALLEST_ROOM) / 2**20:.0f} MiB"
            )
        return self.limit - taken

    def chunk(self, bytes_per_sample: int) -> int | None:
        """Samples of a chunk of tokens; None leaves it to the source."""
        room = self.room()
        return None if room is None else max(1, min(8 * 2**20, room // CHUNK_SHARE) // max(1, bytes_per_sample))

    def holds(self, size: int) -> bool:
        """Whether ``size`` bytes of statistics may stay in memory: half of what is left, the rest is for the work."""
        room = self.room()
        return room is None or 2 * size <= room


def as_memory(limit: int | str | None) -> Memory:
    """A limit in bytes, or as ``"900MB"``, ``"1.5 GiB"`` (units of 1,024).

    Examples
    --------
    >>> as_memory("1GB").limit
    1073741824
    """
    if isinstance(limit, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?\s*", limit.upper())
        if found is None:
            raise InputError(f"max_memory is {limit!r}; give bytes, or a size such as 900MB or 1.5GB")
        limit = int(float(found[1]) * UNITS[found[2]])
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit <= 0):
        raise InputError(f"max_memory must be a positive number of bytes, a size such as '1GB', or None, got {limit!r}")
    return Memory(limit)


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
