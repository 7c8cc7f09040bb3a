"""How a fit reads tokens: its process's share, ahead of their use, within its memory, onto its device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ..ahead import ahead
from ..contracts import Progress, Tokens, TokenSource
from ..processes import current
from .memory import Memory

__all__ = ["Reading"]


@dataclass(frozen=True)
class Reading:
    """Within which memory tokens are read, where they go, and who is told how far it is.

    Parameters
    ----------
    memory : Memory
        No limit by default.
    progress : callable, optional
        Told ``(step, samples read, samples)``.
    device : torch.device
        Where tokens go, and with them all that is computed from them.
    """

    memory: Memory = field(default_factory=Memory)
    progress: Progress | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def chunks(self, source: TokenSource, rows: np.ndarray, step: str) -> Iterator[tuple[slice, Tokens]]:
        """Chunks of this process's share of ``rows``, on the device, with their places in ``rows``.

        Raises
        ------
        InputError
            There are fewer rows than processes.
        """
        processes = current()
        processes.check_share(len(rows))
        run = processes.run(len(rows))
        chunks = source.chunks(rows[run], self.memory.chunk(4 * source.num_tokens * source.width))
        start = run.start
        for chunk, tokens in ahead(chunks):
            place = slice(start, start + len(chunk))
            mask = None if tokens.mask is None else tokens.mask.to(self.device)
            yield place, replace(tokens, values=tokens.values.to(self.device), mask=mask)
            start = place.stop
            if self.progress:
                self.progress(step, start - run.start, run.stop - run.start)
