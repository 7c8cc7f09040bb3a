"""Tokens of a model, projected on the directions of its modes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import as_list, check_backbone, check_whole, each_of, told
from ..contracts import AttentionModel, QueryKey
from ..errors import InputError
from .inputs import check_inputs, entering
from .logits import normalise
from .modes import Modes, all_modes, check_mode

__all__ = ["check_fits", "default_context", "layer_tokens", "mode_maps", "num_prefix", "paired"]


def num_prefix(model: Any) -> int:
    """Prefix tokens of a model; 0 where it does not say."""
    found = getattr(model, "num_prefix_tokens", getattr(getattr(model, "model", None), "num_prefix_tokens", 0))
    return found if isinstance(found, int) else 0


def default_context(model: Any) -> int | None:
    """Tokens of an image; None for what has no grid, whose samples have as many as they have."""
    return num_prefix(model) + model.grid[0] * model.grid[1] if hasattr(model, "grid") else None


def paired(model: AttentionModel, modes: Sequence[Modes] | None, context: int | None) -> list[tuple[QueryKey, Modes]]:
    """Modes, those of all layers by default, each with the record of its layer."""
    records = model.query_keys()
    if modes is None:
        modes = all_modes(records, context=default_context(model) if context is None else context)
    found = []
    for each in each_of("modes", modes, Modes, "Modes, as headwise.dissect(...).modes is"):
        if not 0 <= each.layer < len(records):
            raise InputError(f"the modes are of layer {each.layer}; {model.name} has layers 0 to {len(records) - 1}")
        check_fits(each, records[each.layer])
        found.append((records[each.layer], each))
    return found


def check_fits(found: Modes, record: QueryKey) -> None:
    """Refuse modes that cannot be those of a record."""
    if found.u.shape[-1] != record.query.shape[-1] or len(found.u) != len(record.query):
        raise InputError(
            f"the modes of layer {found.layer} are of {len(found.u)} attention heads of width {found.u.shape[-1]}; "
            f"{record.name} has {len(record.query)} of width {record.query.shape[-1]}"
        )


def layer_tokens(tokens: Tensor, record: QueryKey, found: Modes) -> Tensor:
    """What the directions of modes act on, ``(B, s, d)``: tokens that enter a layer, over the spread that its norm
    divides by where the norm is folded in. Tokens on a grid (Swin) come in row-major order.
    """
    return normalise(tokens.flatten(1, -2), record.input_norm if found.norm_folded else None)


@torch.no_grad()
def mode_maps(
    model: AttentionModel,
    inputs: Any,
    layer: int,
    pairs: Sequence[tuple[int, int]],
    modes: Sequence[Modes] | None = None,
) -> tuple[Tensor, Tensor]:
    """Projections of all tokens on the query and key directions of some modes of one layer.

    Parameters
    ----------
    model : Backbone, TextBackbone or AttentionModel
    inputs : Tensor or mapping
        A preprocessed batch of B samples.
    layer : int
    pairs : sequence of (int, int)
        Attention head and mode.
    modes : sequence of Modes, optional
        Among them that of the layer; by default it is made here. Give those of other evidence beside this, so that
        signs agree.

    Returns
    -------
    query, key : Tensor, shape (B, len(pairs), s)
        As they are, prefix tokens and padding included, in the precision of the modes. Where the norm in front of the
        layer is folded into the modes, tokens are over the spread that it divides by.

    Raises
    ------
    InputError
        No such layer, attention head or mode, or inputs that the model does not take or that hold NaN.

    Examples
    --------
    >>> import headwise, torch
    >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, batch_first=True)
    >>> query, key = mode_maps(headwise.load_backbone(layer), torch.randn(3, 5, 8), 0, [(0, 0), (1, 2)])
    >>> query.shape
    torch.Size([3, 2, 5])
    """
    check_backbone(model, "query_keys")
    record, found = _of_layer(model, layer, modes)
    places = as_list("pairs", pairs, object, "(attention head, mode)")
    for pair in places:
        if not isinstance(pair, (tuple, list, np.ndarray)) or len(pair) != 2:
            raise InputError(f"a pair is (attention head, mode), got {told(pair)}")
        check_mode(layer, found.sigma.shape, *pair)
    check_inputs(inputs)
    (tokens,) = entering(model, inputs, [layer])
    at = torch.tensor(np.array(places, dtype=np.int64)).reshape(-1, 2)
    x = layer_tokens(tokens.to(found.u.dtype), record, found)
    query, key = (torch.einsum("bsd,pd->bps", x, side[at[:, 0], at[:, 1]].to(x)) for side in (found.u, found.v))
    return query, key


def _of_layer(model: AttentionModel, layer: int, modes: Sequence[Modes] | None) -> tuple[QueryKey, Modes]:
    check_whole("layer", layer)
    if modes is None:
        records = model.query_keys()
        if layer >= len(records):
            raise InputError(f"{model.name} has layers 0 to {len(records) - 1}, got {layer}")
        return records[layer], all_modes([records[layer]], context=default_context(model))[0]
    for record, found in paired(model, modes, None):
        if found.layer == layer:
            return record, found
    raise InputError(f"the modes are of layers {', '.join(str(each.layer) for each in modes)}; got {layer}")
