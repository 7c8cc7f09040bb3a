"""One row of features a sample."""

from __future__ import annotations

import numpy as np
import pytest

from headwise.tokens import ArrayTokens
from headwise.tokens.pooling import pooled_tokens


@pytest.fixture
def tokens():
    return np.random.default_rng(0).normal(size=(5, 4, 3))


def test_prefix_tokens_joined_with_the_mean_of_the_others(tokens):
    found = pooled_tokens(ArrayTokens(tokens, num_prefix=2), np.array([3, 0]))
    expected = np.concatenate([tokens[:, 0], tokens[:, 1], tokens[:, 2:].mean(1)], axis=1)
    np.testing.assert_allclose(found, expected[[3, 0]])


def test_hidden_tokens_do_not_count(tokens):
    mask = np.ones((5, 4), dtype=bool)
    mask[:, 3] = False
    tokens[:, 3] = np.nan
    np.testing.assert_allclose(pooled_tokens(ArrayTokens(tokens, mask)), tokens[:, :3].mean(1))


def test_prefix_tokens_alone_and_unit_length(tokens):
    found = pooled_tokens(ArrayTokens(tokens, num_prefix=4))
    np.testing.assert_allclose(found, tokens.reshape(5, 12))
    found = pooled_tokens(ArrayTokens(tokens, num_prefix=1), unit_length=True)
    np.testing.assert_allclose(np.linalg.norm(found[:, :3], axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(found[:, 3:], axis=1), 1)
