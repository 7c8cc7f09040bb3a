"""Modes on real images: where their query and key features are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..checks import as_list, check_images, check_whole
from ..contracts import Backbone
from ..errors import InputError
from .inputs import check_inputs, entering
from .metrics import mode_cosines, subspaces
from .modes import Modes, all_modes, check_mode
from .projections import layer_tokens
from .sinks import high_norm_tokens

__all__ = ["Overlay", "contributions", "overlays", "project"]


@dataclass(frozen=True)
class Overlay:
    """One mode on one image.

    Attributes
    ----------
    image, layer, head, mode : int
        From 0.
    sigma, cosine : float
        Singular value and mode cosine.
    share : float
        Share of the mode in its attention head's logit energy on this image.
    degenerate : bool
        Its singular value is within 5 % of a neighbour's.
    query_map, key_map : ndarray, shape (H, W)
        Projections of the patch tokens, 0 to 1 between the 30th and 95th percentile, which one outlier does not move.
    high_norm : tuple of int
        Patches of high norm at the layer's input, in row-major order of the grid: their projections say more about
        the norm than about the picture. See `headwise.dissect.high_norm_tokens`.
    """

    image: int
    layer: int
    head: int
    mode: int
    sigma: float
    cosine: float
    share: float
    degenerate: bool
    query_map: NDArray[np.float32]
    key_map: NDArray[np.float32]
    high_norm: tuple[int, ...] = ()


def project(found: Modes, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Projections of tokens ``(B, s, d)`` on the query and key directions, each ``(B, heads, modes, s)``."""
    tokens = tokens.to(found.u.dtype)
    return torch.einsum("bsd,hnd->bhns", tokens, found.u), torch.einsum("bsd,hnd->bhns", tokens, found.v)


def contributions(found: Modes, query: Tensor, key: Tensor) -> Tensor:
    """Share of each mode in the logit energy of its attention head, ``(B, heads, modes)``.

    ``sigma_n^2 |X u_n|^2 |X v_n|^2``, with the projections centred over tokens on the key side (softmax cancels the
    rest).
    """
    centred = key - key.mean(-1, keepdim=True)
    energy = found.sigma.square() * query.square().sum(-1) * centred.square().sum(-1)
    return energy / energy.sum(-1, keepdim=True).clamp(min=torch.finfo(energy.dtype).tiny)


def _clipped(values: Tensor, grid: tuple[int, int]) -> NDArray[np.float32]:
    low, high = torch.quantile(values, torch.tensor([0.30, 0.95], dtype=values.dtype, device=values.device))
    scaled = ((values - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    found: NDArray[np.float32] = scaled.reshape(grid).float().cpu().numpy()
    return found


@torch.no_grad()
def overlays(
    model: Backbone,
    images: Tensor,
    *,
    per_layer: int = 1,
    max_layers: int = 6,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    per_head: int = 1,
) -> list[Overlay]:
    """The leading modes of each layer on each image.

    Parameters
    ----------
    model : Backbone
    images : Tensor
        A preprocessed batch, a few images.
    per_layer : int
        Attention heads shown for each layer and image: those whose leading mode has the largest share.
    max_layers : int
        Layers shown, spread evenly over the depth.
    layers, heads : sequence of int, optional
        The layers, and the attention heads of each, that are shown in place of these.
    per_head : int
        Modes shown for each attention head, those of the largest shares.

    Returns
    -------
    list of Overlay
        By layer, then image, then attention head, then share.

    Raises
    ------
    InputError
        No backbone of images, no such layer or attention head, or images that the model does not take or that hold NaN.

    Notes
    -----
    The sign of a mode is free: of each pair the side is shown on which the product of the largest query and the largest
    key projection is greater. Prefix tokens are left out of the maps. Where a layer norms its queries and
    keys, projections are those at unit norm.

    Examples
    --------
    >>> import headwise
    >>> model, photographs = headwise.load_backbone("embedded"), headwise.tokens.read_photographs()
    >>> made = overlays(model, model.preprocess([photographs.image(0)]), layers=[5], heads=[0, 2], per_head=3)
    >>> [each.head for each in made], made[0].query_map.shape
    ([0, 0, 0, 2, 2, 2], (8, 8))
    """
    check_images(model, "an overlay")
    for name, value in (("per_layer", per_layer), ("max_layers", max_layers), ("per_head", per_head)):
        check_whole(name, value, least=1)
    records = model.query_keys()
    if layers is None:
        layers = np.unique(np.linspace(0, len(records) - 1, min(max_layers, len(records))).round().astype(int)).tolist()
    numbers: list[Any] = as_list("layers", layers, object, "numbers of layers")
    named: list[Any] | None = None if heads is None else as_list("heads", heads, object, "numbers of attention heads")
    for layer in numbers:
        check_whole("a layer", layer)
        if layer >= len(records):
            raise InputError(f"{model.name} has layers 0 to {len(records) - 1}, got {layer}")
        for head in named or ():
            check_mode(layer, (len(records[layer].query), 1), head, 0)
    check_inputs(images)
    inputs = entering(model, images, numbers)
    made = []
    for layer, tokens in zip(numbers, inputs, strict=True):
        (each,) = all_modes([records[layer]], context=tokens.shape[1])
        query, key = project(each, layer_tokens(tokens.to(each.u.dtype), records[layer], each))
        share = contributions(each, query, key)
        cosines, of = mode_cosines(each), subspaces(each)
        high = high_norm_tokens(tokens, model.num_prefix_tokens)[:, model.num_prefix_tokens :]
        for image in range(len(images)):
            best = share[image].max(1).values.argsort(descending=True)[:per_layer].tolist()
            for head in best if named is None else named:
                for mode in share[image, head].argsort(descending=True, stable=True)[:per_head].tolist():
                    q = query[image, head, mode, model.num_prefix_tokens :]
                    k = key[image, head, mode, model.num_prefix_tokens :]
                    sign = 1.0 if float(q.max() * k.max()) >= float(q.min() * k.min()) else -1.0
                    made.append(
                        Overlay(
                            image,
                            layer,
                            head,
                            mode,
                            float(each.sigma[head, mode]),
                            float(cosines[head, mode]),
                            float(share[image, head, mode]),
                            int((of[head] == of[head, mode]).sum()) > 1,
                            _clipped(sign * q, model.grid),
                            _clipped(sign * k, model.grid),
                            tuple(high[image].nonzero()[:, 0].tolist()),
                        )
                    )
    return made
