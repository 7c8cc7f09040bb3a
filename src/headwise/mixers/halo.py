"""Blocked local attention with halos: the queries of a block share one window of keys."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_whole
from ..contracts import GateFamily, TokenShape, TokenTable
from ..errors import InputError
from ..gates.mixer import FrozenMixer
from . import MIXERS
from .attending import near_on_grid
from .kinds import Mixer
from .options import Grid, MixerConfig, check_divides
from .traits import Traits

__all__ = ["Halo", "HaloConfig"]


@dataclass(frozen=True)
class HaloConfig(MixerConfig):
    """Options of `Halo`.

    Parameters
    ----------
    num_heads : int
        Attention heads; divides ``dim``.
    dim_head : int, optional
        Width of the queries and keys of one attention head; ``dim / num_heads`` by default.
    block_size : int
        Rows and columns of a block of queries.
    halo_size : int
        Rows and columns around a block that its queries see besides.
    stride : {1, 2}
        2 gives every second row and column: ``ceil(H / 2) * ceil(W / 2)`` tokens come out.
    avg_down : bool
        With stride 2: average 2 x 2 outputs instead of asking at every second place only. An odd ``block_size`` needs
        it. Whether the paper strides the one way or the other is not known.
    qkv_bias : bool
        Biases of queries, keys and values.
    scale_pos_embed : bool
        Divide the relative logits by the root of ``dim_head`` too.
    mask_padding : bool
        Whether places outside the grid are hidden. Where they are not, as the paper has it by the account of others,
        and as timm does, they are keys and values of zero: their logit is the relative term, and they take their share
        of the softmax.
    """

    num_heads: int = 8
    dim_head: int | None = None
    block_size: int = 8
    halo_size: int = 3
    stride: int = 1
    avg_down: bool = False
    qkv_bias: bool = False
    scale_pos_embed: bool = False
    mask_padding: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divides(self, "num_heads", "dim")
        check_whole("dim_head", self.dim_head, least=1, or_none=True)
        check_whole("block_size", self.block_size, least=1)
        check_whole("halo_size", self.halo_size)
        if self.stride not in (1, 2):
            raise InputError(f"stride must be 1 or 2, got {self.stride}")
        if self.avg_down and self.stride == 1:
            raise InputError("avg_down=True averages the outputs of stride=2, got stride=1; give stride=2")
        if self.stride == 2 and self.block_size % 2 and not self.avg_down:
            raise InputError(
                f"stride=2 halves the blocks: block_size must be even, got {self.block_size}; avg_down=True takes any"
            )


@MIXERS.register("halo")
class Halo(Mixer):
    r"""Blocked local attention with halos and relative logits.

    The grid is cut into blocks of b x b queries, and the queries of a block look at its own tokens and a ring of h
    around them, a window of w x w with w = b + 2h. For the query at (i, j) of its block and the key at (k, l) of the
    window, both counted from their own corner,

    .. math::

        s = q \cdot k / \sqrt{d} + q \cdot R^{rows}_{k - i + w - 1} + q \cdot R^{columns}_{l - j + w - 1},
        \qquad y = \sum \mathrm{softmax}(s)\, v

    with d the width of the queries of an attention head. The tables R have 2w - 1 rows, of which 2h get no gradient;
    attention heads and blocks share them. There is no projection after.

    Notes
    -----
    Vaswani et al., "Scaling Local Self-Attention for Parameter Efficient Visual Backbones" (arXiv 2103.12731). There is
    no official code; the layout is that of timm's ``HaloAttn``: rows of ``kv`` are, for each attention head, its keys
    and then its values. timm divides by the root of d in the content term alone, which is the default here;
    ``scale_pos_embed`` is its switch for the other reading.

    Unlike timm, any grid is taken: the last blocks may stick out of it, and what lies outside is treated like the halo
    outside (``mask_padding``). Tokens that a mask leaves out are hidden, not zero.

    With ``stride=2`` the queries are those of even rows and columns, and i and j count them, so that the distances of
    the tables are in steps of the query on one side and of the key on the other (as in timm, whose author calls it a
    guess); with ``avg_down`` real outputs of 2 x 2 places are averaged.

    torch's flex attention is not used: the places outside that take their share of the softmax are no tokens, and where
    it is not compiled it writes whole N x N maps.

    Cost: ``2 N (3 D^2 + 2 w^2 D + 2 w D)`` FLOPs for ``dim_head = D / heads``, stride 1 and a grid that blocks divide;
    on others, blocks that stick out of it cost as much as full ones. Windows of keys and one map
    ``N x w^2`` are held, and no N x N map.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("halo", dim=8, num_heads=2, block_size=4, halo_size=1)
    >>> mixer(torch.randn(1, 48, 8), grid=(6, 8)).shape
    torch.Size([1, 48, 8])
    >>> strided = create("halo", dim=8, num_heads=2, block_size=4, halo_size=1, stride=2)
    >>> strided(torch.randn(1, 48, 8), grid=(6, 8)).shape, strided.out_grid((6, 8))
    (torch.Size([1, 12, 8]), (3, 4))
    """

    name = "halo"
    traits = Traits(1.0, grid="any", mask=True, gate=True)
    Config = HaloConfig
    distance: Tensor

    def __init__(self, config: HaloConfig) -> None:
        super().__init__(config)
        dim, heads = config.dim, config.num_heads
        self.traits = replace(self.traits, gate=config.stride == 1)
        self.dim_head = config.dim_head or dim // heads
        self.window = config.block_size + 2 * config.halo_size
        self.step = config.stride if config.stride == 2 and not config.avg_down else 1
        self.q = nn.Linear(dim, heads * self.dim_head, bias=config.qkv_bias)
        self.kv = nn.Linear(dim, heads * self.dim_head + dim, bias=config.qkv_bias)
        self.height_rel = nn.Parameter(torch.empty(2 * self.window - 1, self.dim_head))
        self.width_rel = nn.Parameter(torch.empty(2 * self.window - 1, self.dim_head))
        for table in (self.height_rel, self.width_rel):
            nn.init.trunc_normal_(table, std=self.dim_head**-0.5)
        for linear in (self.q, self.kv):
            nn.init.trunc_normal_(linear.weight, std=dim**-0.5)
        # the row of a table for (query of the block, place of the window)
        queries = torch.arange(config.block_size // self.step)
        distance = torch.arange(self.window) - queries[:, None] + self.window - 1
        self.register_buffer("distance", distance, persistent=False)

    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        config = self.config
        rows, columns = grid  # type: ignore[misc]
        b = config.block_size
        down, across = math.ceil(rows / b), math.ceil(columns / b)
        to_blocks = (down * b - rows, across * b - columns)
        heads, side = config.num_heads, b // self.step

        maps = x.unflatten(1, (rows, columns))
        q = self.q(maps[:, :: self.step, :: self.step])
        q = F.pad(q, (0, 0, 0, across * side - q.shape[2], 0, down * side - q.shape[1]))
        q = q.unflatten(1, (down, side)).unflatten(3, (across, side)).unflatten(-1, (heads, -1))
        q = q.permute(0, 1, 3, 5, 2, 4, 6)  # (B, down, across, heads, side, side, d)
        kv = self.kv(maps).unflatten(-1, (heads, -1)).split([self.dim_head, config.dim // heads], -1)
        k, v = (self._windows(part, to_blocks) for part in kv)  # (B, down, across, heads, window^2, d)

        scale = self.dim_head**-0.5
        logits = (q * scale).flatten(4, 5) @ k.transpose(-1, -2)
        # The relative logits are one number for the row and one for the column of a key: added where the product
        # stands, so that no map of them is made.
        relative = q * scale if config.scale_pos_embed else q
        by_row = torch.einsum("...ijc,iwc->...ijw", relative, self.height_rel[self.distance])
        by_column = torch.einsum("...ijc,jwc->...ijw", relative, self.width_rel[self.distance])
        places = logits.unflatten(4, (side, side)).unflatten(6, (self.window, self.window))
        places.add_(by_row[..., None]).add_(by_column[..., None, :])

        seen = self._seen(mask, (rows, columns), to_blocks, x.device)
        if seen is not None:
            some = seen.any(-1, keepdim=True)
            logits = logits.masked_fill(~(seen | ~some), -torch.inf)
        out = logits.softmax(-1).to(v.dtype) @ v
        if seen is not None:
            out = torch.where(some, out, torch.zeros_like(out))
        out = out.unflatten(4, (side, side)).permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4).flatten(1, 2)
        out = out[:, : math.ceil(rows / self.step), : math.ceil(columns / self.step)]
        if config.avg_down:
            out = _averages(out, mask, (rows, columns))
        return out.flatten(1, 2)

    def _windows(self, maps: Tensor, to_blocks: tuple[int, int]) -> Tensor:
        """Windows ``(B, down, across, heads, window^2, d)`` of maps ``(B, H, W, heads, d)``; zero outside."""
        h, b = self.config.halo_size, self.config.block_size
        maps = F.pad(maps, (0, 0, 0, 0, h, h + to_blocks[1], h, h + to_blocks[0]))
        return maps.unfold(1, self.window, b).unfold(2, self.window, b).permute(0, 1, 2, 3, 5, 6, 4).flatten(4, 5)

    def _seen(self, mask: Tensor | None, grid: Grid, to_blocks: tuple[int, int], device: torch.device) -> Tensor | None:
        """Which places of the windows a query may look at, ``(B or 1, down, across, 1, 1, window^2)``."""
        if mask is None and not self.config.mask_padding:
            return None
        real = torch.ones(1, *grid, dtype=torch.bool, device=device) if mask is None else mask.unflatten(1, grid)
        real = real[..., None, None]
        if self.config.mask_padding:
            return self._windows(real, to_blocks).transpose(-1, -2)
        return ~self._windows(~real, to_blocks).transpose(-1, -2)  # outside is seen

    def pair_mask(self, x: Tensor, grid: Grid | None = None) -> Tensor:
        """Which token sees which, ``(B, N, N)``: the window mask as a gate of a convex head. It does not look at x."""
        grid = self._grid(x.shape[1], grid)
        if self.config.stride != 1:
            raise InputError(f"pair_mask is for as many queries as keys, got stride={self.config.stride}")
        b, h = self.config.block_size, self.config.halo_size
        near = []
        for length in grid:  # type: ignore[union-attr]
            place = torch.arange(length, device=x.device)
            corner = (place // b * b)[:, None]
            near.append((place >= corner - h) & (place < corner + b + h))
        return near_on_grid(near[0], near[1], len(x))

    def token_table(self, shape: TokenShape) -> TokenTable:
        """Which token sees which, by their places on the grid of ``shape``, or on its own where that has none."""
        return TokenTable(self.pair_mask(torch.empty(1, shape.num_tokens, 0), shape.grid)[0])

    def as_gate(self) -> GateFamily:
        if self.config.stride != 1:
            raise InputError(
                f"halo with stride={self.config.stride} gives fewer tokens than it takes, and its windows are no gate; "
                "make one with stride=1"
            )
        return FrozenMixer(self)

    def out_grid(self, grid: Grid | None) -> Grid | None:
        stride = self.config.stride
        return None if grid is None else (math.ceil(grid[0] / stride), math.ceil(grid[1] / stride))

    def out_mask(self, mask: Tensor, grid: Grid | None) -> Tensor:
        if self.config.stride == 1:
            return mask
        real = mask.unflatten(1, self._grid(mask.shape[1], grid))
        if self.config.avg_down:
            return (_sums(real.unsqueeze(-1).float()) > 0).flatten(1)
        return real[:, ::2, ::2].flatten(1)

    def _blocks(self, grid: Grid | None) -> int:
        assert grid is not None  # `cost` has given one
        return math.prod(math.ceil(length / self.config.block_size) for length in grid)

    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        assert grid is not None
        dim, d, w = self.config.dim, self.config.num_heads * self.dim_head, self.window
        asked = math.prod(math.ceil(length / self.step) for length in grid)
        queries = self._blocks(grid) * (self.config.block_size // self.step) ** 2
        return 2 * (dim * (asked * d + num_tokens * (d + dim)) + queries * (d * (w * w + 2 * w) + w * w * dim))

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        config, places = self.config, self.window**2
        queries = (config.block_size // self.step) ** 2
        windows = places * (config.num_heads * self.dim_head + config.dim)
        return self._blocks(grid) * (windows + 2 * queries * config.num_heads * places)


def _sums(maps: Tensor) -> Tensor:
    """Sums of maps ``(B, H, W, C)`` over 2 x 2 places, the last ones over what is there."""
    maps = F.pad(maps, (0, 0, 0, maps.shape[2] % 2, 0, maps.shape[1] % 2))
    return maps.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).sum((2, 4))


def _averages(maps: Tensor, mask: Tensor | None, grid: Grid) -> Tensor:
    """Averages of maps ``(B, H, W, C)`` over those of 2 x 2 places that are real."""
    real = torch.ones_like(maps[:1, ..., :1]) if mask is None else mask.unflatten(1, grid)[..., None].to(maps.dtype)
    return _sums(maps * real) / _sums(real).clamp(min=1)
