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
    """Which token may look at which, with ones for sizes that make no difference, or None where all may.

    Parameters
    ----------
    mask : bool Tensor, shape (B, N), (B, N, N) or (B, heads, N or 1, M), optional
        Tokens that are real, or pairs, which may differ between attention heads.
    causal : bool
        No token looks at a later one.
    like : Tensor, shape (..., N, d)
        The tokens or their queries.

    Returns
    -------
    bool Tensor, shape (B or 1, heads or 1, N or 1, M), or None
    """
    if mask is not None and mask.ndim < 4:
        mask = (mask[:, None] if mask.ndim == 2 else mask)[:, None]
    if not causal:
        return mask
    n = like.shape[-2]
    before = torch.ones(1, 1, n, n, dtype=torch.bool, device=like.device).tril()
    return before if mask is None else mask & before


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Softmax attention by torch's own kernels; a query that may look at nothing gets zero.

    Parameters
    ----------
    q, k, v : Tensor, shape (B, heads, N, d)
        Keys and values may have fewer attention heads, which divide those of the queries: consecutive ones share one.
    mask, causal
        As `allowed` takes them.
    """
    grouped = q.shape[1] != k.shape[1]
    if mask is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale, enable_gqa=grouped)
    may = allowed(mask, causal, q)
    assert may is not None  # there is a mask
    some = may.any(-1, keepdim=True)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=may | ~some, scale=scale, enable_gqa=grouped)
    return torch.where(some, out, torch.zeros_like(out))


def near_on_grid(rows: Tensor, columns: Tensor, batch: int) -> Tensor:
    """Which token of a grid sees which, ``(batch, N, N)``, by which row sees which, ``(H, H)``, and which column."""
    both = rows[:, None, :, None] & columns[None, :, None, :]
    return both.flatten(0, 1).flatten(1, 2).expand(batch, -1, -1)
