"""Gates that split queries by one direction and keys by another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from ..checks import check_whole
from ..contracts import Block, GateKind, GateValues, PairGate, TokenShape
from ..errors import InputError
from . import GATES
from .distinct import distinct

__all__ = ["RankOne", "RankOneGates"]


class RankOneGates:
    """``D_g[t, u] = 1{(a_g . x_t >= 0) = (b_g . x_u >= 0)}``: tokens see tokens of their own side."""

    def __init__(self, directions: Tensor) -> None:
        self.directions, self.count = directions, len(directions)

    def _sides(self, tokens: Tensor, index: int) -> Tensor:
        return tokens @ self.directions[index].to(tokens).T >= 0

    def values(self, tokens: Tensor, index: int) -> GateValues:
        query, key = self._sides(tokens, index).long().unbind(-1)
        return PairGate(query, key, torch.eye(2, dtype=tokens.dtype, device=tokens.device))

    def tensors(self) -> dict[str, Tensor]:
        return {"directions": self.directions}


@GATES.register("rank_one")
class RankOne:
    """Gates of attention at the cost of linear attention: the sign of a rank-one form ``(a . x_t) (b . x_u)``.

    They stand for gated ReLU with gates ``H = a b^T``, and show which tokens are grouped. About half of the mask is
    open. A larger number with the same seed contains the smaller one.

    Examples
    --------
    >>> import torch
    >>> from headwise.blocks.attention import Attention
    >>> from headwise.contracts import TokenShape
    >>> shape, tokens = TokenShape(3, 4), torch.randn(8, 3, 4, dtype=torch.float64)
    >>> gates = RankOne().fit(Attention(shape, gated=True), shape, [tokens], count=2, seed=0)
    >>> gates.values(tokens, 0).mask().shape
    torch.Size([8, 3, 3])
    """

    name = "rank_one"
    kinds: tuple[GateKind, ...] = ("pair",)
    raw = False

    def fit(self, block: Block, shape: TokenShape, tokens: Iterable[Tensor], count: int, seed: int) -> RankOneGates:
        check_whole("num_gates", count, least=1)
        rng = np.random.default_rng(seed)
        directions = torch.from_numpy(np.stack([rng.standard_normal((2, shape.width)) for _ in range(count)]))
        gates = RankOneGates(directions)
        keep = distinct(gates._sides, tokens, count)
        if not keep:
            raise InputError(f"none of {count} rank_one gates splits any training token; try another seed")
        return RankOneGates(directions[keep])

    def restore(self, block: Block, shape: TokenShape, tensors: Mapping[str, Tensor]) -> RankOneGates:
        return RankOneGates(tensors["directions"])
