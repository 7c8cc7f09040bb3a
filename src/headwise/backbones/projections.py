"""Attention with linear maps of its own for queries and keys, apart or fused, as in timm and Hugging Face models."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..contracts import Norm, QueryKey
from ..errors import InputError
from . import READERS
from .positions import read_bias, read_rotary, read_window
from .reading import Place, as_norm

__all__ = ["input_norm", "projection_names", "read_projections"]

# Names by which libraries call the same parts.
_APART = (("query", "key"), ("q_proj", "k_proj"), ("q_lin", "k_lin"), ("to_q", "to_k"), ("q", "k"))
_FUSED = ("qkv", "c_attn", "qkv_proj", "Wqkv")  # rows: all queries, then all keys, then all values
_HEADS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "heads")
_HEAD_WIDTH = ("head_dim", "attention_head_size")
_HEAD_NORMS = (("q_norm", "k_norm"), ("q_layernorm", "k_layernorm"), ("query_norm", "key_norm"))
_BEFORE = ("norm1", "layernorm_before", "layer_norm1", "ln_1", "input_layernorm", "norm_before", "attention_norm")

# What changes the logits in a way that no field of the record describes.
_OTHER = {
    "logit_scale": "cosine attention",
    "sinks": "learned sinks",
    "attn_logit_softcapping": "capped logits",
    "has_relative_attention_bias": "relative biases by bucket",
    "distance_embedding": "relative keys",
}
_OF_CONFIG = ("attn_logit_softcapping",)  # which the modules of some models read where they need it


@READERS.register("projections")
def read_projections(place: Place) -> QueryKey | None:
    """Record of a module with linear maps for queries and keys; None where it has none, or no number of heads.

    Raises
    ------
    InputError
        Widths that the attention heads do not divide, maps or norms of an unknown kind, or something that changes the
        logits in a way that the record cannot describe.
    """
    attn = place.module
    heads = _number(attn, _HEADS)
    maps = projection_names(attn)
    if heads is None or maps is None or getattr(attn, "is_cross_attention", False):
        return None
    path = place.path
    for name, what in _OTHER.items():
        value = getattr(attn, name, getattr(getattr(attn, "config", None), name, None) if name in _OF_CONFIG else None)
        if value is not None and value is not False:
            raise InputError(f"{path} has {what} ({name}), which no record describes")
    names = [f"{path}.{name}" if path else name for name in maps]
    linear = [_linear(getattr(attn, name), full) for name, full in zip(maps, names, strict=True)]
    weights, biases = zip(*linear, strict=True)
    if len(maps) == 1:
        (query, key), (query_bias, key_bias) = _split(attn, heads, weights[0], biases[0], names[0])
    else:
        query, key, query_bias, key_bias = *weights, *biases
    width = _head_width(attn, heads, len(query), names[0])
    if len(key) % width or heads % (len(key) // width or 1):
        raise InputError(
            f"{names[-1]} has {len(key)} rows of keys, which do not make heads of width {width} that {heads} query "
            "heads can share"
        )
    norm, reads = input_norm(place)
    q_norm, k_norm = _head_norms(attn, path, width)
    return QueryKey(
        0,
        path,
        query.unflatten(0, (heads, width)),
        key.unflatten(0, (-1, width)),
        None if query_bias is None else query_bias.unflatten(0, (heads, width)),
        None if key_bias is None else key_bias.unflatten(0, (-1, width)),
        norm,
        q_norm,
        k_norm,
        scale=_scale(attn, width),
        rotary=read_rotary(place, width),
        bias=read_bias(place),
        window=read_window(place),
        groups=heads * width // len(key),
        # where a module says no, the mask may still come from outside (the text tower of CLIP)
        causal=True if getattr(attn, "is_causal", False) is True else None,
        reads=reads,
    )


def input_norm(place: Place) -> tuple[Norm | None, str]:
    """The norm in front of the attention of a layer and its path; None and "" where attention takes tokens as they are.

    A layer whose ``norm_first`` is False, as in torch, has its norms after attention.
    """
    layer = place.layer()
    if layer is None or getattr(layer[1], "norm_first", True) is False:
        return None, ""
    path, module = layer
    for name in _BEFORE:
        part = getattr(module, name, None)
        if isinstance(part, nn.Module) and not isinstance(part, nn.Identity):
            full = f"{path}.{name}" if path else name
            return as_norm(part, full), full
    return None, ""


def projection_names(attn: Any) -> tuple[str, ...] | None:
    """Names of the maps for queries and keys, apart or fused; None for a module without them."""
    for names in (*_APART, *((name,) for name in _FUSED)):
        if all(isinstance(getattr(attn, name, None), nn.Module) for name in names):
            return names
    return None


def _linear(module: Any, path: str) -> tuple[Tensor, Tensor | None]:
    """Weight ``(out, in)`` and bias."""
    if isinstance(module, nn.Linear):
        return module.weight, module.bias
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # GPT-2 of Hugging Face keeps the transpose
        return module.weight.mT, module.bias
    raise InputError(f"{path} is a {type(module).__name__}; a linear map (nn.Linear, Conv1D) was expected")


def _split(
    attn: Any, heads: int, weight: Tensor, bias: Tensor | None, path: str
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor | None, Tensor | None]]:
    """Rows of queries and of keys."""
    rows = len(weight)
    width = _number(attn, _HEAD_WIDTH)
    if width is None or rows == 3 * heads * width:
        if rows % (3 * heads):
            raise InputError(f"{path} has {rows} outputs, which {heads} attention heads cannot share in three")
        queries = keys = rows // 3
    else:  # fewer heads of keys and values than of queries
        queries, keys = heads * width, (rows - heads * width) // 2
        if keys <= 0 or queries + 2 * keys != rows:
            raise InputError(f"{path} has {rows} outputs, which {heads} attention heads of width {width} cannot share")
    query, key, _ = weight.split((queries, keys, keys))
    if bias is not None:
        query_bias, key_bias, _ = bias.split((queries, keys, keys))
        return (query, key), (query_bias, key_bias)
    # timm keeps some biases beside the map
    return (query, key), (getattr(attn, "q_bias", None), getattr(attn, "k_bias", None))


def _head_width(attn: Any, heads: int, rows: int, path: str) -> int:
    if rows % heads:
        raise InputError(f"{path} has {rows} rows of queries, which {heads} attention heads cannot share")
    return rows // heads


def _head_norms(attn: Any, path: str, width: int) -> tuple[Norm | None, Norm | None]:
    for names in _HEAD_NORMS:
        modules = [getattr(attn, name, None) for name in names]
        if any(isinstance(module, nn.Module) for module in modules):
            for name, module in zip(names, modules, strict=True):
                shape = getattr(getattr(module, "weight", None), "shape", getattr(module, "normalized_shape", (width,)))
                if tuple(shape) != (width,):
                    raise InputError(
                        f"{path}.{name} acts on {tuple(shape)} features; one attention head has {width}, and a norm of "
                        "several together is not described"
                    )
            query, key = (as_norm(m, f"{path}.{n}") for n, m in zip(names, modules, strict=True))
            return query, key
    return None, None


def _scale(attn: Any, width: int) -> float:
    for name in ("scaling", "scale"):
        value = getattr(attn, name, None)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, Tensor) and value.numel() == 1:
            return float(value)
    scale = width**-0.5 if getattr(attn, "scale_attn_weights", True) else 1.0
    if getattr(attn, "scale_attn_by_inverse_layer_idx", False):
        scale /= attn.layer_idx + 1
    return scale


def _number(attn: Any, names: tuple[str, ...]) -> int | None:
    for owner in (attn, getattr(attn, "config", None)):
        for name in names:
            value = getattr(owner, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None
