"""Logits from the record of a layer, whole and in parts, and from its modes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..contracts import Norm, QueryKey, Windows
from ..errors import InputError
from .modes import Modes, fold_head_norm, fold_norm
from .turning import Turn, token_turn

__all__ = ["Parts", "centred", "logit_parts", "mode_factors", "mode_logits", "normalise", "record_logits"]


def normalise(tokens: Tensor, norm: Norm | None) -> Tensor:
    """Tokens over their standard deviation (or root mean square): what folded directions act on.

    Gain, centring and shift belong to the folded weights.
    """
    return tokens if norm is None else tokens / _spread(tokens, norm)


def _spread(x: Tensor, norm: Norm) -> Tensor:
    if norm.kind == "layer":
        return (x.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    return (x.square().mean(-1, keepdim=True) + norm.eps).sqrt()


def record_logits(record: QueryKey, tokens: Tensor) -> Tensor:
    """Logits of tokens ``(n, s, d)`` that enter the layer, before its norm.

    Returns
    -------
    Tensor, shape (n, heads, s, s)
        With windows of t tokens ``(n * windows, heads, t, t)``. What is hidden is not masked; see `visible_pairs`.

    Raises
    ------
    InputError
        Positional queries, a record that leaves something out, or shapes that do not belong together; names the layer.
    """
    if record.position_query is not None:
        raise InputError(f"{record.name} has position_query, whose logits are not reconstructed")
    if record.leaves_out:
        raise InputError(f"{record.name} has {record.leaves_out}, which its record leaves out")
    x = in_windows(record, _full_norm(tokens, record.input_norm))
    query = _full_norm(_project(x, record.query, record.query_bias), record.q_norm)
    key = _full_norm(_project(x, record.key, record.key_bias), record.k_norm)
    if record.groups > 1:
        key = key.repeat_interleave(record.groups, 1)
    if query.shape != key.shape:
        raise InputError(
            f"{record.name}: queries are {tuple(query.shape)}, keys {tuple(key.shape)} with {record.groups} query "
            "heads for each key head"
        )
    if record.rotary is not None:
        turn = token_turn(record.rotary, query.shape[2])
        query, key = turn(query), turn(key)
    logits = record.scale * (query @ key.mT)
    if record.bias is None:
        return logits
    if record.bias.shape[-3:] != logits.shape[-3:]:
        raise InputError(
            f"{record.name} has biases {tuple(record.bias.shape)} for logits {tuple(logits.shape[-3:])} "
            "(attention heads, queries, keys)"
        )
    return logits + record.bias.detach().to(logits)


@dataclass(frozen=True)
class Parts:
    """Logits as a sum, each part ``(n, heads, s, s)`` or of a shape that is broadcast to it; None is nothing.

    Attributes
    ----------
    content : Tensor
        Products of queries and keys without the constants of either: what modes describe.
    query_only : Tensor
        Queries with the constant of the keys (their bias, the shift of the norm): constant over the keys, and without
        effect on attention, but where a norm of the keys weighs it.
    key_only : Tensor
        The constant of the queries with the keys: which keys are preferred by every query.
    position : Tensor or None
        Biases by place, and the constants turned against each other.
    turning : Tensor or None
        What rotary embeddings make of content at its places, less what they make of it on average.
    """

    content: Tensor
    query_only: Tensor
    key_only: Tensor
    position: Tensor | None = None
    turning: Tensor | None = None

    def apart(self) -> Tensor:
        """All but the content, summed."""
        return self.query_only + self.key_only + sum(t for t in (self.position, self.turning) if t is not None)


@dataclass(frozen=True)
class _Side:
    """Queries or keys in two parts, ``(n, heads, s, head_dim)``, and what the norm of each divided it by."""

    content: Tensor
    constant: Tensor
    spread: Tensor | None


def logit_parts(record: QueryKey, tokens: Tensor, turn: Turn | None = None) -> Parts:
    """The logits of `record_logits` in parts.

    Parameters
    ----------
    record : QueryKey
    tokens : Tensor, shape (n, s, d)
        What enters the layer, before its norm.
    turn : Turn or None
        What is taken for the turn between queries and keys in all parts but the last two, with rotary embeddings:
        `Modes.turn`. Whatever it is, the sum is the logits.
    """
    z = in_windows(record, normalise(tokens, record.input_norm))
    query, key = _sides(record, z)
    constants = (query.constant, key.constant)

    def products(q: Tensor, k: Tensor) -> Tensor:
        return record.scale * (q @ k.mT)

    between = key if turn is None else _Side(turn(key.content), turn(key.constant), key.spread)
    content = products(query.content, between.content)
    query_only = products(query.content, between.constant)
    key_only = products(query.constant, between.content + between.constant)
    position = None if record.bias is None else record.bias.detach().to(z)
    if record.rotary is None:
        return Parts(content, query_only, key_only, position)
    own = token_turn(record.rotary, z.shape[1])

    def placed(q: Tensor, k: Tensor) -> Tensor:
        q, k = (own(t.expand(*t.shape[:2], z.shape[1], t.shape[3])) for t in (q, k))
        return products(q, k)

    still = products(query.constant, between.constant)
    moved = placed(*constants) - still
    position = moved if position is None else position + moved
    whole = placed(query.content + query.constant, key.content + key.constant)
    return Parts(content, query_only, key_only, position, whole - content - query_only - key_only - moved)


def mode_factors(found: Modes, record: QueryKey, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """What each query and each key has of each mode, ``(n, heads, s, modes)``; their products are the content's logits.

    Scale and singular values are on the side of the queries. Where norms divide queries or keys, so are these.
    """
    x = normalise(tokens.to(found.u.dtype), record.input_norm if found.norm_folded else None)
    z = in_windows(record, x)
    left = torch.einsum("nsd,hmd->nhsm", z, found.u) * (record.scale * found.sigma[:, None])
    right = torch.einsum("nsd,hmd->nhsm", z, found.v)
    if record.q_norm is not None or record.k_norm is not None:
        normed = z if found.norm_folded else in_windows(record, normalise(tokens.to(z), record.input_norm))
        query, key = _sides(record, normed)
        left = left if query.spread is None else left / query.spread
        right = right if key.spread is None else right / key.spread
    return left, right


def mode_logits(found: Modes, record: QueryKey, tokens: Tensor) -> Tensor:
    """Logits from the modes and from what stands beside them, ``(n, heads, s, s)``, of tokens at the layer's input.

    The content is that of the modes alone; the other parts are those of the record (`logit_parts`).
    """
    left, right = mode_factors(found, record, tokens)
    return left @ right.mT + logit_parts(record, tokens.to(left), found.turn).apart()


def in_windows(record: QueryKey, x: Tensor) -> Tensor:
    """Tokens ``(n, s, ...)`` as ``(n * windows, t, ...)`` where a layer has windows of t tokens, else as they are."""
    if not isinstance(record.window, Windows):
        return x
    index = record.window.index.to(x.device)
    if index.numel() != x.shape[1]:
        raise InputError(f"{record.name} has windows of {index.numel()} tokens together, got {x.shape[1]} tokens")
    return x[:, index].flatten(0, 1)


def centred(logits: Tensor, used: Tensor) -> Tensor:
    """Logits less their mean over the keys that are used, and 0 for the others: softmax cancels row constants."""
    logits = logits.expand(used.shape).masked_fill(~used, 0)
    mean = logits.sum(-1, keepdim=True) / used.sum(-1, keepdim=True).clamp(min=1)
    return (logits - mean).masked_fill(~used, 0)


def _sides(record: QueryKey, z: Tensor) -> tuple[_Side, _Side]:
    shift = None if record.input_norm is None else record.input_norm.bias

    def side(weight: Tensor, bias: Tensor | None, norm: Norm | None) -> _Side:
        weight = weight.detach().to(z)
        constant = torch.zeros_like(weight[..., 0]) if bias is None else bias.detach().to(z)
        if shift is not None:
            constant = constant + weight @ shift.detach().to(z)
        content = _project(z, fold_norm(weight, record.input_norm), None)
        constant = constant[None, :, None]
        if norm is None:
            return _Side(content, constant, None)
        spread = _spread(content + constant, norm)
        content = _project(z, fold_head_norm(fold_norm(weight, record.input_norm), norm), None) / spread
        constant = fold_head_norm(constant[0, :, 0], norm)[None, :, None] / spread
        return _Side(content, constant if norm.bias is None else constant + _per_head(norm.bias, z), spread)

    query = side(record.query, record.query_bias, record.q_norm)
    key = side(record.key, record.key_bias, record.k_norm)
    if record.groups > 1:
        content, constant = (t.repeat_interleave(record.groups, 1) for t in (key.content, key.constant))
        spread = None if key.spread is None else key.spread.repeat_interleave(record.groups, 1)
        key = _Side(content, constant, spread)
    return query, key


def _per_head(values: Tensor, like: Tensor) -> Tensor:
    """Numbers of a norm, ``(head_dim,)`` or ``(heads, head_dim)``, so that they are broadcast to queries."""
    values = values.detach().to(like)
    return values if values.ndim == 1 else values[:, None]


def _project(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Queries or keys ``(n, heads, s, head_dim)``."""
    found = torch.einsum("nsd,hed->nhse", x, weight.detach().to(x))
    return found if bias is None else found + bias.detach().to(x)[:, None]


def _full_norm(x: Tensor, norm: Norm | None) -> Tensor:
    """The norm as the model applies it: centring, scale, gain and shift."""
    if norm is None:
        return x
    if norm.kind == "layer":
        x = x - x.mean(-1, keepdim=True)
    x = normalise(x, norm)
    if norm.weight is not None:
        x = x * norm.weight.detach().to(x)
    return x if norm.bias is None else x + norm.bias.detach().to(x)
