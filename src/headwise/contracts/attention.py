"""What decides the logits of an attention layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

__all__ = ["AttentionModel", "Norm", "QueryKey", "Rotary", "Windows"]


@dataclass(frozen=True)
class Norm:
    """A normalisation in front of (or inside) an attention layer."""

    kind: Literal["layer", "rms"]
    weight: Tensor | None
    bias: Tensor | None
    eps: float


@dataclass(frozen=True)
class Rotary:
    """Queries and keys turned by the place of their token: pair p by ``(a, b) -> (c a - s b, c b + s a)``.

    Parameters
    ----------
    tables : callable
        ``tables(s)`` gives the cosines c and sines s of ``s`` tokens, prefix tokens included, each ``(s, pairs)`` or
        ``(heads, s, pairs)``. Where a token is not turned, the cosine is 1 and the sine 0. A factor of the logits that
        some models put into their tables is part of both.
    layout : {"halves", "neighbours"}
        Which coordinates are a pair: p and ``p + pairs``, or ``2 p`` and ``2 p + 1``. Coordinates beyond
        ``2 * pairs`` are not turned.
    """

    tables: Callable[[int], tuple[Tensor, Tensor]]
    layout: Literal["halves", "neighbours"]


@dataclass(frozen=True)
class Windows:
    """A partition of tokens into windows, which do not see each other.

    Parameters
    ----------
    index : Tensor of int, shape (windows, t)
        Places of the t tokens of each window among the layer's tokens (in row-major order of their grid).
    visible : Tensor of bool, shape (windows, t, t), or None
        Which tokens of a window see each other, where not all do (shifted windows join what is far apart).
    """

    index: Tensor
    visible: Tensor | None = None


@dataclass(frozen=True)
class QueryKey:
    """Everything that decides the logits of one attention layer.

    With x the tokens, ``q = rotary(q_norm(query input_norm(x) + query_bias))``, keys likewise, the logits of an
    attention head are ``scale q k^T + bias``.

    Parameters
    ----------
    layer : int
        Place among the attention layers of the model, from 0.
    name : str
        Path of the attention module in the model.
    query, key : Tensor, shape (heads, head_dim, d)
        Weights of each attention head. With grouped queries ``key`` has fewer heads; ``groups`` tells how many query
        heads share one.
    query_bias, key_bias : Tensor, shape (heads, head_dim), or None
    input_norm : Norm or None
        What normalises the residual stream before the projections.
    q_norm, k_norm : Norm or None
        Normalisation of queries and keys, per attention head, before any rotation.
    scale : float
        Factor of the logits, usually ``head_dim ** -0.5``.
    rotary : Rotary or None
    bias : Tensor, shape (heads, s, s), or None
        What is added to the logits of s tokens, or within each window.
    position_query : object or None
        Positional queries.
    window : Windows, int or None
        What a token may see: its window, or so many tokens up to itself (the others are hidden).
    groups : int
        Query heads for each key head.
    causal : bool or None
        Whether tokens see only themselves and those before; None where the caller of the module decides, by a mask.
    reads : str
        Path of the module whose first argument are the tokens x; the attention module itself where it is empty.
    tokens_first : bool
        Whether that argument is ``(s, n, d)``, tokens before samples.
    leaves_out : str
        What decides the attention besides all this, in words; empty where the record is exact. The modes of such a
        record are those of the rest. Gates of its attention, and its logits against those of the model, are refused.

    Notes
    -----
    Dissection refuses by name a field that it cannot handle.
    """

    layer: int
    name: str
    query: Tensor
    key: Tensor
    query_bias: Tensor | None = None
    key_bias: Tensor | None = None
    input_norm: Norm | None = None
    q_norm: Norm | None = None
    k_norm: Norm | None = None
    scale: float = 1.0
    rotary: Rotary | None = None
    bias: Tensor | None = None
    position_query: Any = None
    window: Windows | int | None = None
    groups: int = 1
    causal: bool | None = None
    reads: str = ""
    tokens_first: bool = False
    leaves_out: str = ""


@runtime_checkable
class AttentionModel(Protocol):
    """A network whose attention layers are known."""

    name: str
    model: nn.Module

    def tokens(
        self, inputs: Any, /, layers: Sequence[int] = (-1,), at: Literal["output", "block_input"] = "output"
    ) -> list[Tensor]:
        """One tensor for each layer asked for, from what the network takes; see `Backbone.tokens`."""
        ...

    def query_keys(self) -> list[QueryKey]:
        """One record for each attention layer, in order."""
        ...
