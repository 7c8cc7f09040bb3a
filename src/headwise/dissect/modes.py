"""Singular modes of the query-key matrix of every attention head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import as_list, check_flag, check_whole
from ..contracts import Norm, QueryKey
from ..errors import InputError
from .turning import Turn, relative_turn

__all__ = ["Modes", "all_modes", "check_mode", "fold_norm", "folded_weights", "modes"]


@dataclass(frozen=True, repr=False)
class Modes:
    """``M = sum_n sigma_n u_n v_n^T`` of each attention head of one layer.

    Attributes
    ----------
    layer : int
    sigma : Tensor, shape (heads, modes)
        Singular values, largest first, of M without the logits' scale. There are ``head_dim`` modes, or d where that is
        less.
    u, v : Tensor, shape (heads, modes, d)
        Query and key directions in the coordinates of the residual stream, of unit length. The sign of a pair is free.
        Those of the leading modes alone, where a dissection was saved with fewer.
    norm_folded : bool
        Whether M contains the gain and centring of the norm in front of the layer.
    leaves_out : str
        What decides the attention of the layer besides M, as its record says; empty where that is exact.
    about : str
        What M leaves out of the logits, in words; empty where the logits are those of M and of the query's bias.
    turn : Turn or None
        What stands between queries and keys in M, where rotary embeddings turn them.
    cosines : Tensor or None, shape (heads, modes)
        ``u_n . v_n`` of all modes, where ``u`` and ``v`` hold fewer.
    """

    layer: int
    sigma: Tensor
    u: Tensor
    v: Tensor
    norm_folded: bool
    leaves_out: str = ""
    about: str = ""
    turn: Turn | None = None
    cosines: Tensor | None = None

    def __repr__(self) -> str:
        heads, modes = self.sigma.shape
        return f"Modes(layer {self.layer}: {heads} attention heads, {modes} modes of width {self.u.shape[-1]})"


def check_mode(layer: int, shape: Sequence[int], head: int, mode: int) -> None:
    """Refuse an attention head or a mode that a layer of ``(heads, modes)`` does not have."""
    heads, modes = shape
    check_whole("the attention head", head)
    check_whole("the mode", mode)
    if head >= heads:
        raise InputError(f"layer {layer} has attention heads 0 to {heads - 1}, got {head}")
    if mode >= modes:
        raise InputError(f"attention head {head} of layer {layer} has modes 0 to {modes - 1} here, got {mode}")


def fold_norm(weight: Tensor, norm: Norm | None) -> Tensor:
    """Projection weights ``(..., d)`` with the norm's gain and centring folded in: they act on ``x / std``.

    LayerNorm is ``gain * (x - mean) / std + shift``; the centring is the projection ``P = I - 11^T/d``.
    """
    if norm is None:
        return weight
    if norm.weight is not None:
        weight = weight * norm.weight.detach().to(weight)
    return weight - weight.mean(-1, keepdim=True) if norm.kind == "layer" else weight


def fold_head_norm(weight: Tensor, norm: Norm | None) -> Tensor:
    """Weights ``(heads, head_dim, ...)`` with centring and gain of the norm of queries or keys: before its division."""
    if norm is None:
        return weight
    if norm.kind == "layer":
        weight = weight - weight.mean(1, keepdim=True)
    if norm.weight is None:
        return weight
    gain = norm.weight.detach().to(weight)
    return weight * gain.reshape(*gain.shape, *(1,) * (weight.ndim - 2))


def _weights(record: QueryKey, fold: bool, dtype: torch.dtype, turn: Turn | None) -> tuple[Tensor, Tensor]:
    """Query and key weights whose product is M, ``(heads, head_dim, d)`` each; keys of a group are not repeated."""
    if record.position_query is not None:
        raise InputError(
            f"{record.name} has position_query, which dissection does not handle; its modes would not describe its "
            "logits"
        )
    if record.query.is_meta:
        raise InputError(f"{record.name} is on the meta device: its weights have no numbers; load them first")
    query, key = record.query.detach().to(dtype), record.key.detach().to(dtype)
    if (len(key) * record.groups, *key.shape[1:]) != query.shape:
        raise InputError(
            f"{record.name}: queries are {tuple(query.shape)}, keys {(len(key) * record.groups, *key.shape[1:])} after "
            "grouping"
        )
    if fold:
        query, key = fold_norm(query, record.input_norm), fold_norm(key, record.input_norm)
    query, key = fold_head_norm(query, record.q_norm), fold_head_norm(key, record.k_norm)
    if turn is not None:  # of the queries, which groups do not share
        query = turn.transposed()(query.mT).mT
    return query, key


def folded_weights(
    record: QueryKey, fold: bool = True, dtype: torch.dtype = torch.float64, turn: Turn | None = None
) -> tuple[Tensor, Tensor]:
    """Query and key weights of every query head, ``(heads, head_dim, d)``, with ``M = query^T key``.

    The norms' gains and centrings are folded in, the turn between queries and keys is part of the queries, and grouped
    keys are repeated.
    """
    query, key = _weights(record, fold, dtype, turn)
    return query, key.repeat_interleave(record.groups, 0)


def _thin(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal rows q and square factors r with ``rows = r q``, both batched.

    By reflections: from Gram matrices (Cholesky, twice, which keeps the digits) it takes as long.
    """
    q, r = torch.linalg.qr(rows.mT)
    return q.mT, r.mT


