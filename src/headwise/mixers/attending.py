"""What attention mechanisms share: heads in and out of the width, and masks that leave no token without an answer."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["allowed", "attend", "join_heads", "near_on_grid", "split_heads"]


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """``(B, N, heads * d)`` as ``(B, heads, N, d)``."""
    b, n, width = x.shape
    return x.view(b, n, num_heads, width // num_heads).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """``(B, heads, N, d)`` as ``(B, N, heads * d)``."""
    b, heads, n, d = x.shape
    return x.transpose(1, 2).reshape(b, n, heads * d)


def allowed(mask: Tensor | None, causal: bool, like: Tensor) -> Tensor | None:
    """Which token may look at which, ``(B or 1, 1, N, N)``, or None where all may; ``like`` is ``(B, N, D)``."""
    n = like.shape[1]
    found = None
    if mask is not None:
        found = (mask[:, None, :] if mask.ndim == 2 else mask)[:, None]
    if causal:
        before = torch.ones(n, n, dtype=torch.bool, device=like.device).tril()
        found = before if found is None else found & before
        found = found.expand(-1, -1, n, n) if found.ndim == 4 else found[None, None]
    return found


def attend(q: Tensor, k: Tensor, v: Tensor, may: Tensor | None, causal: bool, scale: float | None = None) -> Tensor:
    """Softmax attention by torch's own kernels; a query that may look at nothing gets zero.

    Parameters
    ----------
    q, k, v : Tensor, shape (B, heads, N, d)
        Keys and values may have fewer attention heads, which divide those of the queries: consecutive ones share one.
    may : bool Tensor or None
        As `allowed` gives it; with ``causal`` it holds that already.
    """
    grouped = q.shape[1] != k.shape[1]
    if may is None:
        return F.scaled_dot_product_attention(q, k, v, scale=scale, enable_gqa=grouped)
    if causal and may.shape[:2] == (1, 1):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=grouped)
    some = may.any(-1, keepdim=True)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=may | ~some, scale=scale, enable_gqa=grouped)
    return torch.where(some, out, torch.zeros_like(out))


def near_on_grid(rows: Tensor, columns: Tensor, batch: int) -> Tensor:
    """Which token of a grid sees which, ``(batch, N, N)``, by which row sees which, ``(H, H)``, and which column."""
    both = rows[:, None, :, None] & columns[None, :, None, :]
    return both.flatten(0, 1).flatten(1, 2).expand(batch, -1, -1)
