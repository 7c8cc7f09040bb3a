"""Grouped-query attention: several query heads share one head of keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..contracts import QueryKey
from . import MIXERS
from .attending import attend, join_heads, split_heads
from .kinds import Mixer
from .options import Grid, MixerConfig, check_divides
from .softmax import Softmax
from .traits import Traits

__all__ = ["GroupedQuery", "GroupedQueryConfig"]


@dataclass(frozen=True)
class GroupedQueryConfig(MixerConfig):
    """Options of `GroupedQuery`.

    Parameters
    ----------
    num_heads : int
        Query heads; divides ``dim``.
    num_kv_heads : int
        Heads of keys and values; divides ``num_heads``.
    qkv_bias : bool
        Biases of queries, keys and values.
    """

    num_heads: int = 8
    num_kv_heads: int = 4
    qkv_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divides(self, "num_heads", "dim")
        check_divides(self, "num_kv_heads", "num_heads")


@MIXERS.register("grouped_query")
class GroupedQuery(Mixer):
    r"""Softmax attention of H query heads over G heads of keys and values.

    .. math:: Y = \mathrm{concat}_h\big(\mathrm{softmax}(Q_h K_{g(h)}^T / \sqrt{d}) V_{g(h)}\big) W_o + b_o,
              \qquad g(h) = \lfloor h G / H \rfloor

    with d = dim / H the width of one attention head, :math:`Q = X W_q + b_q` of width dim, and K, V of width G d.

    Notes
    -----
    Ainslie et al., "GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints" (arXiv
    2305.13245); with G = H it is `Softmax`, with G = 1 multi-query attention. `from_softmax` converts trained weights.

    Cost: ``4 N D^2 (1 + G / H) + 4 N^2 D`` FLOPs. The kernel of torch holds no N x N map where it need not.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("grouped_query", dim=24, num_heads=6, num_kv_heads=3)
    >>> mixer(torch.randn(1, 5, 24)).shape
    torch.Size([1, 5, 24])
    """

    name = "grouped_query"
    traits = Traits(
        2.0, permutation_equivariant=True, causal=True, mask=True, pair_mask=True, prefix=True, query_key=True
    )
    Config = GroupedQueryConfig

    def __init__(self, config: GroupedQueryConfig) -> None:
        super().__init__(config)
        d = config.dim
        kv = d // config.num_heads * config.num_kv_heads
        self.q = nn.Linear(d, d, bias=config.qkv_bias)
        self.k = nn.Linear(d, kv, bias=config.qkv_bias)
        self.v = nn.Linear(d, kv, bias=config.qkv_bias)
        self.proj = nn.Linear(d, d)

    @classmethod
    def from_softmax(cls, mixer: Softmax, num_kv_heads: int, **options: Any) -> Self:
        """Weights of softmax attention with the keys and values of each group of attention heads averaged.

        Parameters
        ----------
        mixer : Softmax
            A trained mixer; it is not changed.
        num_kv_heads : int
            Heads of keys and values that are left; divides its ``num_heads``.
        **options
            More fields of the configuration of this class.

        Returns
        -------
        GroupedQuery
            Of this class, with weights of the same type and place. With ``num_kv_heads=num_heads`` plain grouped
            queries give the same outputs.

        Examples
        --------
        >>> from headwise.mixers import create
        >>> softmax = create("softmax", dim=24, num_heads=6)
        >>> GroupedQuery.from_softmax(softmax, num_kv_heads=2).k.weight.shape
        torch.Size([8, 24])
        """
        old = mixer.config
        config = cls.Config(
            dim=old.dim,
            grid=old.grid,
            num_prefix_tokens=old.num_prefix_tokens,
            num_heads=old.num_heads,
            num_kv_heads=num_kv_heads,
            qkv_bias=old.qkv_bias,
            **options,
        )
        made = cls(config).to(mixer.qkv.weight).train(mixer.training)

        def averaged(heads: Tensor) -> Tensor:
            rows = heads.reshape(num_kv_heads, old.num_heads // num_kv_heads, old.dim // old.num_heads, -1).mean(1)
            return rows.reshape(-1, *heads.shape[1:])

        with torch.no_grad():
            for what in ("weight", "bias") if old.qkv_bias else ("weight",):
                q, k, v = getattr(mixer.qkv, what).chunk(3)
                getattr(made.q, what).copy_(q)
                getattr(made.k, what).copy_(averaged(k))
                getattr(made.v, what).copy_(averaged(v))
            made.proj.load_state_dict(mixer.proj.state_dict())
        return made

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries ``(B, num_heads, N, d)``, keys and values ``(B, num_kv_heads, N, d)``."""
        groups = self.config.num_kv_heads
        return (
            split_heads(self.q(x), self.config.num_heads),
            split_heads(self.k(x), groups),
            split_heads(self.v(x), groups),
        )

    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        return self.proj(join_heads(attend(*self.heads(x), mask, causal)))

    def query_key(self) -> QueryKey:
        heads, groups, d = self.config.num_heads, self.config.num_kv_heads, self.config.dim
        width = d // heads
        return QueryKey(
            0,
            self.name,
            self.q.weight.detach().view(heads, width, d),
            self.k.weight.detach().view(groups, width, d),
            None if self.q.bias is None else self.q.bias.detach().view(heads, width),
            None if self.k.bias is None else self.k.bias.detach().view(groups, width),
            scale=width**-0.5,
            groups=heads // groups,
        )

    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        n, d = num_tokens, self.config.dim
        return 4 * n * d * (d + self.k.out_features) + 4 * n * n * d

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        return 2 * num_tokens * (self.config.dim + self.k.out_features)
