"""One attention layer at work: what enters it, the logits that it computes, and which of them count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..contracts import QueryKey
from ..errors import HeadwiseError, InputError
from .turning import visible_pairs

__all__ = ["Seen", "entering_tokens", "output_tokens", "seen_layer"]

_MASKED = -1e8
"""Logits below this are masked: models hide a pair of tokens by minus infinity or the lowest number of a precision."""

_NO_WEIGHT = -69.0
"""Logarithm of a share of attention that is none: some models hide pairs by a finite number (Swin adds -100)."""


@dataclass(frozen=True)
class Seen:
    """One layer at work, in float64, after its record was found to describe it.

    Attributes
    ----------
    number : int
        Of the record among those that are checked.
    record : QueryKey
    tokens : Tensor, shape (n, s, d)
        What enters the layer, before its norm.
    logits : Tensor, shape (n, heads, s, s)
        What its softmax takes, or ``(n * windows, heads, t, t)``.
    used : Tensor of bool
        Like ``logits``: pairs that see each other, padding left out.
    """

    number: int
    record: QueryKey
    tokens: Tensor
    logits: Tensor
    used: Tensor


def seen_layer(number: int, record: QueryKey, tokens: Tensor, logits: Tensor, got: Tensor) -> Seen:
    if logits.numel() != got.numel() or logits.shape[-2:] != got.shape[-2:]:
        raise HeadwiseError(
            f"the record of {record.name} describes logits {tuple(got.shape)}, the model computes "
            f"{tuple(logits.shape)}; nothing is reported about it"
        )
    logits = logits.reshape(got.shape)
    return Seen(number, record, tokens, logits, _used(record, logits))


def output_tokens(output: Any, record: QueryKey) -> Tensor:
    """The tensor of tokens in the output of an attention module."""
    values = output if isinstance(output, Tensor) else next(v for v in output if isinstance(v, Tensor))
    return values.detach().transpose(0, 1) if record.tokens_first and values.ndim == 3 else values.detach()


def _used(record: QueryKey, logits: Tensor) -> Tensor:
    """Pairs that are compared, like ``logits``: those that tokens see, padding left out."""
    shown = visible_pairs(record, logits.shape[-1], logits.device)
    if shown.ndim == 3:  # by window
        shown = shown.repeat(len(logits) // len(shown), 1, 1)[:, None]
    masked = logits <= _MASKED
    seen = shown & ~masked
    padding = ~seen.flatten(1, 2).any(1)  # keys that no query of any attention head sees
    real = ~(padding[:, None, :, None] | padding[:, None, None, :])
    says = record.causal is not None or isinstance(record.window, int)
    if says and bool((shown & masked & real).any()):
        raise HeadwiseError(f"{record.name} hides pairs of tokens that its record shows; nothing is reported about it")
    shares = (logits - logits.logsumexp(-1, keepdim=True)).masked_fill(padding[:, None, :, None], -torch.inf)
    if bool(((shares > _NO_WEIGHT) & ~shown).any()):
        raise HeadwiseError(f"{record.name} shows pairs of tokens that its record hides; nothing is reported about it")
    return seen & real


def entering_tokens(record: QueryKey, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Tokens ``(n, s, d)`` from the arguments of the module that takes them."""
    width = record.query.shape[-1]
    given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    for value in given:
        if value.is_floating_point() and value.ndim > 1 and value.shape[-1] == width:
            tokens = value.detach().clone()
            if tokens.ndim == 2:
                return tokens[None]
            return tokens.transpose(0, 1) if record.tokens_first else tokens.flatten(1, -2)
    found = f"{tuple(given[0].shape)} of {str(given[0].dtype).removeprefix('torch.')}" if given else "nothing"
    raise InputError(
        f"{record.name} reads tokens of width {width}, floating-point numbers, and these inputs give "
        f"{record.reads or record.name} {found}; give inputs with tokens of that width"
    )
