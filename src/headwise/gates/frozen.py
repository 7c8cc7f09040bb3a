"""Weights of a layer that become numbers of a head."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["frozen"]


def frozen(layer: str, weights: Tensor) -> Tensor:
    """Weights of a layer as numbers of a head: float64, on the processor, the head's own.

    Raises
    ------
    InputError
        Weights that are NaN or infinite: gates of them would show every token the same.

    Examples
    --------
    >>> import torch
    >>> frozen("blocks.0.attn", torch.ones(2))
    tensor([1., 1.], dtype=torch.float64)
    """
    found = weights.detach().to("cpu", torch.float64, copy=True)
    if not torch.isfinite(found).all():
        raise InputError(
            f"{layer} has weights or means that are NaN or infinite, of which no gates are made; train it on finite "
            "tokens, or load its weights anew, and then make the gate"
        )
    return found
