from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.errors import InputError
from headwise.tokens import ArrayTokens, TokenStore


@settings(max_examples=40, deadline=None)
@given(
    rows=st.one_of(st.none(), st.lists(st.integers(0, 22), max_size=30)),
    size=st.one_of(st.none(), st.integers(1, 9)),
    masked=st.booleans(),
)
def test_chunks_give_the_rows_in_order(rows, size, masked):
    rng = np.random.default_rng(0)
    values, mask = rng.normal(size=(23, 5, 3)), rng.random((23, 5)) < 0.5
    mask[:, 0] = True
    source = ArrayTokens(values, mask if masked else None)
    wanted = np.arange(23) if rows is None else np.array(rows, dtype=np.int64)
    seen = [np.zeros(0, dtype=np.int64)]
    for part, tokens in source.chunks(None if rows is None else wanted, size):
        assert size is None or len(part) <= size
        assert torch.equal(tokens.values, torch.from_numpy(values[part]))
        assert tokens.mask is None if not masked else torch.equal(tokens.mask, torch.from_numpy(mask[part]))
        seen.append(part)
    assert np.array_equal(np.concatenate(seen), wanted)
    assert torch.equal(source.read(wanted).values, torch.from_numpy(values[wanted]))


def test_agrees_with_the_store(tmp_path, tokens):
    store = TokenStore.from_arrays(tmp_path, tokens, np.arange(23), grid=(2, 2), num_prefix=1, dtype="float32")
    source = ArrayTokens(tokens, grid=(2, 2), num_prefix=1)
    for name in ("num_samples", "num_tokens", "width", "num_prefix", "grid"):
        assert getattr(store, name) == getattr(source, name)
    for (a, x), (b, y) in zip(store.chunks([4, 2, 9], 2), source.chunks([4, 2, 9], 2), strict=True):
        assert np.array_equal(a, b)
        assert torch.equal(x.values, y.values)
        assert x.grid == y.grid == (2, 2)


def test_matrix_means_one_token():
    source = ArrayTokens(np.ones((4, 3)))
    assert (source.num_samples, source.num_tokens, source.width) == (4, 1, 3)
    assert ArrayTokens(np.arange(6).reshape(2, 3)).read().values.dtype == torch.float32


def test_fingerprint(tokens):
    first = ArrayTokens(tokens).fingerprint
    assert ArrayTokens(torch.from_numpy(tokens.copy())).fingerprint == first
    assert ArrayTokens(tokens + 1).fingerprint != first
    assert ArrayTokens(tokens, num_prefix=1).fingerprint != first
    assert ArrayTokens(tokens, mask=np.arange(5) + np.zeros((23, 1)) < 4).fingerprint != first


def test_unusual_memory(tmp_path, tokens):
    np.save(tmp_path / "x.npy", tokens)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for array in (
            np.load(tmp_path / "x.npy", mmap_mode="r"),
            np.asfortranarray(tokens),
            tokens.astype(">f4"),
            tokens[::-1][::-1],
            tokens.tolist(),
        ):
            assert torch.equal(ArrayTokens(array).read().values, torch.from_numpy(tokens))
        assert torch.equal(ArrayTokens(tokens[::-1]).read([0]).values[0], torch.from_numpy(tokens[22]))


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.ones((2, 3, 4, 5)), {}, "shape"),
        (np.ones((0, 3)), {}, "no samples"),
        (np.ones((3, 0)), {}, "without a zero"),
        ([[1.0], [1.0, 2.0]], {}, "ragged"),
        (np.array([["a"]]), {}, "numbers are needed"),
        (np.ones((2, 3), complex), {}, "numbers are needed"),
        (np.ones((2, 3, 4)), {"mask": np.ones((2, 4), bool)}, "mask has shape"),
        (np.ones((2, 3, 4)), {"mask": np.ones((2, 3))}, "bool"),
        (np.ones((2, 3, 4)), {"num_prefix": 4}, "num_prefix"),
        (np.ones((2, 3, 4)), {"grid": (1, 3), "num_prefix": 1}, "do not make 3 tokens"),
    ],
)
def test_refused(values, options, message):
    with pytest.raises(InputError, match=message):
        ArrayTokens(values, **options)


def test_nan_names_the_sample(tokens):
    tokens[[6, 8], 1, 1] = np.nan
    with pytest.raises(InputError, match=r"first such sample is 6 \(2 in"):
        ArrayTokens(tokens)
    mask = np.ones((23, 5), bool)
    mask[[6, 8], 1] = False
    ArrayTokens(tokens, mask)


def test_large_finite_values_are_no_error():
    ArrayTokens(np.full((3, 4), np.finfo(np.float64).max))


def test_bad_rows(tokens):
    source = ArrayTokens(tokens)
    for rows, message in (([-1], "row -1"), ([[0]], "list of whole numbers"), ([0.5], "list of whole numbers")):
        with pytest.raises(InputError, match=message):
            source.read(rows)
    with pytest.raises(InputError, match="at least 1"):
        next(source.chunks(size=0))


def test_a_mask_that_hides_nothing_is_none(tokens):
    plain, masked = ArrayTokens(tokens), ArrayTokens(tokens, np.ones(tokens.shape[:2], bool))
    assert plain.fingerprint == masked.fingerprint
    assert masked.read().mask is None
