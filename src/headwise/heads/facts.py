"""What a head carries of the fit: the tokens that it takes, and the rows that it was fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contracts import TokenSource
from ..tokens import TokenStore

__all__ = ["TokenFacts", "Training"]


@dataclass(frozen=True)
class TokenFacts:
    """What the tokens of a head look like, and where they came from.

    ``origin`` says which backbone made them, in the words of a store's manifest: ``backbone``, ``weights_hash``,
    ``layer``, ``at`` and ``preprocessing``. It is None for tokens from arrays.
    """

    num_tokens: int
    width: int
    num_prefix: int
    grid: tuple[int, int] | None
    origin: dict[str, Any] | None = None

    @classmethod
    def of(cls, source: TokenSource) -> TokenFacts:
        origin = source.manifest.origin if isinstance(source, TokenStore) else None
        return cls(source.num_tokens, source.width, source.num_prefix, source.grid, origin)


@dataclass(frozen=True)
class Training:
    """What `headwise verify` needs besides the store: the training rows and their weights."""

    rows: np.ndarray
    weights: np.ndarray | None = None
