"""Tokens, and who gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

__all__ = ["Progress", "TokenShape", "TokenSource", "Tokens"]

Progress = Callable[[str, int, int], None]
"""Called as ``progress(step, done, total)`` during long work; ``step`` is a short phrase for people."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of some samples.

    Parameters
    ----------
    values : Tensor, shape (n, s, d)
        Prefix tokens first, then patch tokens.
    num_prefix : int
        Number of prefix tokens.
    grid : (int, int) or None
        Rows and columns of the patch tokens, None where they have no grid (text, tables).
    mask : Tensor of bool, shape (n, s), or None
        True where a token is real, None where all are.
    """

    values: Tensor
    num_prefix: int = 0
    grid: tuple[int, int] | None = None
    mask: Tensor | None = None


class TokenSource(Protocol):
    """Anything that gives tokens chunk by chunk: a store on disk or arrays in memory."""

    @property
    def num_samples(self) -> int: ...

    @property
    def num_tokens(self) -> int:
        """Tokens of a sample, prefix tokens included."""
        ...

    @property
    def width(self) -> int: ...

    @property
    def num_prefix(self) -> int: ...

    @property
    def grid(self) -> tuple[int, int] | None: ...

    @property
    def fingerprint(self) -> str:
        """Hash of the tokens' content; equal fingerprints mean equal tokens."""
        ...

    def chunks(self, rows: np.ndarray | None = None, size: int | None = None) -> Iterator[tuple[np.ndarray, Tokens]]:
        """Yield ``(rows, tokens)`` in the order of ``rows`` (all samples by default), at most ``size`` samples each."""
        ...


@dataclass(frozen=True)
class TokenShape:
    """What a block must know of the tokens it acts on: how many, how wide, and the grid that they fill."""

    num_tokens: int
    width: int
    grid: tuple[int, int] | None = None
