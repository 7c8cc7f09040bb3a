"""Check that modes describe the logits that the model computes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..contracts import Backbone, Norm, QueryKey
from ..errors import HeadwiseError
from .modes import Modes

__all__ = ["BOUND", "check_logits", "normalise"]

BOUND = 1e-6
"""Largest difference of row-centred logits that is accepted, as a share of their spread."""


def normalise(tokens: Tensor, norm: Norm | None) -> Tensor:
    """Tokens over their standard deviation (or root mean square): what folded directions act on.

    Gain, centring and shift belong to the folded weights.
    """
    if norm is None:
        return tokens
    if norm.kind == "layer":
        return tokens / (tokens.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    return tokens / (tokens.square().mean(-1, keepdim=True) + norm.eps).sqrt()


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


@torch.no_grad()
def check_logits(model: Backbone, records: list[QueryKey], found: list[Modes], images: Tensor) -> list[float]:
    """Largest difference between the model's own logits and those of its modes, for each layer.

    The model runs in float64, twice whatever its depth: once for the tokens that enter each layer, once for the queries
    and keys of its own projections. Their scale is that of the model's attention modules, not that of the records. Both
    sides are centred over keys, and the difference is a share of the spread (standard deviation) of the logits.

    Raises
    ------
    HeadwiseError
        A layer above 1e-6, by name: nothing may be reported about it.
    """
    module = model.model
    kept = next(module.parameters()).dtype
    differences = []
    module.double()
    try:
        batch = images.double()
        inputs = model.tokens(batch, range(len(records)), at="block_input")
        computed = model.projections(batch)  # type: ignore[attr-defined]
        for layer, (record, each) in enumerate(zip(records, found, strict=True)):
            q, k, scale = computed[layer]
            wanted = scale * q @ k.transpose(-1, -2)
            got = mode_logits(each, record, inputs[layer])
            wanted, got = wanted - wanted.mean(-1, keepdim=True), got - got.mean(-1, keepdim=True)
            difference = float((wanted - got).abs().max() / wanted.std().clamp(min=1e-12))
            if not difference <= BOUND:
                raise HeadwiseError(
                    f"the modes of {record.name} do not describe its logits: they differ by {difference:.1e} of their "
                    "spread "
                    f"(at most {BOUND:g} is accepted), so nothing is reported; please send the name of the model"
                )
            differences.append(difference)
    finally:
        module.to(kept)
    return differences
