"""``torch.nn.MultiheadAttention``, alone or in the layers of ``torch.nn.TransformerEncoder``."""

from __future__ import annotations

from torch import Tensor, nn

from ..contracts import QueryKey
from ..errors import InputError
from . import READERS
from .projections import input_norm
from .reading import Place

__all__ = ["read_torch_attention"]


@READERS.register("torch")
def read_torch_attention(place: Place) -> QueryKey | None:
    """Record of a ``torch.nn.MultiheadAttention``; None for other modules.

    The mask is an argument of each call, so that nothing is known of it.

    Raises
    ------
    InputError
        Keys that are no map of the tokens: ``add_bias_kv``, ``add_zero_attn``, or a ``kdim`` of their own.
    """
    attn = place.module
    if not isinstance(attn, nn.MultiheadAttention):
        return None
    for name, has in (("add_bias_kv", attn.bias_k is not None), ("add_zero_attn", attn.add_zero_attn)):
        if has:
            raise InputError(f"{place.path} has keys that are no tokens ({name}), which no record describes")
    if attn.kdim != attn.embed_dim:
        raise InputError(
            f"{place.path} takes keys of width {attn.kdim} and queries of width {attn.embed_dim}: its keys come from "
            "other tokens, and only self-attention is described"
        )
    query: Tensor
    key: Tensor
    together: Tensor | None = attn.in_proj_weight
    if together is None:  # values have a width of their own
        query, key = attn.q_proj_weight, attn.k_proj_weight
    else:
        query, key, _ = together.chunk(3)
    query_bias = key_bias = None
    if attn.in_proj_bias is not None:
        query_bias, key_bias, _ = (b.unflatten(0, (attn.num_heads, -1)) for b in attn.in_proj_bias.chunk(3))
    norm, reads = input_norm(place)
    return QueryKey(
        0,
        place.path,
        query.unflatten(0, (attn.num_heads, -1)),
        key.unflatten(0, (attn.num_heads, -1)),
        query_bias,
        key_bias,
        norm,
        scale=attn.head_dim**-0.5,
        reads=reads,
        tokens_first=not attn.batch_first,
    )
