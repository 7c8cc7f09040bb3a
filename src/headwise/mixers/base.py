"""What every mechanism is: a layer with a saved configuration, declared traits and a cost card."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..checks import check_whole
from ..contracts import GateFamily, QueryKey
from ..errors import InputError
from .saving import write

__all__ = ["Cost", "Fusion", "Mechanism", "Mixer", "MixerConfig", "Recalibration", "Traits", "check_divides"]

Grid = tuple[int, int]


@dataclass(frozen=True)
class Traits:
    """What a mechanism promises. Tests hold it to each, and what is not promised is refused with an error.

    Attributes
    ----------
    exponent : float
        Growth of its multiplications with the number of tokens (or pixels), where these are many.
    permutation_equivariant : bool
        Tokens (after the prefix) in another order give the outputs in that order.
    shift_equivariant : bool
        The same for circular shifts of the grid.
    grid : {"any", "fixed", "none"}
        Whether it has a grid: any grid at each call, that of its configuration only, or none.
    batch_independent : bool
        The output of a sample does not depend on the others in the batch.
    causal, mask, pair_mask : bool
        Whether it takes ``causal=True``, a mask of tokens ``(B, N)``, and a mask of pairs ``(B, N, N)``.
    prefix : bool
        Whether it takes prefix tokens (class token, registers).
    query_key : bool
        Whether `Mixer.query_key` describes its logits.
    gate : bool
        Whether `Mixer.as_gate` makes gates of it.
    """

    exponent: float
    permutation_equivariant: bool = False
    shift_equivariant: bool = False
    grid: Literal["any", "fixed", "none"] = "none"
    batch_independent: bool = True
    causal: bool = False
    mask: bool = False
    pair_mask: bool = False
    prefix: bool = False
    query_key: bool = False
    gate: bool = False


@dataclass(frozen=True)
class Cost:
    """What one sample costs.

    Attributes
    ----------
    parameters : int
    flops : int
        Two for each multiplication and addition in products of matrices and convolutions, as torch counts them.
    memory : int
        Numbers in the largest tensors that a forward pass must hold at one time beyond input, output and weights.
    """

    parameters: int
    flops: int
    memory: int


@dataclass(frozen=True)
class MixerConfig:
    """What all mechanisms have.

    Parameters
    ----------
    dim : int
        Width of the tokens (channels of a map).
    grid : (int, int), optional
        Rows and columns of the tokens after the prefix, where a call does not say.
    num_prefix_tokens : int
        Tokens in front that have no place on the grid.
    """

    dim: int
    grid: Grid | None = None
    num_prefix_tokens: int = 0

    def __post_init__(self) -> None:
        check_whole("dim", self.dim, least=1)
        check_whole("num_prefix_tokens", self.num_prefix_tokens)
        if self.grid is not None:
            _check_grid(self.grid)


class Mechanism(nn.Module, ABC):
    """A layer with a name, a configuration that is saved beside its weights, traits and a cost card.

    Subclasses set ``name``, ``traits`` and ``Config``, and take one argument: their configuration. Where an option
    decides a trait, the class declares what holds whatever the options are, and an instance sets its own ``traits``.
    """

    name: ClassVar[str]
    kind: ClassVar[Literal["tokens", "map", "pair"]]
    traits: Traits
    Config: ClassVar[type[MixerConfig]] = MixerConfig

    def __init__(self, config: MixerConfig) -> None:
        super().__init__()
        self.config: Any = config
        if config.num_prefix_tokens and not self.traits.prefix:
            raise InputError(
                f"{self.name} has no place for prefix tokens, got num_prefix_tokens="
                f"{config.num_prefix_tokens}; mix the patch tokens alone"
            )
        if self.traits.grid == "fixed" and config.grid is None:
            raise InputError(f"{self.name} is made for one grid: give grid=(rows, columns)")

    @abstractmethod
    def flops(self, num_tokens: int) -> int:
        """Two for each multiplication and addition of one sample with so many tokens (pixels of a map)."""

    @abstractmethod
    def memory(self, num_tokens: int) -> int:
        """Numbers of the largest tensors between input and output that live at one time."""

    def cost(self, num_tokens: int) -> Cost:
        """The cost card of one sample."""
        parameters = sum(p.numel() for p in self.parameters())
        return Cost(parameters, self.flops(num_tokens), self.memory(num_tokens))

    def save_pretrained(self, path: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors``; `headwise.mixers.load` reads them."""
        write(path, self.name, asdict(self.config), {k: v.contiguous() for k, v in self.state_dict().items()})

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in asdict(self.config).items())


