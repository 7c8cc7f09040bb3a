"""What every mechanism is: a layer with a saved configuration, declared traits and a cost card."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import nn

from ..checks import check_whole
from ..contracts import GateFamily, QueryKey
from ..errors import InputError
from .options import Grid, MixerConfig, check_grid, documented
from .saving import write
from .traits import Cost, Traits

__all__ = ["Mechanism"]


class Mechanism(nn.Module, ABC):
    """A layer with a name, a configuration that is saved beside its weights, traits and a cost card.

    Subclasses set ``name``, ``traits`` and ``Config``, and take one argument: their configuration, whose options become
    part of their docstring. Where an option decides a trait, the class declares what holds whatever the options are,
    and an instance sets its own ``traits``.
    """

    name: ClassVar[str]
    kind: ClassVar[Literal["tokens", "map", "pair"]]
    traits: Traits
    Config: ClassVar[type[MixerConfig]] = MixerConfig

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__ and cls.__doc__:
            cls.__doc__ = documented(cls.__doc__, cls.Config, () if cls.traits.prefix else ("num_prefix_tokens",))

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
    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        """`Cost.flops`, for what `cost` has checked; there is a grid where the mechanism knows one."""

    @abstractmethod
    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        """`Cost.memory` in the same way."""

    def cost(self, num_tokens: int, grid: Grid | None = None) -> Cost:
        """The cost card of one sample.

        Parameters
        ----------
        num_tokens : int
            Tokens, prefix tokens included; pixels of a map; of a pair, the tokens and those of the context alike.
        grid : (int, int), optional
            Rows and columns of the tokens after the prefix. By default that of the configuration; where that has none,
            the one nearest to a square.

        Raises
        ------
        InputError
            No token, fewer than the prefix has, a grid of another number, or what the mechanism refuses in a call.

        Examples
        --------
        >>> from headwise.mixers import create
        >>> create("softmax", dim=8, num_heads=2).cost(16)
        Cost(parameters=288, flops=16384, memory=512)
        """
        check_whole("num_tokens", num_tokens, least=1)
        self._check_prefix(num_tokens)
        if grid is None and self.config.grid is None and self.traits.grid != "none":
            patches = num_tokens - self.config.num_prefix_tokens
            rows = next((r for r in range(math.isqrt(patches), 0, -1) if patches % r == 0), 1)
            grid = (rows, patches // rows)
        grid = self._grid(num_tokens, grid)
        parameters = sum(p.numel() for p in self.parameters())
        return Cost(parameters, self.flops(num_tokens, grid), self.memory(num_tokens, grid))

    def query_key(self) -> QueryKey:
        """What decides the logits, for dissection; ``leaves_out`` of the record says where that is not all.

        Raises
        ------
        InputError
            It has no logits of queries and keys, or they are not the same for all inputs; its traits say so.
        """
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
            f"no gates are made of {self.name}, as its traits say; softmax makes them of its attention maps, "
            "routing of its clusters and halo of its windows"
        )

    def save_pretrained(self, path: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors``; `headwise.mixers.load` reads them.

        Raises
        ------
        InputError
            The folder holds something else than an earlier state of this mixer, or cannot be written.
        """
        write(path, self.name, asdict(self.config), {k: v.contiguous() for k, v in self.state_dict().items()})

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in asdict(self.config).items())

    def _check_prefix(self, num_tokens: int) -> None:
        prefix = self.config.num_prefix_tokens
        if num_tokens < prefix:
            raise InputError(
                f"{self.name} has num_prefix_tokens={prefix} in front of its other tokens, got {num_tokens} tokens in "
                "all; give the prefix tokens too, or make it with fewer"
            )

    def _grid(self, num_tokens: int, grid: Grid | None) -> Grid | None:
        """The grid of a call, or that of the configuration, held against the number of tokens."""
        if self.traits.grid == "none":
            if grid is not None:
                raise InputError(f"{self.name} knows no grid, got grid={grid}; leave it out")
            return None
        own = self.config.grid
        grid = own if grid is None else grid
        if grid is None:
            raise InputError(f"{self.name} needs the grid of the tokens: give grid=(rows, columns)")
        check_grid(grid)
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
