"""What mechanisms on frequencies share: products of complex numbers as real ones, and layers in blocks of channels.

Weights are real, with their real and imaginary parts along the first axis: every optimiser, file format and autocast
knows what to do with them, and torch counts all their multiplications.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["at_least_single", "complex_matrix", "parts"]


def at_least_single(x: Tensor) -> Tensor:
    """Half precision as single: there are no Fourier transforms of it on every device."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def complex_matrix(weight: Tensor) -> Tensor:
    """``(2, ..., I, O)`` as the real ``(..., 2 I, 2 O)`` that takes `parts` of I numbers to those of O numbers."""
    real, imaginary = weight
    return torch.cat([torch.cat([real, imaginary], -1), torch.cat([-imaginary, real], -1)], -2)


def parts(z: Tensor) -> Tensor:
    """Complex ``(..., I)`` as real ``(..., 2 I)``: real parts, then imaginary parts."""
    return torch.cat([z.real, z.imag], -1)
