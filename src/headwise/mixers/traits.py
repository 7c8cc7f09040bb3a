"""What a mechanism promises, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Cost", "Traits"]


@dataclass(frozen=True)
class Traits:
    """What a mechanism promises. Tests hold it to each, and what is not promised is refused with an error.

    Attributes
    ----------
    exponent : float
        Growth of its multiplications with the number of tokens (or pixels), where these are many.
    permutation_equivariant : bool
        Tokens (after the prefix) in another order give the outputs in that order.
    shift_equivariant : bool
        The same for circular shifts of the grid.
    grid : {"any", "fixed", "none"}
        Whether it has a grid: any grid at each call, that of its configuration only, or none.
    batch_independent : bool
        The output of a sample does not depend on the others in the batch.
    causal, mask, pair_mask : bool
        Whether it takes ``causal=True``, a mask of tokens ``(B, N)``, and a mask of pairs ``(B, N, N)``.
    prefix : bool
        Whether it takes prefix tokens (class token, registers).
    query_key : bool
        Whether `Mechanism.query_key` describes its logits, all of them or the part that ``leaves_out`` of the record
        leaves.
    gate : bool
        Whether `Mechanism.as_gate` makes gates of it.
    """

    exponent: float
    permutation_equivariant: bool = False
    shift_equivariant: bool = False
    grid: Literal["any", "fixed", "none"] = "none"
    batch_independent: bool = True
    causal: bool = False
    mask: bool = False
    pair_mask: bool = False
    prefix: bool = False
    query_key: bool = False
    gate: bool = False


@dataclass(frozen=True)
class Cost:
    """What one sample costs in evaluation, without a mask.

    Attributes
    ----------
    parameters : int
    flops : int
        Two for each multiplication and addition in products of matrices and convolutions. It is the number of torch's
        ``FlopCounterMode`` where ``scaled_dot_product_attention`` is computed as two products of matrices (the backend
        MATH, or the meta device); torch counts some of its fused kernels otherwise, and others not at all.
    memory : int
        Numbers in the largest tensors that a forward pass must hold at one time beyond input, output and weights. What
        training keeps for the gradients is not in it.
    """

    parameters: int
    flops: int
    memory: int
