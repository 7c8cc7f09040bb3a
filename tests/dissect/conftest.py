from __future__ import annotations

import pytest
import torch

from headwise.contracts import Norm, QueryKey, Rotary


def _record(
    heads=3, head_dim=4, width=16, kind=None, bias=False, groups=1, seed=0, gain=True, shift=True, scale=0.7, **fields
):
    """A layer with random weights, and where asked a norm with random gain and shift, and random biases."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    norm = kind and Norm(kind, 1 + draw(width) / 2 if gain else None, draw(width) if shift else None, 1e-5)
    return QueryKey(
        0,
        "layers.0.attn",
        draw(heads, head_dim, width),
        draw(heads // groups, head_dim, width),
        draw(heads, head_dim) if bias else None,
        draw(heads // groups, head_dim) if bias else None,
        input_norm=norm,
        scale=scale,
        groups=groups,
        **fields,
    )


@pytest.fixture(scope="session")
def make_record():
    return _record


def _rotary(pairs=3, layout="halves", heads=None, factor=1.0):
    """Angles of place t and pair p: ``t 0.9^p``, times the attention head's number from 1 where ``heads`` is given."""

    def tables(count):
        found = torch.arange(count, dtype=torch.float64)[:, None] * 0.9 ** torch.arange(pairs, dtype=torch.float64)
        if heads is not None:
            found = found * torch.arange(1, heads + 1)[:, None, None]
        return factor * found.cos(), factor * found.sin()

    return Rotary(tables, layout)


@pytest.fixture(scope="session")
def make_rotary():
    return _rotary
