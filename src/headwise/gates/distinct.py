"""Gates that never differ on the training tokens are one gate."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

__all__ = ["distinct"]


def distinct(patterns: Callable[[Tensor, int], Tensor], tokens: Iterable[Tensor], count: int) -> list[int]:
    """Positions of the first of each set of equal gates; gates that are closed everywhere are left out.

    Parameters
    ----------
    patterns : callable
        Boolean pattern of gate ``index`` on a chunk of tokens.
    tokens : iterable of Tensor
        Chunks of conditioned training tokens.
    count : int
        Number of gates.
    """
    hashes = [hashlib.sha256() for _ in range(count)]
    opened = [False] * count
    for chunk in tokens:
        for index in range(count):
            pattern = patterns(chunk, index).to(torch.uint8)
            opened[index] |= bool(pattern.any())
            hashes[index].update(pattern.numpy(force=True).tobytes())
    first: dict[str, int] = {}
    for index in range(count):
        if opened[index]:
            first.setdefault(hashes[index].hexdigest(), index)
    return sorted(first.values())