class Mixer(Mechanism):
    """Tokens ``(B, N, D)`` in and out; as many, but where a stride of the configuration asks for fewer."""

    kind = "tokens"

    def forward(
        self, x: Tensor, *, mask: Tensor | None = None, causal: bool = False, grid: Grid | None = None
    ) -> Tensor:
        """Mix tokens.

        Parameters
        ----------
        x : Tensor, shape (B, N, dim)
            B and N are at least 1.
        mask : bool Tensor, shape (B, N) or (B, N, N), optional
            True where a token is real, or where token t may look at token u. Outputs of tokens that are not real are
            zero; a token that may look at none takes in nothing.
        causal : bool
            No token looks at a later one.
        grid : (int, int), optional
            Rows and columns of the tokens after the prefix; that of the configuration by default.

        Returns
        -------
        Tensor, shape (B, N, dim)
            A strided mechanism gives fewer tokens: those of `out_grid`.

        Raises
        ------
        InputError
            What the mechanism does not take (see `Traits`), or shapes that do not match.
        """
        if x.ndim != 3 or x.shape[2] != self.config.dim:
            raise InputError(f"{self.name} takes tokens (B, N, {self.config.dim}), got shape {tuple(x.shape)}")
        if 0 in x.shape:
            raise InputError(f"{self.name} takes at least one sample of at least one token, got {tuple(x.shape)}")
        self._check_mask(x, mask)
        if causal and not self.traits.causal:
            raise InputError(
                f"{self.name} cannot be causal; give causal=False, or take a mixer whose traits say causal"
            )
        grid = self._grid(x.shape[1], grid)
        real = mask if mask is not None and mask.ndim == 2 else None
        if real is not None:  # whatever stands in padding, NaN included, ends here
            x = torch.where(real[..., None], x, torch.zeros_like(x))
        out = self.mix(x, mask, causal, grid)
        if real is None:
            return out
        return torch.where(self.out_mask(real, grid)[..., None], out, torch.zeros_like(out))

    @abstractmethod
    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        """`forward` after the checks; tokens that are not real are zero already."""

    def out_grid(self, grid: Grid | None) -> Grid | None:
        """Rows and columns of the outputs for tokens on ``grid``: the same but where a mechanism has strides."""
        return grid

    def out_mask(self, mask: Tensor, grid: Grid | None) -> Tensor:
        """Which outputs are real where the tokens of ``mask`` ``(B, N)`` are: the same but where there are strides."""
        return mask

    def query_key(self) -> QueryKey:
        """What decides the logits, for dissection."""
        raise InputError(f"{self.name} has no logits of queries and keys; its traits say so")

    def as_gate(self) -> GateFamily:
        """What it lets tokens see of each other, as gates of a convex head: its attention maps, clusters or windows.

        The numbers that decide it are copied into the head, which then needs no mixer. It is given the tokens as they
        came, before conditioning.

        Raises
        ------
        InputError
            What it lets tokens see is no fixed mask of these kinds; its traits say so.
        """
        raise InputError(
            f"{self.name} has no attention map, clusters or windows that could be gates; its traits say so"
        )

    def _check_mask(self, x: Tensor, mask: Tensor | None) -> None:
        if mask is None:
            return
        if mask.dtype != torch.bool:
            raise InputError(
                f"mask must be boolean (True: real, or may be looked at), got {mask.dtype}; use mask.bool()"
            )
        b, n, _ = x.shape
        if tuple(mask.shape) not in ((b, n), (b, n, n)):
            raise InputError(f"mask must be ({b}, {n}) or ({b}, {n}, {n}) like the tokens, got {tuple(mask.shape)}")
        takes = self.traits.mask if mask.ndim == 2 else self.traits.pair_mask
        if not takes:
            what = "tokens" if mask.ndim == 2 else "pairs"
            raise InputError(f"{self.name} takes no mask of {what}: it cannot leave a token out")

    def _grid(self, num_tokens: int, grid: Grid | None) -> Grid | None:
        if self.traits.grid == "none":
            if grid is not None:
                raise InputError(f"{self.name} knows no grid, got grid={grid}; leave it out")
            return None
        own = self.config.grid
        grid = own if grid is None else grid
        if grid is None:
            raise InputError(f"{self.name} needs the grid of the tokens: give grid=(rows, columns)")
        _check_grid(grid)
        if self.traits.grid == "fixed" and tuple(grid) != tuple(own):
            raise InputError(f"{self.name} was made for the grid {own}, got {grid}; make one for {grid}")
        prefix = self.config.num_prefix_tokens
        if grid[0] * grid[1] + prefix != num_tokens:
            front = f" after {prefix} prefix tokens" if prefix else ""
            raise InputError(
                f"a grid of {grid[0]} x {grid[1]} has {grid[0] * grid[1]} places{front}, "
                f"got {num_tokens - prefix} tokens"
            )
        return grid


