"""What mechanisms on a grid share: tokens as a map and back, and maps that continue on their other side."""

from __future__ import annotations

import torch
from torch import Tensor

from .options import Grid

__all__ = ["as_map", "as_tokens", "on_map", "wrapped"]


def as_map(x: Tensor, grid: Grid) -> Tensor:
    """Tokens ``(B, H * W, D)``, row after row, as a map ``(B, D, H, W)``.

    Channel after channel in memory: depth-wise convolutions take a half longer over a view of the tokens.
    """
    b, _, d = x.shape
    return x.transpose(1, 2).contiguous().view(b, d, *grid)


def as_tokens(x: Tensor) -> Tensor:
    """A map ``(B, D, H, W)`` as tokens ``(B, H * W, D)``."""
    return x.flatten(2).transpose(1, 2)


def on_map(mask: Tensor | None, grid: Grid) -> Tensor | None:
    """A mask of tokens ``(B, H * W)`` as one for maps, ``(B, 1, H, W)``."""
    return None if mask is None else mask.unflatten(1, grid)[:, None]


def wrapped(x: Tensor, before: int, after: int) -> Tensor:
    """A map with ``before`` more rows and columns in front and ``after`` behind, read on around the torus.

    Padding in torch's circular mode ends after one turn, and a kernel may be larger than the map.
    """
    for axis in (2, 3):
        size = x.shape[axis]
        x = x.index_select(axis, torch.arange(-before, size + after, device=x.device) % size)
    return x
