"""Tokens that soak up attention: prefix tokens, sinks and high-norm patches, and what serves them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_whole, told
from ..errors import InputError
from .logits import Parts, in_windows, mode_factors
from .modes import Modes
from .seen import Seen

__all__ = ["HIGH_NORM", "KINDS", "SINK", "Served", "Sinks", "attention", "find_sinks", "high_norm_tokens"]

SINK = 0.3
"""Mean attention of the queries that see a token from which it is a sink (Gu et al. 2025, arXiv 2410.10781)."""

HIGH_NORM = 3.0
"""A token is of high norm from so many times the median norm of its sample (register literature: arXiv 2309.16588)."""

KINDS = ("prefix", "sink", "high_norm")
"""Prefix tokens; sinks, by what attention does; patches (tokens that are no prefix) of high norm, by what they are."""


@dataclass(frozen=True, repr=False)
class Served:
    """How an attention head comes to prefer one kind of token.

    The advantage of a token is how far its logit lies above those of the others that a query sees, in the mean over
    queries and samples.

    Attributes
    ----------
    mass : Tensor, shape (heads,)
        Share of all attention that these tokens take.
    modes : Tensor, shape (heads, modes)
        What each mode adds to their advantage.
    apart : dict of Tensor, each (heads,)
        What the other parts of the logits add, by their names in `headwise.dissect.logits.Parts`.
    """

    mass: Tensor
    modes: Tensor
    apart: dict[str, Tensor]

    def __repr__(self) -> str:
        return f"Served({len(self.mass)} attention heads: {float(self.mass.mean()):.2f} of their attention)"

    def leading(self, head: int) -> tuple[str, float]:
        """What adds most, "mode 3" or the name of a part, and its share of all that is added (not taken away)."""
        added = {f"mode {n}": float(value) for n, value in enumerate(self.modes[head])}
        added |= {name: float(values[head]) for name, values in self.apart.items()}
        name = max(added, key=lambda key: added[key])
        total = sum(value for value in added.values() if value > 0)
        return (name, added[name] / total) if total > 0 else ("", 0.0)


@dataclass(frozen=True, repr=False)
class Sinks:
    """Tokens that soak up attention in one layer.

    Attributes
    ----------
    served : dict of Served
        By the names of `KINDS`; a kind of which there is no token is left out.
    places : tuple of dict
        For each attention head, the places of its sinks (within their window, where a layer has windows), with the
        share of samples in which they are sinks, most frequent first.
    high_norm : Tensor of bool, shape (n, s)
        Which tokens at the layer's input are of high norm, prefix tokens left out.
    """

    served: dict[str, Served]
    places: tuple[dict[int, float], ...]
    high_norm: Tensor

    def __repr__(self) -> str:
        masses = (f"{kind} {float(each.mass.mean()):.2f}" for kind, each in self.served.items())
        return f"Sinks({len(self.places)} attention heads; attention on {', '.join(masses) or 'none'})"


def high_norm_tokens(tokens: Tensor, prefix: int = 0, real: Tensor | None = None) -> Tensor:
    """Which tokens ``(n, s, d)`` have a norm above three times the median of their sample, ``(n, s)``.

    Prefix tokens, and those that are not ``real`` ``(n, s)``, are left out of both.

    Examples
    --------
    >>> import torch
    >>> high_norm_tokens(torch.tensor([[[9.0], [1.0], [1.0], [5.0]]]), prefix=1)
    tensor([[False, False, False,  True]])
    """
    if not isinstance(tokens, Tensor) or tokens.ndim != 3 or not tokens.is_floating_point():
        raise InputError(f"tokens must be a tensor of real numbers, (n, s, d), got {told(tokens)}")
    check_whole("prefix", prefix)
    counts = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device) if real is None else real.clone()
    counts[:, :prefix] = False
    norms = tokens.norm(dim=-1)
    median = norms.masked_fill(~counts, torch.nan).nanmedian(-1, keepdim=True).values
    return counts & (norms > HIGH_NORM * median)


def attention(seen: Seen) -> Tensor:
    """Attention of each pair that is used, ``(n, heads, s, s)``; rows of padding are zero."""
    logits = seen.logits.masked_fill(~seen.used, -torch.inf)
    total = logits.logsumexp(-1, keepdim=True)
    # not by softmax, which is being watched while a layer is seen
    return (logits - total.masked_fill(total.isinf(), 0)).exp()


def find_sinks(seen: Seen, found: Modes, parts: Parts, prefix: int = 0) -> Sinks:
    """Prefix tokens, sinks and high-norm patches of one layer at work, and what serves them.

    Parameters
    ----------
    seen : Seen
    found : Modes
        With the norm folded in.
    parts : Parts
        The logits of the layer in parts, with the turn of the modes.
    prefix : int
        Prefix tokens of the model.
    """
    weights, used = attention(seen), seen.used
    count = used.shape[-1]
    whole = count == seen.tokens.shape[1]  # and not in windows
    real = used.any(-2).any(1) if whole else None  # (n, s): tokens that are seen
    high = high_norm_tokens(seen.tokens, prefix if whole else 0, real)
    first = torch.arange(count, device=used.device) < (prefix if whole else 0)
    queries = used.sum(-2)  # by key, (n, heads, s)
    rows = used.any(-1).sum(-1, keepdim=True)  # queries of each sample
    drawn = weights.sum(-2) / queries.clamp(min=1)
    # the last tokens of a causal layer are seen by themselves alone
    sink = (drawn >= SINK) & (queries >= rows / 2)
    sets = {
        "prefix": first.expand(sink.shape),
        "sink": sink,
        "high_norm": in_windows(seen.record, high)[:, None].expand(sink.shape),
    }
    factors = mode_factors(found, seen.record, seen.tokens.to(found.u))
    served = {name: _served(tokens, weights, used, parts, factors) for name, tokens in sets.items() if tokens.any()}
    shares = sink.to(weights).mean(0)
    places = tuple(
        {int(i): float(line[i]) for i in line.argsort(descending=True, stable=True) if line[i] > 0} for line in shares
    )
    return Sinks(served, places, high)


def _served(tokens: Tensor, weights: Tensor, used: Tensor, parts: Parts, factors: tuple[Tensor, Tensor]) -> Served:
    """What a set of tokens ``(n, heads, s)`` takes, and by what."""
    mass = (weights * tokens[..., None, :]).sum((0, 2, 3)) / weights.sum((0, 2, 3)).clamp(min=1e-300)
    inside, outside = used & tokens[..., None, :], used & ~tokens[..., None, :]
    sizes = [part.sum(-1, keepdim=True) for part in (inside, outside)]
    rows = (sizes[0] > 0) & (sizes[1] > 0)  # queries that see tokens of both sides
    contrast = inside.to(weights) / sizes[0].clamp(min=1) - outside.to(weights) / sizes[1].clamp(min=1)
    contrast = contrast * rows
    contrast = contrast / rows.sum((0, 2, 3), keepdim=True).clamp(min=1)
    left, right = factors
    modes = (left * (contrast @ right)).sum((0, 2))
    named = {"key_only": parts.key_only, "position": parts.position, "turning": parts.turning}
    if parts.query_only.shape[-1] > 1:  # else it is the same for all keys
        named["query_only"] = parts.query_only
    apart = {name: (contrast * part).sum((0, 2, 3)) for name, part in named.items() if part is not None}
    return Served(mass, modes, apart)
