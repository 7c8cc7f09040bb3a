"""Local attention: tokens see their neighbours on the grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ..contracts import Block, GateKind, GateValues, PairGate, TokenShape
from ..errors import InputError
from . import GATES

__all__ = ["Window", "WindowGates"]


class WindowGates:
    """``D[t, u] = 1`` where u lies within ``radius`` rows and columns of t, scaled so that rows sum to about s/2."""

    count = 1

    def __init__(self, shape: TokenShape, radius: int) -> None:
        rows, columns = shape.grid or (1, shape.num_tokens)
        if rows * columns != shape.num_tokens:
            raise InputError(
                f"window gates need one token for each of the {rows} x {columns} places of the grid, got "
                f"{shape.num_tokens} tokens; let the block act on the patch tokens"
            )
        self.radius = radius
        place = torch.arange(shape.num_tokens, device="cpu")
        row, column = place // columns, place % columns
        near = ((row[:, None] - row).abs() <= radius) & ((column[:, None] - column).abs() <= radius)
        open_keys = near.double().sum(1).mean()
        self.table = near.double() * (shape.num_tokens / 2 / open_keys)
        self._place = place

    def values(self, tokens: Tensor, index: int) -> GateValues:
        labels = self._place.to(tokens.device).expand(tokens.shape[0], -1)
        return PairGate(labels, labels, self.table.to(tokens))

    def tensors(self) -> dict[str, Tensor]:
        return {"radius": torch.tensor(self.radius, device="cpu")}


@GATES.register("window")
class Window:
    """One gate of local attention; ``count`` is the radius in tokens (1: 3 x 3 places of a grid).

    Examples
    --------
    >>> import torch
    >>> from headwise.blocks.attention import Attention
    >>> from headwise.contracts import TokenShape
    >>> shape = TokenShape(9, 4, (3, 3))
    >>> gates = Window().fit(Attention(shape, gated=True), shape, [], count=1, seed=0)
    >>> int((gates.values(torch.randn(1, 9, 4), 0).mask() > 0).sum())
    49
    """

    name = "window"
    kinds: tuple[GateKind, ...] = ("pair",)
    raw = False

    def fit(self, block: Block, shape: TokenShape, tokens: Iterable[Tensor], count: int, seed: int) -> WindowGates:
        if count < 0:
            raise InputError(f"the radius of a window must not be negative, got {count}")
        return WindowGates(shape, count)

    def restore(self, block: Block, shape: TokenShape, tensors: Mapping[str, Tensor]) -> WindowGates:
        return WindowGates(shape, int(tensors["radius"]))