def decompose(query: Tensor, key: Tensor, groups: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """SVD of ``query^T key``, batched, from thin orthogonal factors: what is decomposed is head_dim x head_dim.

    Parameters
    ----------
    query : Tensor, shape (..., heads, head_dim, d)
    key : Tensor, shape (..., heads / groups, head_dim, d)

    Returns
    -------
    u, sigma, v : Tensor, shapes (..., heads, modes, d), (..., heads, modes), (..., heads, modes, d)
    """
    left, left_factor = _thin(query)
    right, right_factor = _thin(key)
    if groups > 1:
        right, right_factor = (t.repeat_interleave(groups, -3) for t in (right, right_factor))
    inner_u, sigma, inner_v = torch.linalg.svd(left_factor.mT @ right_factor)
    return inner_u.mT @ left, sigma, inner_v @ right


def modes(
    record: QueryKey,
    fold: bool = True,
    dtype: torch.dtype = torch.float64,
    *,
    context: int | None = None,
    places: tuple[int, int] | None = None,
) -> Modes:
    """Modes of every attention head of one layer; parameters and errors as in `all_modes`.

    Examples
    --------
    >>> import torch
    >>> from headwise.contracts import QueryKey
    >>> weight = torch.eye(4)[None, :2]
    >>> modes(QueryKey(0, "attn", weight, weight)).sigma
    tensor([[1., 1.]], dtype=torch.float64)
    """
    return all_modes([record], fold, dtype, context=context, places=places)[0]


def all_modes(
    records: Sequence[QueryKey],
    fold: bool = True,
    dtype: torch.dtype = torch.float64,
    *,
    context: int | None = None,
    places: tuple[int, int] | None = None,
) -> list[Modes]:
    """Modes of every attention head of all layers; those of a layer go through one batched decomposition.

    Parameters
    ----------
    records : sequence of QueryKey
    fold : bool
        Fold the norm in front of the layer into M.
    dtype : torch.dtype
        Precision, float64 by default.
    context : int, optional
        Tokens of the context, for rotary embeddings: M is the mean over all pairs of places of which the query sees the
        key.
    places : (int, int), optional
        Places of one query and one key, for rotary embeddings: M is that of this pair.

    Returns
    -------
    list of Modes
        Their ``about`` says what M leaves out.

    Raises
    ------
    InputError
        A record with positional queries, by name; rotary embeddings and neither context nor places; values of the wrong
        kind.

    Notes
    -----
    Pan et al., "Dissecting Query-Key Interaction in Vision Transformers" (arXiv 2405.14880), with the norm folded in.

    With the tokens ``z = x / std(x)`` of a layer behind a norm, its logits are ``z_q^T M z_k``, a term of the keys
    alone where queries have a bias, and constants that softmax cancels. What more there is: rotary embeddings put a
    rotation that depends on the two places between queries and keys, so that M is that of a pair of places or the mean
    over a context. Biases by place and windows are added, and M is that of the content beside them. Norms of queries
    and keys divide each by a positive number of its token: their gain and centring are part of M, the division is not.
    """
    check_flag("fold", fold)
    check_whole("context", context, least=1, or_none=True)
    if places is not None:
        _check_places(places)
    found = []
    records = as_list("records", records, QueryKey, "records, as model.query_keys() gives them")
    for record in records:  # a layer at a time: what is in work stays in the processor's cache
        turn = relative_turn(record, context, places)
        u, sigma, v = decompose(*_weights(record, fold, dtype, turn), record.groups)
        found.append(Modes(record.layer, sigma, u, v, fold, record.leaves_out, _about(record, context, places), turn))
    return found


def _check_places(places: Any) -> None:
    if not isinstance(places, (tuple, list)) or len(places) != 2:
        raise InputError(f"places are one of a query and one of a key, two whole numbers from 0, got {places!r}")
    for name, place in zip(("query", "key"), places, strict=True):
        check_whole(f"the place of the {name}", place)


def _about(record: QueryKey, context: int | None, places: tuple[int, int] | None) -> str:
    said = []
    if record.rotary is not None and places is not None:
        said.append(f"of a query at place {places[0]} and a key at place {places[1]}")
    elif record.rotary is not None:
        said.append(f"the mean over the pairs of places that see each other among {context} tokens")
    if record.q_norm is not None or record.k_norm is not None:
        which = " and ".join(
            name for name, norm in (("queries", record.q_norm), ("keys", record.k_norm)) if norm is not None
        )
        said.append(f"{which} at unit norm: gains folded in, not the division by each token's own norm")
    if record.bias is not None or record.window is not None:
        what = " and ".join(
            name for name, value in (("biases by place", record.bias), ("windows", record.window)) if value is not None
        )
        said.append(f"of content alone, {what} apart")
    if torch.finfo(record.query.dtype).bits < 32:
        said.append(f"of weights in {str(record.query.dtype).removeprefix('torch.')}")
    if record.leaves_out:
        said.append(f"without {record.leaves_out}")
    return "; ".join(said)
