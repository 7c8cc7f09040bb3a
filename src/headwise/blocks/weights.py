"""Pooling weights under a gate."""

from __future__ import annotations

import torch
from torch import Tensor

from ..contracts import GateValues, PairGate

__all__ = ["feature_weights", "token_weights"]


def token_weights(pooling: Tensor, gate: GateValues | None) -> Tensor:
    """``p_t D[t]``, shape ``(n, s)``."""
    if isinstance(gate, PairGate):
        raise TypeError("a gate between tokens was given to a block that takes token gates")
    return pooling if gate is None else pooling * gate


def feature_weights(values: Tensor, pooling: Tensor | None, gate: GateValues | None) -> Tensor:
    """``p_t D[t, q]``, shape ``(n, s, d)``, or ``(n, s, 1)`` where the gate is the same for all features.

    Without pooling weights, those of a token in its own row of outputs: ``D[t, q]``.
    """
    if isinstance(gate, PairGate):
        raise TypeError("a gate between tokens was given to a block that takes feature gates")
    pooling = torch.ones_like(values[..., 0]) if pooling is None else pooling
    if gate is None:
        return pooling[..., None]
    return pooling[..., None] * (gate[..., None] if gate.ndim == 2 else gate)
