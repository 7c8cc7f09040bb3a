"""The attention maps of a layer as gates: the backbone's own, or those of the tokens' likeness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..contracts import Block, GateKind, GateValues, QueryKey, TokenShape
from ..errors import InputError
from . import GATES
from .frozen import frozen

__all__ = ["AttentionMapGates", "AttentionMaps"]

NORMS = (None, "layer", "rms")


class AttentionMapGates:
    """``D_h = softmax(Q_h K_h^T)`` of each attention head h over the tokens of the part; rows sum to one.

    The gain and shift of the norm in front of the layer are part of the weights, and so is the scale of the logits.
    What depends on the query alone cancels in the softmax.
    """

    def __init__(self, query: Tensor, query_bias: Tensor, key: Tensor, norm: Tensor) -> None:
        self.query, self.query_bias, self.key, self.norm = query, query_bias, key, norm
        self.count = len(query) if len(query) else 1
        self._kind, self._eps = NORMS[int(norm[0])], float(norm[1])

    def _normalised(self, tokens: Tensor) -> Tensor:
        if self._kind == "layer":
            return F.layer_norm(tokens, tokens.shape[-1:], eps=self._eps)
        return tokens if self._kind is None else tokens / (tokens.square().mean(-1, keepdim=True) + self._eps).sqrt()

    def values(self, tokens: Tensor, index: int) -> GateValues:
        x = self._normalised(tokens)
        if len(self.query):
            q = x @ self.query[index].to(x).T + self.query_bias[index].to(x)
            logits = q @ (x @ self.key[index].to(x).T).transpose(1, 2)
        else:
            logits = x @ x.transpose(1, 2) / x.shape[-1] ** 0.5
        hidden = tokens.abs().sum(-1) == 0  # hidden tokens are zero
        # finite, so that a sample of hidden tokens alone stays a number
        return torch.where(hidden[:, None, :], torch.finfo(x.dtype).min, logits).softmax(-1)

    def tensors(self) -> dict[str, Tensor]:
        return {"query": self.query, "query_bias": self.query_bias, "key": self.key, "norm": self.norm}


@GATES.register("attention_maps")
class AttentionMaps:
    """One gate for each attention head of a layer of the backbone; ``count`` and ``seed`` change nothing.

    The tokens must be those that enter the layer: extract them with ``at="block_input"`` (or take the output of the
    layer before). A token store knows where its tokens came from, and others are refused; arrays are taken on trust.
    Maps are taken among the tokens of the part.

    Parameters
    ----------
    record : QueryKey, optional
        The layer, for example ``backbone.query_keys()[-1]``. Without one, and so with ``gate="attention_maps"`` from
        Python, the single gate is the likeness of the tokens, ``softmax(x x^T / sqrt(d))`` after a layer norm; only
        ``headwise fit --gate attention_maps`` looks for the backbone of a store.

    Raises
    ------
    InputError
        The layer has rotary embeddings, biases of the logits, windows, a causal mask, norms of queries and keys, or
        what its record leaves out; or (in a fit) weights that are not finite, tokens of another width, or a store that
        says that another layer reads them; or what was given is no record.

    Examples
    --------
    >>> import headwise, torch
    >>> record = headwise.load_backbone("embedded").query_keys()[-1]
    >>> part = headwise.PartSpec("attention", gate=headwise.AttentionMaps(record))
    >>> tokens = torch.randn(2, 5, 128)
    >>> AttentionMaps(record).fit(None, None, [tokens], 1, 0).values(tokens, 0).sum(-1).round(decimals=4).unique()
    tensor([1.])
    """

    name = "attention_maps"
    kinds: tuple[GateKind, ...] = ("pair",)
    raw = True

    def __init__(self, record: QueryKey | None = None) -> None:
        if record is not None and not isinstance(record, QueryKey):
            raise InputError(
                f"AttentionMaps takes the record of one layer, got {type(record).__name__}; give one of "
                "backbone.query_keys(), for example the last: backbone.query_keys()[-1]"
            )
        if record is not None:
            unknown = [
                field
                for field in ("rotary", "bias", "position_query", "window", "q_norm", "k_norm")
                if getattr(record, field) is not None
            ]
            if record.leaves_out:
                unknown.append(record.leaves_out)
            if record.causal:
                unknown.append("a causal mask")
            if unknown:
                raise InputError(f"{record.name} has {' and '.join(unknown)}; gates of its attention are not made")
        self.record = record

    def check_origin(self, origin: Mapping[str, Any] | None) -> None:
        """Refuse tokens that the layer does not read, where it is known where they came from."""
        if self.record is None or origin is None:
            return
        before = origin["at"] == "output"  # the output of a layer is what the next one reads
        if origin["layer"] + before == self.record.layer:
            return
        place = "the output of" if before else "those that enter"
        raise InputError(
            f"these gates are the attention maps of {self.record.name}, whose tokens are those that enter layer "
            f"{self.record.layer}; the store holds {place} layer {origin['layer']} of {origin['backbone']}. Extract "
            f"with layer {self.record.layer} and at='block_input' (--layer {self.record.layer} --at block_input), "
            "or take AttentionMaps() for maps of the tokens' likeness"
        )

    def fit(
        self, block: Block, shape: TokenShape, tokens: Iterable[Tensor], count: int, seed: int
    ) -> AttentionMapGates:
        record = self.record
        if record is None:
            empty = torch.zeros(0, dtype=torch.float64, device="cpu")
            return AttentionMapGates(empty, empty, empty, _norm_numbers("layer", 1e-6))
        width = next(iter(tokens)).shape[-1]
        query, key = (frozen(record.name, weights) for weights in (record.query, record.key))
        if width != query.shape[-1]:
            raise InputError(f"{record.name} takes tokens of width {query.shape[-1]}, got width {width}")
        bias = torch.zeros_like(query[..., 0])
        if record.query_bias is not None:
            bias = frozen(record.name, record.query_bias)
        norm = record.input_norm
        if norm is not None:
            if norm.bias is not None:
                bias = bias + query @ frozen(record.name, norm.bias)
            if norm.weight is not None:
                gain = frozen(record.name, norm.weight)
                query, key = query * gain, key * gain
        if record.groups > 1:
            key = key.repeat_interleave(record.groups, 0)
        kind = _norm_numbers(norm.kind if norm else None, norm.eps if norm else 0.0)
        return AttentionMapGates(record.scale * query, record.scale * bias, key.contiguous(), kind)

    def restore(self, block: Block, shape: TokenShape, tensors: Mapping[str, Tensor]) -> AttentionMapGates:
        return AttentionMapGates(tensors["query"], tensors["query_bias"], tensors["key"], tensors["norm"])


def _norm_numbers(kind: str | None, eps: float) -> Tensor:
    """Kind and epsilon of the norm in front of the layer, as they are saved."""
    return torch.tensor([NORMS.index(kind), eps], dtype=torch.float64, device="cpu")
