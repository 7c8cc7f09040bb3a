from __future__ import annotations

import numpy as np
import pytest
import torch

from headwise.errors import InputError
from headwise.tokens import ArrayTokens, TokenStore, ViewTokens, num_views, view_rows


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(7, 3, 5, 2))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [None, 1, 4])
def test_rows_are_the_views_in_order(values, tmp_path, masked, size):
    mask = np.random.default_rng(1).random((7, 3, 5)) < 0.6
    mask[..., 0] = True
    store = TokenStore.from_arrays(
        tmp_path, values, np.arange(7), mask=mask if masked else None, dtype="float64", shard_size=3
    )
    flat = ArrayTokens((values * mask[..., None] if masked else values).reshape(21, 5, 2))
    own = mask.reshape(21, 5)
    source = ViewTokens(store)
    assert (source.num_samples, source.num_tokens, source.width) == (21, 5, 2)
    for rows in (None, np.array([20, 0, 7, 7, 3]), np.zeros(0, dtype=int)):
        wanted = np.arange(21) if rows is None else rows
        seen = [wanted[:0]]
        for part, tokens in source.chunks(rows, size):
            assert size is None or len(part) <= size
            assert torch.equal(tokens.values, flat.read(part).values)
            assert (tokens.mask is not None) == masked
            if masked:
                assert torch.equal(tokens.mask, torch.from_numpy(own[part]))
            seen.append(part)
        assert np.array_equal(np.concatenate(seen), wanted)
    with pytest.raises(InputError, match="row 21"):
        next(source.chunks(np.array([21])))


def test_view_rows(values, tmp_path):
    store = TokenStore.from_arrays(tmp_path, values, np.arange(7), dtype="float64")
    source, rows = view_rows(store, np.array([4, 1]), num_views(store))
    assert rows.tolist() == [12, 13, 14, 3, 4, 5]
    ((_, tokens),) = source.chunks(rows)
    assert torch.equal(tokens.values, torch.from_numpy(values[[4, 4, 4, 1, 1, 1], [0, 1, 2, 0, 1, 2]]))
    plain = ArrayTokens(values[:, 0])
    assert num_views(plain) == 1
    source, rows = view_rows(plain, None, 1)
    assert source is plain
    assert rows.tolist() == list(range(7))
