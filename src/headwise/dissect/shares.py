"""How much of an attention head's logits comes from content, from the query's bias, and from position."""

from __future__ import annotations

import torch
from torch import Tensor

from .logits import Parts, centred

__all__ = ["SHARES", "variance_shares"]

SHARES = ("content", "key_only", "position", "turning")
"""Parts of the logits: products of tokens; the constant of the queries with the keys, the same for every query; biases
by place and constants turned against each other; what turning makes of content beyond its average."""


def variance_shares(parts: Parts, used: Tensor) -> dict[str, Tensor]:
    """Share of each part in the variance of the logits over the keys that a query sees, ``(heads,)`` each.

    Parameters
    ----------
    parts : Parts
    used : Tensor of bool, shape (n, heads, s, s)
        Pairs that count.

    Returns
    -------
    dict
        By the names of `SHARES`. With every part centred over the keys, the share of t in the logits l is
        ``<t, l> / <l, l>``: shares sum to 1, and one that works against the others is below 0. All are 0 where the
        logits of an attention head do not differ between keys.

    Examples
    --------
    >>> import torch
    >>> from headwise.dissect.logits import Parts
    >>> content, nothing = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]]), torch.zeros(1, 1, 2, 1)
    >>> key_only = torch.tensor([[[[0.5, 0.0]]]])
    >>> shares = variance_shares(Parts(content, nothing, key_only), torch.ones(1, 1, 2, 2, dtype=torch.bool))
    >>> {name: round(float(share), 2) for name, share in shares.items()}
    {'content': 0.8, 'key_only': 0.2, 'position': 0.0, 'turning': 0.0}
    """
    given = {
        "content": parts.content + parts.query_only,
        "key_only": parts.key_only,
        "position": parts.position,
        "turning": parts.turning,
    }
    apart = {name: centred(part, used) for name, part in given.items() if part is not None}
    whole = sum(apart.values(), torch.zeros_like(next(iter(apart.values()))))
    energy = whole.square().sum((0, 2, 3))
    against = {name: (part * whole).sum((0, 2, 3)) for name, part in apart.items()}
    tiny = torch.finfo(whole.dtype).tiny
    nothing = torch.zeros_like(energy)
    return {name: against.get(name, nothing) / energy.clamp(min=tiny) for name in SHARES}
