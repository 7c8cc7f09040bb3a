"""Golden vectors of the specifications: weights and inputs that a formula fills, and what must come out."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch


def fill(*tensors):
    """Tensor k, row-major, with ``0.3 sin(1 + 0.5 k + 0.17 i)``."""
    with torch.no_grad():
        for k, tensor in enumerate(tensors):
            i = torch.arange(tensor.numel(), dtype=torch.float64)
            tensor.copy_((0.3 * torch.sin(1 + 0.5 * k + 0.17 * i)).view(tensor.shape))


def cosine(*shape):
    """``x[i] = cos(0.1 i)``, row-major."""
    return torch.cos(0.1 * torch.arange(math.prod(shape), dtype=torch.float64)).view(shape)


def check(found, total, squares, first, last=()):
    """Sum, sum of squares and first numbers, to the eight digits that the specifications give."""
    flat = found.detach().flatten()
    for a, b in ((flat.sum(), total), (flat.square().sum(), squares)):
        assert abs(float(a) - b) <= 2e-8, (float(a), b)
    torch.testing.assert_close(flat[: len(first)], torch.tensor(first, dtype=torch.float64), rtol=0, atol=1e-8)
    if last:
        torch.testing.assert_close(flat[-len(last) :], torch.tensor(last, dtype=torch.float64), rtol=0, atol=1e-8)


@pytest.fixture
def golden():
    """`fill`, `cosine` and `check`."""
    return SimpleNamespace(fill=fill, cosine=cosine, check=check)
