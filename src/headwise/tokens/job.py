"""Batches of one extraction: room and time, what each shard holds."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..contracts import Progress
from ..errors import InputError
from .feeds import Feed, read_samples
from .manifest import DTYPES, Manifest
from .rows import first_bad
from .writer import StoreWriter

__all__ = ["Batch", "Job"]

_SPARE = 1.2
"""Free disk space asked for, as a multiple of the estimate."""

Batch = tuple[Tensor, Tensor | None, list[tuple[int, str]]]
"""Tokens, their mask if any, and inputs that were left out, with reasons."""


class Job:
    """Batches of one extraction; the batch that was timed is not computed twice."""

    def __init__(
        self, feed: Feed, manifest: Manifest, batch_size: int, device: torch.device, strict: bool, path: Path
    ) -> None:
        self.feed, self.manifest = feed, manifest
        self.batch_size, self.device, self.strict, self.path = batch_size, device, strict, path
        self._timed: tuple[range, Batch] | None = None
        if isinstance(feed.backbone, torch.nn.Module):
            feed.backbone.to(device)

    def start(self, pending: Sequence[int], writer: StoreWriter, announce: Callable[[str], object] | None) -> None:
        """Say how much room and time the rest takes; refuse where the disk is too small."""
        rest = sum(len(writer.inputs(k)) for k in pending)
        itemsize = DTYPES[self.manifest.dtype].itemsize
        size = rest * int(np.prod(self.manifest.shape[1:])) * itemsize
        views = self.manifest.shape[1]
        what = f"{rest} {self.feed.many}" + (f" x {views} views" if views > 1 else "")
        free = shutil.disk_usage(self.path).free
        if free < _SPARE * size:
            raise InputError(
                f"the tokens of {what} take {_gib(size)} and the disk of {self.path} has {_gib(free)} free "
                f"({_SPARE} times the size is needed); make room, or take a smaller dtype, fewer "
                f"{'tokens of a text (max_tokens)' if self.feed.masked else 'views'} or fewer {self.feed.many}"
            )
        first = writer.inputs(pending[0])
        first = first[: self.batch_size]
        before = time.perf_counter()
        self._timed = (first, self._batch(first))
        minutes = (time.perf_counter() - before) / len(first) * rest / 60
        if announce is not None:
            total = len(self.feed.samples)
            done = f" ({total - rest} are done)" if rest < total else ""
            took = f"about {minutes:.0f} minutes" if minutes >= 1.5 else "about a minute or less"
            announce(f"tokens of {what}{done}: {_gib(size)} in {self.path}, {took}{self.feed.sentence()}")

    def shard(self, inputs: range, progress: Progress | None) -> Batch:
        """Tokens ``(m, views, s, d)`` of inputs that can be used, their mask if any, and the others with reasons."""
        parts: list[Batch] = []
        for start in range(0, len(inputs), self.batch_size):
            batch = inputs[start : start + self.batch_size]
            if self._timed is not None and self._timed[0] == batch:
                parts.append(self._timed[1])
                self._timed = None
            else:
                parts.append(self._batch(batch))
            if progress is not None:
                progress("extract tokens", batch.stop, len(self.feed.samples))
        tokens, masks, skipped = zip(*parts, strict=True)
        found = torch.cat(masks) if self.feed.masked else None
        return torch.cat(tokens), found, [each for some in skipped for each in some]

    def _batch(self, inputs: range) -> Batch:
        read, skipped = read_samples(self.feed, inputs, self.strict)
        stored, shape = DTYPES[self.manifest.dtype], self.manifest.shape[1:]
        if not read:
            empty = torch.empty((0, *shape), dtype=stored)
            return empty, torch.empty((0, *shape[:2]), dtype=torch.bool) if self.feed.masked else None, skipped
        tokens, mask = self.feed.tokens(read, self.manifest.layer or 0, self.manifest.at, self.device)
        result = tokens.to(stored)
        bad, count = first_bad(result, mask)
        if count:
            position = read[bad][0]
            large = first_bad(tokens[bad : bad + 1], None if mask is None else mask[bad : bad + 1])[1] == 0
            cause = f"are too large for {self.manifest.dtype}; use float32" if large else "hold NaN or infinity"
            raise InputError(
                f"tokens of {self.feed.one} {self.feed.samples.ids[position]!r} (number {position}) {cause} "
                f"({count} such in this batch of {len(read)})"
            )
        return result, mask, skipped


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 / 10 else f"{size / 2**20:.1f} MiB"
