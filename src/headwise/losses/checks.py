"""What every loss asks of its targets and weights."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["columns", "normalised", "unweighted"]


def normalised(weights: Tensor | None, targets: Tensor) -> Tensor:
    """Sample weights as float64 that sum to one, ``(n,)``; equal ones for None.

    Raises
    ------
    InputError
        No samples, the wrong number of weights, or weights that are negative, not finite or all zero.
    """
    n = len(targets)
    if n == 0:
        raise InputError("there are no samples; a loss needs at least one")
    if weights is None:
        return torch.full((n,), 1 / n, dtype=torch.float64, device=targets.device)
    if weights.shape != (n,):
        raise InputError(f"sample weights have shape {tuple(weights.shape)}; one for each of {n} samples is needed")
    raw = weights.to(device=targets.device, dtype=torch.float64)
    if bool((raw < 0).any()) or not bool(torch.isfinite(raw).all()) or float(raw.sum()) <= 0:
        raise InputError("sample weights must be finite and not negative, and not all zero")
    return raw / raw.sum()


def columns(targets: Tensor, width: int) -> Tensor:
    """``targets`` as float64, checked to be finite and of shape ``(n, width)``."""
    if width < 1:
        raise InputError(f"a loss needs at least one output, got {width}")
    if targets.ndim != 2 or targets.shape[1] != width:
        raise InputError(f"targets have shape {tuple(targets.shape)}; (n, {width}) is needed")
    values = targets.double()
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise InputError(f"targets hold {bad} values that are NaN or infinite; leave these samples out")
    return values


def unweighted(theta: Tensor, weights: Tensor) -> Tensor:
    """``theta / w``, and zero where the weight is zero (theta is zero there too)."""
    w = weights[:, None]
    return torch.where(w > 0, theta / torch.where(w > 0, w, 1.0), 0.0)