class Recalibration(Mechanism):
    """Maps ``(B, C, H, W)`` in and out."""

    kind = "map"

    def forward(self, x: Tensor) -> Tensor:
        """Weigh a map ``(B, dim, H, W)``; B, H and W are at least 1."""
        if x.ndim != 4 or x.shape[1] != self.config.dim:
            raise InputError(f"{self.name} takes maps (B, {self.config.dim}, H, W), got shape {tuple(x.shape)}")
        if 0 in x.shape:
            raise InputError(f"{self.name} takes at least one map of at least one place, got {tuple(x.shape)}")
        return self.recalibrate(x)

    @abstractmethod
    def recalibrate(self, x: Tensor) -> Tensor:
        """`forward` after the checks."""


class Fusion(Mechanism):
    """Tokens ``(B, N, D)`` that take in a context ``(B, M, D)``."""

    kind = "pair"

    def forward(self, x: Tensor, context: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Tokens of the shape of ``x``; ``mask`` ``(B, M)`` is True where a context token is real."""
        d = self.config.dim
        for what, given in (("x", x), ("context", context)):
            if given.ndim != 3 or given.shape[2] != d or given.shape[0] != x.shape[0]:
                raise InputError(f"{self.name} takes {what} (B, N, {d}), got shape {tuple(given.shape)}")
            if 0 in given.shape:
                raise InputError(f"{self.name} takes at least one sample and token of {what}, got {tuple(given.shape)}")
        if mask is not None and not self.traits.mask:
            raise InputError(f"{self.name} takes no mask of the context: it cannot leave a token out")
        if mask is not None and (mask.dtype != torch.bool or mask.shape != context.shape[:2]):
            raise InputError(f"mask must be boolean {tuple(context.shape[:2])}, got {mask.dtype} {tuple(mask.shape)}")
        if mask is not None:
            context = torch.where(mask[..., None], context, torch.zeros_like(context))
        return self.fuse(x, context, mask)

    @abstractmethod
    def fuse(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """`forward` after the checks."""


def _check_grid(grid: Any) -> None:
    if not isinstance(grid, (tuple, list)) or len(grid) != 2 or not all(isinstance(g, int) and g >= 1 for g in grid):
        raise InputError(f"grid is (rows, columns), two whole numbers of at least 1, got {grid!r}")


def check_divides(what: str, part: int, whole_name: str, whole: int) -> None:
    """Refuse a ``part`` (heads, groups) that does not divide ``whole``."""
    check_whole(what, part, least=1)
    if whole % part:
        near = max(k for k in range(1, part + 1) if whole % k == 0)
        raise InputError(f"{what} must divide {whole_name}={whole}, got {part}; the next below that does is {near}")
