"""From tokens to the statistics that solvers pass over: in memory where they fit, else on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..blocks import BLOCKS
from ..contracts import TokenSource
from ..devices import free_memory
from ..errors import InputError
from ..processes import current
from ..solvers import HeldPasses, Passes, SpilledPasses
from .fitted_part import FittedPart
from .parts import part_tokens
from .reading import Reading
from .targets import LARGEST, check_size

__all__ = ["condense"]


def condense(
    source: TokenSource, rows: np.ndarray, parts: Sequence[FittedPart], reading: Reading | None = None
) -> Passes:
    """Statistics of ``rows`` for every matrix Z, in float64, from one pass over the tokens.

    Parameters
    ----------
    source : TokenSource
    rows : ndarray of int
    parts : sequence of FittedPart
    reading : Reading, optional
        Where its memory does not hold the statistics, they go to a temporary file; no limit by default. Statistics
        (chunk by chunk, those in a file) are on its device.

    Raises
    ------
    InputError
        The statistics do not fit on the device, or on the disk; or tokens that are taken as they are are too large.
    """
    reading = reading or Reading()
    processes = current()
    run = processes.run(len(rows))
    count, each = run.stop - run.start, parts[0].rows
    held: list[dict[str, Tensor]] = []
    spilled: SpilledPasses | None = None
    for place, tokens in reading.chunks(source, rows, "condense tokens"):
        own = replace(tokens, values=tokens.values.double())
        for part in parts:
            if part.conditioner.projection is None:  # conditioned tokens have all one size
                values, _, _ = part_tokens(part.spec, own)
                most = LARGEST ** (1 / BLOCKS.get(part.spec.block).degree)
                check_size("token feature", float(values.abs().max()), most)
        found = [statistics for part in parts for statistics in part.statistics(own)]
        if place.start == run.start:
            numbers = sum(x[0].numel() for x in _distinct(found).values())
            size = 12 * numbers * count  # float64, and a copy in float32
            if not reading.memory.holds(size):
                spilled = SpilledPasses(len(rows), processes, each, reading.device)
            else:
                _check_room(reading.device, size, count)
                room = {key: _room(x, count) for key, x in _distinct(found).items()}
                held = [{name: room[id(x)] for name, x in part.items()} for part in found]
        if spilled is not None:
            spilled.append(found)
            continue
        pairs = ((kept[name], x) for kept, new in zip(held, found, strict=True) for name, x in new.items())
        for kept, new in {id(kept): (kept, x) for kept, x in pairs}.values():
            kept[place.start - run.start : place.stop - run.start] = new
    return HeldPasses(held, len(rows), processes, each) if spilled is None else spilled


def _room(like: Tensor, count: int) -> Tensor:
    """Room for the statistics of ``count`` samples, its axes in memory in the order that a block gave them."""
    order = sorted(range(like.ndim), key=like.stride, reverse=True)
    shape = (count, *like.shape[1:])
    room = like.new_empty([shape[axis] for axis in order])
    return room.permute([order.index(axis) for axis in range(like.ndim)])


def _distinct(found: Sequence[Mapping[str, Tensor]]) -> dict[int, Tensor]:
    """Statistics by identity, without repetition: gates may share the features that they act on."""
    return {id(x): x for part in found for x in part.values()}


def _check_room(device: torch.device, size: int, samples: int) -> None:
    """Refuse statistics that are larger than what an accelerator has free."""
    free = free_memory(device)
    if free is not None and size > free:
        raise InputError(
            f"the statistics of {samples:,} samples take {size / 2**30:.1f} GiB and device {str(device)!r} has "
            f"{free / 2**30:.1f} GiB free; give max_memory (they then lie on disk and pass through the device in "
            "chunks), fewer components or gates, or device 'cpu'"
        )
