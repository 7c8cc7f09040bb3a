"""Softmax self-attention: the yardstick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ..contracts import GateFamily, QueryKey
from ..gates.attention_maps import AttentionMaps
from . import MIXERS
from .attending import attend, join_heads, split_heads
from .kinds import Mixer
from .options import Grid, MixerConfig, check_divides
from .traits import Traits

__all__ = ["Softmax", "SoftmaxConfig"]


@dataclass(frozen=True)
class SoftmaxConfig(MixerConfig):
    """Options of `Softmax`.

    Parameters
    ----------
    num_heads : int
        Attention heads; divides ``dim``.
    qkv_bias : bool
        Biases of queries, keys and values.
    """

    num_heads: int = 8
    qkv_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divides(self, "num_heads", "dim")


@MIXERS.register("softmax")
class Softmax(Mixer):
    r"""Softmax self-attention over all tokens.

    .. math:: Y = \mathrm{concat}_h\big(\mathrm{softmax}(Q_h K_h^T / \sqrt{d}) V_h\big) W_o + b_o

    with ``(Q, K, V) = X W_{qkv} + b`` and d the width of one attention head.

    Notes
    -----
    Vaswani et al., "Attention Is All You Need" (arXiv 1706.03762), equation 1 and section 3.2.2. The layout of the
    weights is that of timm's ``Attention``: rows of ``qkv`` are queries, keys, values, each by attention head.

    Cost: ``8 N D^2 + 4 N^2 D`` FLOPs. The kernel of torch holds no N x N map where it need not.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("softmax", dim=8, num_heads=2)
    >>> mixer(torch.randn(1, 3, 8), causal=True).shape
    torch.Size([1, 3, 8])
    """

    name = "softmax"
    traits = Traits(
        2.0,
        permutation_equivariant=True,
        causal=True,
        mask=True,
        pair_mask=True,
        prefix=True,
        query_key=True,
        gate=True,
    )
    Config: ClassVar[type[MixerConfig]] = SoftmaxConfig

    def __init__(self, config: SoftmaxConfig) -> None:
        super().__init__(config)
        d = config.dim
        self.qkv = nn.Linear(d, 3 * d, bias=config.qkv_bias)
        self.proj = nn.Linear(d, d)

    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        q, k, v = (split_heads(part, self.config.num_heads) for part in self.qkv(x).chunk(3, dim=-1))
        return self.proj(join_heads(attend(q, k, v, mask, causal)))

    def query_key(self) -> QueryKey:
        heads, d = self.config.num_heads, self.config.dim
        weight = self.qkv.weight.detach().view(3, heads, d // heads, d)
        bias = None if self.qkv.bias is None else self.qkv.bias.detach().view(3, heads, d // heads)
        return QueryKey(
            0,
            self.name,
            weight[0],
            weight[1],
            None if bias is None else bias[0],
            None if bias is None else bias[1],
            scale=(d // heads) ** -0.5,
        )

    def as_gate(self) -> GateFamily:
        return AttentionMaps(self.query_key()) if self.traits.gate else super().as_gate()

    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        n, d = num_tokens, self.config.dim
        return 8 * n * d * d + 4 * n * n * d

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        return 4 * num_tokens * self.config.dim
