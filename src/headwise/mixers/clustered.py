"""Attention within clusters of tokens: those that each cluster takes, or the members of each in their order."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .attending import attend

__all__ = ["attend_members", "attend_taken", "gather", "taken"]


def gather(x: Tensor, at: Tensor) -> Tensor:
    """Tokens ``(B, heads, k, w, d)`` of x ``(B, heads, N, d)`` at places ``(B, heads, k, w)``."""
    index = at.flatten(2)[..., None].expand(-1, -1, -1, x.shape[-1])
    return x.gather(2, index).unflatten(2, at.shape[2:])


def taken(scores: Tensor, mask: Tensor | None, window: int) -> Tensor:
    """The ``window`` tokens that each cluster takes, in the order of time, ``(B, heads, clusters, window)``.

    Parameters
    ----------
    scores : Tensor, shape (B, heads, N, clusters)
    mask : bool Tensor, shape (B, N), optional
        Tokens that are real; others are taken last.
    """
    scores = scores.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None], -torch.inf)
    return scores.topk(window, -1).indices.sort(-1).values


def attend_taken(
    q: Tensor, k: Tensor, v: Tensor, at: tuple[Tensor, Tensor], mask: Tensor | None, causal: bool, eps: float
) -> Tensor:
    """The tokens that a cluster took, ``at`` for queries and for keys, look at each other.

    What a token gets in its clusters is added and divided by their number, plus ``eps``; it is zero without any.
    """
    q_at, k_at = at
    num_tokens = q.shape[2]
    if mask is not None:  # of the keys of each cluster, (B, heads * clusters, 1, window)
        mask = gather(mask[:, None, :, None].expand(*q.shape[:3], 1), k_at).transpose(-1, -2).flatten(1, 2)
    q, k, v = (gather(t, at).flatten(1, 2) for t, at in ((q, q_at), (k, k_at), (v, k_at)))
    out = attend(q, k, v, mask, causal, scale=1.0).unflatten(1, q_at.shape[1:3]).flatten(2, 3)
    places = q_at.flatten(2)
    shape = (*out.shape[:2], num_tokens, out.shape[-1])
    total = out.new_zeros(shape).scatter_add(2, places[..., None].expand_as(out), out)
    count = out.new_zeros(shape[:3]).scatter_add(2, places, torch.ones_like(places, dtype=out.dtype))
    return total / (count + eps).masked_fill(count == 0, 1.0)[..., None]


def attend_members(q: Tensor, v: Tensor, labels: Tensor, window: int) -> Tensor:
    """Each token looks at itself and the last ``window`` tokens up to it with its own label, ``(B, heads, N)``.

    Keys are the queries. Sorted by label, the last ``window`` members are the last ``window`` places, so that chunks of
    that size look at themselves and at the chunk before.
    """
    n = q.shape[2]
    labels, order = labels.sort(dim=-1, stable=True)
    at = order[..., None].expand_as(q)
    fill = -n % window
    queries = F.pad(q.gather(2, at), (0, 0, 0, fill)).unflatten(2, (-1, window))

    def with_chunk_before(sorted_: Tensor, outside: int) -> Tensor:
        return F.pad(sorted_, (0, 0, window, fill), value=outside).unfold(2, 2 * window, window).transpose(-1, -2)

    k, v = (with_chunk_before(t.gather(2, at), 0).flatten(1, 2) for t in (q, v))
    key_labels = with_chunk_before(labels[..., None], -1).transpose(-1, -2)
    same = key_labels[..., window:].transpose(-1, -2) == key_labels
    place = torch.arange(2 * window, device=q.device)
    ago = place[window:, None] - place
    may = (same & (ago >= 0) & (ago < window)).flatten(1, 2)
    out = attend(queries.flatten(1, 2), k, v, may, scale=1.0)
    out = out.unflatten(1, (q.shape[1], -1)).flatten(2, 3)[:, :, :n]
    return torch.zeros_like(out).scatter(2, at, out)
