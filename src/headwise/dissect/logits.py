"""Logits from the record of a layer, and from its modes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..contracts import Norm, QueryKey, Rotary, Windows
from ..errors import InputError
from .modes import Modes

__all__ = ["mode_logits", "normalise", "record_logits", "visible_pairs"]


def normalise(tokens: Tensor, norm: Norm | None) -> Tensor:
    """Tokens over their standard deviation (or root mean square): what folded directions act on.

    Gain, centring and shift belong to the folded weights.
    """
    if norm is None:
        return tokens
    if norm.kind == "layer":
        return tokens / (tokens.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    return tokens / (tokens.square().mean(-1, keepdim=True) + norm.eps).sqrt()


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
    x = _full_norm(tokens, record.input_norm)
    if isinstance(record.window, Windows):
        index = record.window.index.to(x.device)
        if index.numel() != x.shape[1]:
            raise InputError(f"{record.name} has windows of {index.numel()} tokens together, got {x.shape[1]} tokens")
        x = x[:, index].flatten(0, 1)
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
        query, key = _turn(query, record.rotary), _turn(key, record.rotary)
    logits = record.scale * (query @ key.mT)
    if record.bias is None:
        return logits
    if record.bias.shape[-3:] != logits.shape[-3:]:
        raise InputError(
            f"{record.name} has biases {tuple(record.bias.shape)} for logits {tuple(logits.shape[-3:])} "
            "(attention heads, queries, keys)"
        )
    return logits + record.bias.detach().to(logits)


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


def mode_logits(found: Modes, record: QueryKey, tokens: Tensor) -> Tensor:
    """Logits up to a constant for each row, ``(B, heads, s, s)``, from tokens at the layer's input.

    Softmax over keys cancels what depends on the query alone; the key-only term of the query bias stays.
    """
    x = normalise(tokens.to(found.u.dtype), record.input_norm)
    left = torch.einsum("bsd,hnd->bhsn", x, found.u) * found.sigma[:, None]
    logits = left @ torch.einsum("btd,hnd->bhnt", x, found.v)
    query, key = (w.detach().to(x) for w in (record.query, record.key))
    if record.groups > 1:
        key = key.repeat_interleave(record.groups, 0)
    shift = None if record.input_norm is None else record.input_norm.bias
    # the constant part of every query: W_q shift + b_q, seen by the keys that tokens decide
    constant = torch.zeros_like(query[..., 0])
    if shift is not None:
        constant = constant + query @ shift.detach().to(x)
    if record.query_bias is not None:
        constant = constant + record.query_bias.detach().to(x)
    direction = torch.einsum("he,hed->hd", constant, key)
    if record.input_norm is not None and record.input_norm.weight is not None:
        direction = direction * record.input_norm.weight.detach().to(x)
    if record.input_norm is not None and record.input_norm.kind == "layer":
        direction = direction - direction.mean(-1, keepdim=True)
    return record.scale * (logits + torch.einsum("btd,hd->bht", x, direction)[:, :, None, :])


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


def _turn(x: Tensor, rotary: Rotary) -> Tensor:
    cos, sin = (table.to(x) for table in rotary.tables(x.shape[2]))
    pairs = cos.shape[-1]
    turned, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
    if rotary.layout == "halves":
        a, b = turned.chunk(2, -1)
        turned = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
    else:
        a, b = turned[..., ::2], turned[..., 1::2]
        turned = torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
    return torch.cat((turned, rest), -1)
