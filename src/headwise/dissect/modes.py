"""Singular modes of the query-key matrix of every attention head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..contracts import Norm, QueryKey
from ..errors import InputError

__all__ = ["Modes", "all_modes", "fold_norm", "folded_weights", "modes"]


@dataclass(frozen=True)
class Modes:
    """``M = sum_n sigma_n u_n v_n^T`` of each attention head of one layer.

    Attributes
    ----------
    layer : int
    sigma : Tensor, shape (heads, head_dim)
        Singular values, largest first, of M without the logits' scale.
    u, v : Tensor, shape (heads, head_dim, d)
        Query and key directions in the coordinates of the residual stream, of unit length. The sign of a pair is free.
    norm_folded : bool
        Whether M contains the gain and centring of the norm in front of the layer.
    leaves_out : str
        What decides the attention of the layer besides M, as its record says; empty where that is exact.
    """

    layer: int
    sigma: Tensor
    u: Tensor
    v: Tensor
    norm_folded: bool
    leaves_out: str = ""


def _refuse(record: QueryKey) -> None:
    """Fields that change the logits in ways that modes do not describe."""
    unknown = [
        name
        for name in ("rotary", "bias", "position_query", "window", "q_norm", "k_norm")
        if getattr(record, name) is not None
    ]
    if unknown:
        raise InputError(
            f"{record.name} has {' and '.join(unknown)}, which dissection does not handle; "
            "its modes would not describe its logits"
        )


def fold_norm(weight: Tensor, norm: Norm | None) -> Tensor:
    """Projection weights ``(..., d)`` with the norm's gain and centring folded in: they act on ``x / std``.

    LayerNorm is ``gain * (x - mean) / std + shift``; the centring is the projection ``P = I - 11^T/d``.
    """
    if norm is None:
        return weight
    if norm.weight is not None:
        weight = weight * norm.weight.to(weight)
    return weight - weight.mean(-1, keepdim=True) if norm.kind == "layer" else weight


def folded_weights(record: QueryKey, fold: bool = True, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Query and key weights of every query head, ``(heads, head_dim, d)``; grouped keys are repeated."""
    _refuse(record)
    query, key = record.query.detach().to(dtype), record.key.detach().to(dtype)
    if record.groups > 1:
        key = key.repeat_interleave(record.groups, 0)
    if query.shape != key.shape:
        raise InputError(f"{record.name}: queries are {tuple(query.shape)}, keys {tuple(key.shape)} after grouping")
    return (fold_norm(query, record.input_norm), fold_norm(key, record.input_norm)) if fold else (query, key)


def _decompose(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """SVD of ``query^T key`` from thin orthogonal factors: the largest matrix decomposed is head_dim x head_dim."""
    qa, ra = torch.linalg.qr(query.transpose(-1, -2))
    qb, rb = torch.linalg.qr(key.transpose(-1, -2))
    left, sigma, right = torch.linalg.svd(ra @ rb.transpose(-1, -2))
    return (qa @ left).transpose(-1, -2), sigma, (qb @ right.transpose(-1, -2)).transpose(-1, -2)


def modes(record: QueryKey, fold: bool = True, dtype: torch.dtype = torch.float64) -> Modes:
    """Modes of every attention head of one layer; parameters and errors as in `all_modes`.

    Examples
    --------
    >>> import torch
    >>> from headwise.contracts import QueryKey
    >>> weight = torch.eye(4)[None, :2]
    >>> modes(QueryKey(0, "attn", weight, weight)).sigma
    tensor([[1., 1.]], dtype=torch.float64)
    """
    return all_modes([record], fold, dtype)[0]


def all_modes(records: Sequence[QueryKey], fold: bool = True, dtype: torch.dtype = torch.float64) -> list[Modes]:
    """Modes of every attention head of all layers; heads of equal shape go through one batched decomposition.

    Parameters
    ----------
    records : sequence of QueryKey
    fold : bool
        Fold the norm in front of the layer into M.
    dtype : torch.dtype
        Precision, float64 by default.

    Raises
    ------
    InputError
        A record with a field that modes do not describe (rotary, bias, q/k norm ...), by name.

    Notes
    -----
    Pan et al., "Dissecting Query-Key Interaction in Vision Transformers" (arXiv 2405.14880), with the norm folded in.
    """
    weights = [folded_weights(record, fold, dtype) for record in records]
    found: dict[int, Modes] = {}
    for shape in {q.shape for q, _ in weights}:
        group = [i for i, (q, _) in enumerate(weights) if q.shape == shape]
        u, sigma, v = _decompose(
            torch.stack([weights[i][0] for i in group]), torch.stack([weights[i][1] for i in group])
        )
        for place, i in enumerate(group):
            found[i] = Modes(records[i].layer, sigma[place], u[place], v[place], fold, records[i].leaves_out)
    return [found[i] for i in range(len(records))]
