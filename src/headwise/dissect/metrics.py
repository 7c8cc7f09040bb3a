"""Numbers that say what the modes of an attention head do, next to what chance would give."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from ..contracts import QueryKey
from .modes import Modes, folded_weights

__all__ = [
    "chance_band",
    "effective_rank",
    "mode_cosines",
    "permuted_weighted_cosine",
    "symmetric_share",
    "weighted_cosine",
]


def mode_cosines(found: Modes) -> Tensor:
    """``u_n . v_n`` of each mode, ``(heads, head_dim)``: 1 groups equal features, 0 brings in context, -1 avoids."""
    return (found.u * found.v).sum(-1)


def weighted_cosine(found: Modes) -> Tensor:
    """``sum_n sigma_n cos_n / sum_n sigma_n`` of each attention head, ``(heads,)``; equals ``tr(M) / ||M||_*``."""
    return (found.sigma * mode_cosines(found)).sum(-1) / found.sigma.sum(-1).clamp(
        min=torch.finfo(found.sigma.dtype).tiny
    )


def effective_rank(found: Modes) -> Tensor:
    """Exponential of the entropy of ``sigma_n / sum sigma`` (Roy and Vetterli 2007), ``(heads,)``: 1 to head_dim."""
    share = found.sigma / found.sigma.sum(-1, keepdim=True).clamp(min=torch.finfo(found.sigma.dtype).tiny)
    return torch.special.entr(share).sum(-1).exp()


def symmetric_share(found: Modes) -> Tensor:
    """Share of ``||M||_F^2`` in the symmetric part of M, ``(heads,)``; 0.5 for unrelated directions."""
    # ||(M + M^T)/2||^2 = (||M||^2 + tr(M M)) / 2, and tr(M M) needs only the d_k x d_k matrix v_n . u_m
    cross = found.v @ found.u.transpose(-1, -2)
    trace = torch.einsum("hn,hm,hnm,hmn->h", found.sigma, found.sigma, cross, cross)
    energy = found.sigma.square().sum(-1).clamp(min=torch.finfo(found.sigma.dtype).tiny)
    return (energy + trace) / (2 * energy)


def chance_band(width: int, level: float = 0.99) -> float:
    """Half-width of the band that holds the cosine of two random directions with probability ``level``.

    The cosine has mean 0 and standard deviation ``1/sqrt(d)`` and is close to normal for the widths of transformers.
    """
    return float(torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64))) / sqrt(width)


def permuted_weighted_cosine(record: QueryKey, draws: int = 100, seed: int = 0, fold: bool = True) -> Tensor:
    """Weighted cosines with the features of the key weights permuted, ``(draws, heads)``.

    A permutation keeps the spectrum of M and destroys any relation between query and key directions: the chance level
    for this very head. Singular values do not change, so each draw costs one trace.
    """
    query, key = folded_weights(record, fold)
    nuclear = torch.linalg.svdvals(torch.linalg.qr(query.mT).R @ torch.linalg.qr(key.mT).R.mT).sum(-1)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(draws):
        order = torch.randperm(key.shape[-1], generator=generator).to(key.device)
        found.append((query * key[..., order]).sum((-1, -2)) / nuclear)
    return torch.stack(found)
