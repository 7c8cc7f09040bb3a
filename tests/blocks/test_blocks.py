"""What every registered block must hold: one linear map, told in five ways."""

from __future__ import annotations

from math import prod

import pytest
import torch

from headwise.blocks import BLOCKS

N, S, D, C = 5, 6, 4, 3

TEXTBOOK = {
    "linear": lambda X, p, U, V: p @ X @ U @ V,
    "attention": lambda X, p, U, V: p @ (X @ U @ X.T) @ X @ V,
}
"""Output of one atom, written as in the literature. A new block adds one line."""


def tokens(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(N, S, D, generator=generator, dtype=torch.float64)
    pooling = torch.rand(N, S, generator=generator, dtype=torch.float64)
    return values, pooling / pooling.sum(1, keepdim=True)


def atoms(block, count: int, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(count, *block.u_shape(D), generator=generator, dtype=torch.float64)
    v = torch.randn(count, block.inner_width(D), C, generator=generator, dtype=torch.float64)
    return u, v


def outputs(block, stats, u, v):
    return block.inner(stats, u).flatten(1) @ v.flatten(0, 1)


every = pytest.mark.parametrize("block", [BLOCKS.get(name)() for name in BLOCKS.names()], ids=BLOCKS.names())


@every
def test_textbook_formula(block):
    values, pooling = tokens()
    u, v = atoms(block, 2)
    found = outputs(block, block.statistics(values, pooling), u, v)
    for i in range(N):
        wanted = sum(
            TEXTBOOK[block.name](values[i], pooling[i], u[j].reshape(D, -1), v[j].reshape(-1, C)) for j in range(2)
        )
        torch.testing.assert_close(found[i], wanted)


@every
def test_inner_and_its_adjoint(block):
    stats = block.statistics(*tokens())
    u, _ = atoms(block, 3)
    h = block.inner(stats, u)
    g = torch.randn(h.shape, dtype=h.dtype, generator=torch.Generator().manual_seed(2))
    assert float((h * g).sum()) == pytest.approx(float((u * block.inner_adjoint(stats, g)).sum()))


@every
def test_adjoint_is_that_of_the_outputs(block):
    stats = block.statistics(*tokens())
    u, v = atoms(block, 1)
    theta = torch.randn(N, C, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    matrix = block.adjoint(stats, theta)
    assert matrix.shape == (prod(block.u_shape(D)), block.inner_width(D) * C)
    Z = torch.outer(u.flatten(), v.flatten())
    assert float((matrix * Z).sum()) == pytest.approx(float((theta * outputs(block, stats, u, v)).sum()))


@every
def test_token_outputs_sum_to_the_outputs(block):
    values, pooling = tokens()
    u, v = atoms(block, 2)
    shares = block.token_outputs(values, pooling, u, v)
    assert shares.shape == (N, S, C)
    torch.testing.assert_close(shares.sum(1), outputs(block, block.statistics(values, pooling), u, v))


@every
def test_mean_square_is_the_norm_of_the_features(block):
    values, pooling = tokens()
    square = block.mean_square(block.statistics(values, pooling))
    for i in range(N):
        stats = block.statistics(values[i : i + 1], pooling[i : i + 1])
        features = block.adjoint(stats, torch.ones(1, 1, dtype=torch.float64))
        assert float(square[i]) == pytest.approx(float(features.square().sum()))


@every
def test_degree(block):
    values, pooling = tokens()
    u, v = atoms(block, 1)
    one = outputs(block, block.statistics(values, pooling), u, v)
    two = outputs(block, block.statistics(2 * values, pooling), u, v)
    torch.testing.assert_close(two, 2**block.degree * one)


@every
def test_hidden_tokens_never_matter(block):
    values, pooling = tokens()
    pooling[:, -2:] = 0
    pooling = pooling / pooling.sum(1, keepdim=True)
    values[:, -2:] = 0
    u, v = atoms(block, 2)
    short = outputs(block, block.statistics(values[:, :-2], pooling[:, :-2]), u, v)
    torch.testing.assert_close(outputs(block, block.statistics(values, pooling), u, v), short)
