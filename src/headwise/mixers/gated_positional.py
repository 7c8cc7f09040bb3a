"""Gated positional self-attention of ConViT: attention that begins as a convolution and can leave it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..checks import check_number
from ..contracts import QueryKey
from . import MIXERS
from .attending import allowed, attend, join_heads, split_heads
from .kinds import Mixer
from .options import Grid, MixerConfig, check_divides
from .traits import Traits

__all__ = ["GatedPositional", "GatedPositionalConfig"]


@dataclass(frozen=True)
class GatedPositionalConfig(MixerConfig):
    """Options of `GatedPositional`.

    Parameters
    ----------
    num_heads : int
        Attention heads; divides ``dim``.
    qkv_bias : bool
        Biases of queries, keys and values.
    local_init : bool
        Begin as a convolution: values are the tokens, and each attention head looks at its own offset.
    locality_strength : float
        How narrowly it looks there, with ``local_init``.
    """

    num_heads: int = 9
    qkv_bias: bool = False
    local_init: bool = True
    locality_strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divides(self, "num_heads", "dim")
        check_number("locality_strength", self.locality_strength)


@MIXERS.register("gated_positional")
class GatedPositional(Mixer):
    r"""Gated positional self-attention (GPSA): a content map and a positional map, mixed by one gate a head.

    .. math::
        A^c_h &= \mathrm{softmax}(Q_h K_h^T / \sqrt{d}), \qquad
        A^p_{h,ij} = \mathrm{softmax}_j(w_h \cdot (\Delta x, \Delta y, \Delta x^2 + \Delta y^2) + b_h) \\
        Y &= \mathrm{concat}_h\big(((1 - \sigma(\lambda_h)) A^c_h + \sigma(\lambda_h) A^p_h) V_h\big) W_o + b_o

    with :math:`\Delta` the column and row of token j less those of token i, and d the width of one attention head.

    Local init: with :math:`\kappa = \lfloor\sqrt H\rfloor`, head :math:`h_1 + \kappa h_2` has
    :math:`w = \alpha (2 (h_2 - c), 2 (h_1 - c), -1)` with c the centre of :math:`0 \ldots \kappa - 1` and alpha the
    locality strength: a bump around the column offset :math:`h_2 - c` and the row offset :math:`h_1 - c`. Heads from
    :math:`\kappa^2` on stay random. Gates begin at :math:`\lambda = 1`.

    Notes
    -----
    d'Ascoli et al., "ConViT: Improving Vision Transformers with Soft Convolutional Inductive Biases" (ICML 2021, arXiv
    2103.10697). Names and layout of the weights are those of timm's ``GPSA``. The paper has square grids; others
    follow the same formula. The code divides each row of the mixed map by its sum, which is 1; here it is left out.
    With a mask or ``causal`` (row by row over the grid), each of the two maps is taken over the tokens that may be
    looked at. A class token has no place in these layers, as in the paper: it joins after them.

    The positional map is the product of a map of rows and a map of columns, and is never written out.

    Cost: ``8 N D^2 + 4 N^2 D + 2 N (R + C) D`` FLOPs on R rows and C columns. No N x N map is held, except with a
    mask or ``causal``, where there are H of them.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("gated_positional", dim=8, num_heads=4)
    >>> mixer(torch.randn(1, 6, 8), grid=(2, 3)).shape
    torch.Size([1, 6, 8])
    """

    name = "gated_positional"
    traits = Traits(2.0, grid="any", causal=True, mask=True, pair_mask=True, query_key=True)
    Config = GatedPositionalConfig

    def __init__(self, config: GatedPositionalConfig) -> None:
        super().__init__(config)
        d = config.dim
        self.qk = nn.Linear(d, 2 * d, bias=config.qkv_bias)
        self.v = nn.Linear(d, d, bias=config.qkv_bias)
        self.proj = nn.Linear(d, d)
        self.pos_proj = nn.Linear(3, config.num_heads)
        self.gating_param = nn.Parameter(torch.ones(config.num_heads))
        for layer in (self.qk, self.v, self.proj, self.pos_proj):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        if config.local_init:
            self.init_local()

    @torch.no_grad()
    def init_local(self) -> None:
        """Make the layer look like a convolution: values are the tokens, head by head at its own offset."""
        nn.init.eye_(self.v.weight)
        kernel = math.isqrt(self.config.num_heads)
        for head in range(kernel * kernel):
            column, row = (place - (kernel - 1) / 2 for place in divmod(head, kernel))
            self.pos_proj.weight[head] = self.config.locality_strength * torch.tensor([2 * column, 2 * row, -1.0])

    def attention(
        self, x: Tensor, *, mask: Tensor | None = None, causal: bool = False, grid: Grid | None = None
    ) -> Tensor:
        """Attention maps ``(B, H, N, N)``, rows of which sum to one; arguments are those of the layer.

        A row is zero where a token may look at none.
        """
        self._check_mask(x, mask)
        grid = self._grid(x.shape[1], grid)
        if mask is not None and mask.ndim == 2:
            x = torch.where(mask[..., None], x, torch.zeros_like(x))
        return self._maps(x, allowed(mask, causal, x), grid)

    def non_locality(self, x: Tensor, *, grid: Grid | None = None) -> Tensor:
        r"""How far each attention head looks, in steps of the grid, ``(H,)``.

        .. math:: D_h = \tfrac{1}{N} \textstyle\sum_{ij} \|\Delta_{ij}\| \, \mathrm{mean}_b A^h_{ij}
        """
        maps = self.attention(x, grid=grid).mean(0)
        grid = self._grid(x.shape[1], grid)
        assert grid is not None  # one was given, or is the own
        rows, columns = (_offsets(n, maps) for n in grid)
        distance = (rows[:, None, :, None].square() + columns[None, :, None, :].square()).sqrt()
        return (maps * distance.reshape(maps.shape[1:])).sum(-1).mean(-1)

    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        v = split_heads(self.v(x), self.config.num_heads)
        may = allowed(mask, causal, x)
        if may is not None:
            return self.proj(join_heads(self._maps(x, may, grid).to(v.dtype) @ v))
        rows, columns = (scores.softmax(-1).to(v.dtype) for scores in self._scores(grid))
        by_place = torch.einsum("hij,bhrjd->bhrid", columns, v.unflatten(2, grid))
        by_place = torch.einsum("hij,bhjcd->bhicd", rows, by_place).flatten(2, 3)
        gate = self._gate().to(v.dtype)
        return self.proj(join_heads(torch.lerp(attend(*self._queries_and_keys(x), v), by_place, gate)))

    def query_key(self) -> QueryKey:
        """The logits of the content map, whatever the gates make of it."""
        heads, d = self.config.num_heads, self.config.dim
        weight = self.qk.weight.detach().view(2, heads, d // heads, d)
        bias = (None, None) if self.qk.bias is None else self.qk.bias.detach().view(2, heads, d // heads)
        return QueryKey(
            0,
            self.name,
            weight[0],
            weight[1],
            bias[0],
            bias[1],
            scale=(d // heads) ** -0.5,
            leaves_out="a positional map, and gates between the two maps",
        )

    def _queries_and_keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        q, k = (split_heads(part, self.config.num_heads) for part in self.qk(x).chunk(2, dim=-1))
        return q, k

    def _gate(self) -> Tensor:
        return self.gating_param.sigmoid()[:, None, None]

    def _scores(self, grid: Grid | None) -> tuple[Tensor, Tensor]:
        """What the positional logits of two places are made of: ``(H, R, R)`` of rows and ``(H, C, C)`` of columns."""
        assert grid is not None  # forward has checked
        weight, bias = self.pos_proj.weight, self.pos_proj.bias
        weight = weight.to(torch.promote_types(weight.dtype, torch.float32))  # squares of offsets
        x, y, square = weight[:, :, None, None].unbind(1)
        rows, columns = (_offsets(n, weight) for n in grid)
        return y * rows + square * rows**2, x * columns + square * columns**2 + bias[:, None, None]

    def _maps(self, x: Tensor, may: Tensor | None, grid: Grid | None) -> Tensor:
        q, k = self._queries_and_keys(x)
        rows, columns = self._scores(grid)
        places = (rows[:, :, None, :, None] + columns[:, None, :, None, :]).flatten(3).flatten(1, 2)
        content = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
        some = torch.ones((), dtype=torch.bool, device=x.device) if may is None else may.any(-1, keepdim=True)
        if may is not None:
            content, places = (scores.masked_fill(some & ~may, -torch.inf) for scores in (content, places[None]))
        content = content.softmax(-1)
        return torch.lerp(content, places.softmax(-1).to(content.dtype), self._gate().to(content.dtype)) * some

    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        assert grid is not None  # `cost` has given one
        n, d = num_tokens, self.config.dim
        return 8 * n * d * d + 4 * n * n * d + 2 * n * sum(grid) * d

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        return 5 * num_tokens * self.config.dim


def _offsets(n: int, like: Tensor) -> Tensor:
    """Place of token j less that of token i along one side of the grid, ``(n, n)``."""
    at = torch.arange(n, dtype=like.dtype, device=like.device)
    return at - at[:, None]
