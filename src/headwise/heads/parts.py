"""Which tokens a part of a head acts on, and how: the words that describe a head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..blocks import BLOCKS
from ..contracts import Tokens, TokenSource
from ..errors import InputError, unknown_name
from ..penalties import PENALTIES

__all__ = ["PartSpec", "part_tokens", "resolve_parts"]

Scope = Literal["prefix", "patch", "all"]


@dataclass(frozen=True)
class PartSpec:
    """One part of a head.

    Parameters
    ----------
    block : str
        Registered block ("linear", "attention").
    tokens : {"patch", "prefix", "all"}
        Tokens it acts on. Several prefix tokens are joined into one long token; patch tokens are pooled by their mean.
    penalty : str
        Registered penalty ("nuclear", or "ridge" for linear parts).
    """

    block: str
    tokens: Scope = "patch"
    penalty: str = "nuclear"

    def __post_init__(self) -> None:
        BLOCKS.get(self.block)
        PENALTIES.get(self.penalty)
        if self.tokens not in ("patch", "prefix", "all"):
            raise unknown_name("token scope", self.tokens, ("patch", "prefix", "all"))
        if self.penalty == "ridge" and self.block != "linear":
            raise InputError(f"the ridge penalty keeps Z whole and is for linear parts; {self.block} needs 'nuclear'")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        where = {"patch": "the patch tokens", "prefix": "the prefix tokens", "all": "all tokens"}[self.tokens]
        return f"{self.block} on {where}"


def resolve_parts(block: str | Sequence[PartSpec], source: TokenSource) -> tuple[PartSpec, ...]:
    """Parts of a head from a short name, or the parts given.

    Parameters
    ----------
    block : {"default", "linear", "attention", "linear_prefix"} or sequence of PartSpec
        "default" is linear on the prefix tokens plus attention on the patch tokens; where there is one token only it is
        linear, and where there are no prefix tokens the linear part acts on the mean patch token.
    source : TokenSource

    Raises
    ------
    InputError
        An unknown name, or a part on tokens that the source does not have.
    """
    patches = source.num_tokens - source.num_prefix
    if isinstance(block, str):
        linear_on: Scope = "prefix" if source.num_prefix else "patch"
        known: dict[str, tuple[PartSpec, ...]] = {
            "linear": (PartSpec("linear", "patch" if patches else "prefix"),),
            "linear_prefix": (PartSpec("linear", "prefix"),),
            "attention": (PartSpec("attention", "patch"),),
            "default": (PartSpec("linear", linear_on), PartSpec("attention", "patch")),
        }
        if patches + source.num_prefix == 1 or not patches:
            known["default"] = (PartSpec("linear", linear_on),)
        if block not in known:
            raise unknown_name("head", block, known)
        parts = known[block]
    else:
        parts = tuple(block)
        if not parts or not all(isinstance(p, PartSpec) for p in parts):
            raise InputError("block takes a name or a non-empty sequence of PartSpec")
    for part in parts:
        if part.tokens == "prefix" and not source.num_prefix:
            raise InputError(f"{part} was asked for, but these tokens have no prefix tokens")
        if part.tokens == "patch" and not patches:
            raise InputError(f"{part} was asked for, but these tokens have prefix tokens only")
    return parts


def part_tokens(spec: PartSpec, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Values ``(n, s, d)`` and mean-pooling weights ``(n, s)`` of a part's tokens; hidden tokens weigh zero."""
    values, mask, prefix = tokens.values, tokens.mask, tokens.num_prefix
    if spec.tokens == "prefix":
        values = values[:, :prefix].flatten(1).unsqueeze(1)
        return values, values.new_ones(len(values), 1)
    if spec.tokens == "patch":
        values = values[:, prefix:]
        mask = None if mask is None else mask[:, prefix:]
    n, s = values.shape[:2]
    if mask is None:
        return values, values.new_full((n, s), 1 / s)
    seen = mask.to(values.dtype)
    return torch.where(mask[..., None], values, 0), seen / seen.sum(1, keepdim=True).clamp(min=1)
