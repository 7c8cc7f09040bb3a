"""How rotary embeddings turn keys against queries: for one pair of places, and on average over a context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..contracts import QueryKey, Rotary
from ..errors import InputError

__all__ = ["Turn", "relative_turn", "token_turn", "visible_pairs"]


_LONGEST = 2**20
"""Tokens of a context; the angles of all of them are held at once."""


@dataclass(frozen=True)
class Turn:
    """Pairs of coordinates, turned and stretched: ``(a, b) -> (c a - s b, c b + s a)``.

    Parameters
    ----------
    cos, sin : Tensor, shape (..., pairs)
        c and s of each pair; the axes in front are broadcast to those of what is turned.
    layout : {"halves", "neighbours"}
        Which coordinates are a pair, as in `headwise.contracts.Rotary`.
    """

    cos: Tensor
    sin: Tensor
    layout: Literal["halves", "neighbours"]

    def __call__(self, x: Tensor) -> Tensor:
        """Vectors ``(..., head_dim)``, turned; coordinates beyond the pairs stay."""
        cos, sin = self.cos.to(x), self.sin.to(x)
        pairs = cos.shape[-1]
        moved, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
        if self.layout == "halves":
            a, b = moved.chunk(2, -1)
            moved = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
        else:
            a, b = moved[..., ::2], moved[..., 1::2]
            moved = torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
        return torch.cat((moved, rest.expand(*moved.shape[:-1], rest.shape[-1])), -1)

    def transposed(self) -> Turn:
        """The transpose of the map: turned the other way, stretched alike."""
        return Turn(self.cos, -self.sin, self.layout)


def token_turn(rotary: Rotary, count: int) -> Turn:
    """What turns the queries and keys ``(n, heads, s, head_dim)`` of ``count`` tokens."""
    return Turn(*rotary.tables(count), rotary.layout)


def relative_turn(record: QueryKey, context: int | None, places: tuple[int, int] | None = None) -> Turn | None:
    """The map T between queries and keys with ``turned(q) . turned(k) = q . T k``; None where nothing turns.

    Parameters
    ----------
    record : QueryKey
    context : int or None
        Tokens of the context. T is the mean over all pairs of places where the query sees the key, so that an offset
        counts as often as the context has it.
    places : (int, int), optional
        Places of one query and one key, from 0, whose own T is given instead. For a sequence their difference alone
        matters.

    Returns
    -------
    Turn or None
        Of shape ``(pairs,)``, or ``(heads, 1, pairs)`` where attention heads turn in their own ways.

    Raises
    ------
    InputError
        Neither of the two for a layer that turns, places outside the context, or a context of more than 2^20 tokens.
    """
    if record.rotary is None:
        return None
    if places is not None:
        context = max(places) + 1 if context is None else context
        if not 0 <= min(places) <= max(places) < context:
            raise InputError(f"places must be two of 0 to {context - 1}, got {places}")
    if context is not None and context > _LONGEST:
        raise InputError(f"context must be at most {_LONGEST:,} tokens, got {context:,}")
    if context is None:
        raise InputError(
            f"{record.name} turns queries and keys by their places, so its modes belong to a context: give context, "
            "the number of tokens to average over (or check, inputs of the model), or places of one query and one key"
        )
    cos, sin = (table.detach().double() for table in record.rotary.tables(context))
    if places is not None:
        (c, other_c), (s, other_s) = ((t[..., list(places), :]).unbind(-2) for t in (cos, sin))
        near, across = c * other_c + s * other_s, c * other_s - s * other_c
    else:
        (keys_cos, keys_sin), pairs = _over_keys(record, cos, sin)
        near = (cos * keys_cos + sin * keys_sin).sum(-2) / pairs
        across = (cos * keys_sin - sin * keys_cos).sum(-2) / pairs
    if near.ndim == 2:
        near, across = near[:, None], across[:, None]
    return Turn(near, across, record.rotary.layout)


def _over_keys(record: QueryKey, *tables: Tensor) -> tuple[list[Tensor], float]:
    """Tables ``(..., count, pairs)`` summed over the keys that each query sees, and how many pairs of places see."""
    count, window, device = tables[0].shape[-2], record.window, tables[0].device
    if window is not None and not isinstance(window, int) and window.visible is not None:
        seen = visible_pairs(record, count, device).to(tables[0])
        seen = seen.sum(0) if seen.ndim == 3 else seen  # by window
        return [seen @ table for table in tables], float(seen.sum())
    place = torch.arange(count, device=device)  # a run of keys each: differences of running sums
    end = place + 1 if record.causal else torch.full_like(place, count)
    start = (place - window + 1).clamp(min=0) if isinstance(window, int) else torch.zeros_like(place)
    running = [torch.nn.functional.pad(table.cumsum(-2), (0, 0, 1, 0)) for table in tables]
    return [sums[..., end, :] - sums[..., start, :] for sums in running], float((end - start).sum())


def visible_pairs(record: QueryKey, count: int, device: torch.device | None = None) -> Tensor:
    """Which of ``count`` tokens see each other, as far as the record says: ``(count, count)``, or by window."""
    place = torch.arange(count, device=device)
    before = place[:, None] - place  # how far the key stands before the query
    shown = before >= 0 if record.causal else torch.ones_like(before, dtype=torch.bool)
    if isinstance(record.window, int):
        shown = shown & (before < record.window)
    elif record.window is not None and record.window.visible is not None:
        shown = shown & record.window.visible.to(shown.device)
    return shown
