"""Two-layer perceptron on every token, pooled."""

from __future__ import annotations

from ..contracts import GateKind
from . import BLOCKS
from .linear import Linear

__all__ = ["Mlp"]


@BLOCKS.register("mlp")
class Mlp(Linear):
    """``f = p^T (D o (X u)) v^T``, summed over neurons (u, v) and gates D.

    Without gates and with a pooled output it is the linear head with a nuclear norm.

    Notes
    -----
    Sahiner et al., arXiv 2205.08078 (MLP head); Mishkin, Sahiner and Pilanci, arXiv 2202.01331 (gated ReLU).

    Examples
    --------
    >>> import torch
    >>> from headwise.contracts import TokenShape
    >>> block, tokens = Mlp(TokenShape(3, 4), gated=True), torch.randn(2, 3, 4)
    >>> gate = (block.scores(tokens, torch.randn(4)) >= 0).float()
    >>> block.statistics(tokens, torch.full((2, 3), 1 / 3), gate)["features"].shape
    torch.Size([2, 4])
    """

    name = "mlp"
    gates: tuple[GateKind, ...] = ("token",)
