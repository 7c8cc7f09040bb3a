"""What a head carries of the fit: the tokens that it takes, and the rows that it was fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contracts import TokenSource
from ..tokens import TokenStore

__all__ = ["TokenFacts", "Training", "layout_words"]


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

    @property
    def of_texts(self) -> bool:
        """Whether a tokenizer made the tokens."""
        return "tokenizer" in ((self.origin or {}).get("preprocessing") or {})

    def called(self, sentence: str) -> str:
        """A sentence about patch tokens; those that a tokenizer made are text tokens.

        Examples
        --------
        >>> origin = {"backbone": "hf/mini", "preprocessing": {"tokenizer": "words"}}
        >>> TokenFacts(16, 8, 1, None, origin).called("linear on the mean patch token")
        'linear on the mean text token'
        """
        return sentence.replace("patch token", "text token") if self.of_texts else sentence

    def differs(self, source: TokenSource) -> str | None:
        """How the layout of other tokens differs, in words; None where it does not. A missing grid is any grid."""
        same = self.num_tokens == source.num_tokens and self.num_prefix == source.num_prefix
        if same and (self.grid is None or source.grid is None or self.grid == source.grid):
            return None
        return f"the head was fitted on samples of {layout_words(self)}, these have {layout_words(source)}"


def layout_words(tokens: TokenSource | TokenFacts) -> str:
    """Number and order of the tokens of a sample in words.

    Examples
    --------
    >>> layout_words(TokenFacts(65, 192, 1, (8, 8)))
    '1 prefix token and 64 patch tokens on a grid of 8 x 8'
    """
    prefix, patches = tokens.num_prefix, tokens.num_tokens - tokens.num_prefix
    counts = [(prefix, "prefix"), (patches, "patch")]
    said = " and ".join(f"{n} {what} token{'s' * (n != 1)}" for n, what in counts if n)
    facts = tokens if isinstance(tokens, TokenFacts) else TokenFacts.of(tokens)
    return facts.called(said) + (f" on a grid of {tokens.grid[0]} x {tokens.grid[1]}" if tokens.grid else "")


@dataclass(frozen=True)
class Training:
    """What `headwise verify` needs besides the store: the training rows and their weights."""

    rows: np.ndarray
    weights: np.ndarray | None = None
