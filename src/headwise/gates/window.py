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
    """``D[t, u] = 1`` where u lies within ``radius`` rows and columns of t, scaled so that rows sum to about s/2.

    ``scale`` is the factor where some tokens are hidden: s is then the mean number of those that are not.
    """

    count = 1

    def __init__(self, shape: TokenShape, radius: int, scale: Tensor | None = None) -> None:
        rows, columns = shape.grid or (1, shape.num_tokens)
        if rows * columns != shape.num_tokens:
            raise InputError(
                f"window gates need one token for each of the {rows} x {columns} places of the grid, got "
                f"{shape.num_tokens} tokens; let the block act on the patch tokens"
            )
        self.radius, self.scale = radius, scale
        place = torch.arange(shape.num_tokens, device="cpu")
        row, column = place // columns, place % columns
        near = ((row[:, None] - row).abs() <= radius) & ((column[:, None] - column).abs() <= radius)
        self.near = near.double()
        self._plain = shape.num_tokens / 2 / self.near.sum(1).mean()
        self._place = place

    def values(self, tokens: Tensor, index: int) -> GateValues:
        labels = self._place.to(tokens.device).expand(tokens.shape[0], -1)
        table = self.near * (self._plain if self.scale is None else self.scale)
        return PairGate(labels, labels, table.to(tokens))

    def tensors(self) -> dict[str, Tensor]:
        found = {"radius": torch.tensor(self.radius, device="cpu")}
        return found if self.scale is None else {**found, "scale": self.scale}


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
        plain = WindowGates(shape, count)
        return WindowGates(shape, count, _ragged_scale(plain.near, tokens))

    def restore(self, block: Block, shape: TokenShape, tensors: Mapping[str, Tensor]) -> WindowGates:
        return WindowGates(shape, int(tensors["radius"]), tensors.get("scale"))


def _ragged_scale(near: Tensor, tokens: Iterable[Tensor]) -> Tensor | None:
    """Factor by which rows of tokens that are not hidden sum to half of them; None where none is hidden."""
    samples, shown, opened, hidden = 0, 0.0, 0.0, False
    for chunk in tokens:
        seen = chunk.abs().sum(-1).cpu() > 0  # hidden tokens are zero
        hidden |= not bool(seen.all())
        real = seen.double()
        samples += len(real)
        shown += float(real.sum())
        opened += float(((real @ near) * real).sum())
    if not hidden or not opened:
        return None
    return torch.tensor(shown / samples / 2 * shown / opened, dtype=torch.float64, device="cpu")
