"""Rotary embeddings: modes of one pair of places, and the mean over a context, against matrices written out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from headwise.contracts import Rotary
from headwise.dissect import modes
from headwise.dissect.logits import record_logits
from headwise.dissect.modes import folded_weights
from headwise.dissect.turning import relative_turn, token_turn
from headwise.errors import InputError

WIDTH, COUNT = 6, 7


def angles(pairs, count):
    return torch.arange(count, dtype=torch.float64)[:, None] * 0.9 ** torch.arange(pairs, dtype=torch.float64)


def rotation(turns, layout, width=WIDTH):
    """The matrix that turns one query, written out."""
    found = torch.eye(width, dtype=torch.float64)
    for p, angle in enumerate(turns):
        a, b = (p, p + len(turns)) if layout == "halves" else (2 * p, 2 * p + 1)
        found[a, a] = found[b, b] = angle.cos()
        found[a, b], found[b, a] = -angle.sin(), angle.sin()
    return found


@pytest.fixture
def record(make_record, make_rotary):
    def made(layout="halves", pairs=3, **fields):
        return make_record(head_dim=WIDTH, rotary=make_rotary(pairs, layout), **fields)

    return made


@pytest.mark.parametrize("layout", ["halves", "neighbours"])
@pytest.mark.parametrize("pairs", [3, 2])
def test_tokens_are_turned_as_the_matrices_say(make_rotary, layout, pairs):
    x = torch.randn(2, 3, COUNT, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    got = token_turn(make_rotary(pairs, layout), COUNT)(x)
    for place in range(COUNT):
        matrix = rotation(angles(pairs, COUNT)[place], layout)
        torch.testing.assert_close(got[:, :, place], x[:, :, place] @ matrix.T)


@pytest.mark.parametrize("layout", ["halves", "neighbours"])
@pytest.mark.parametrize("pairs", [3, 2])
@pytest.mark.parametrize("sees", [{}, {"causal": True}, {"causal": True, "window": 3}, {"window": 4}])
def test_the_mean_is_that_over_all_pairs_that_see_each_other(record, layout, pairs, sees):
    given = replace(record(layout, pairs, groups=3, kind="layer"), **sees)
    found = modes(given, context=COUNT)
    turns = [rotation(each, layout) for each in angles(pairs, COUNT)]
    plain = replace(given, rotary=None, window=None, causal=None)
    query, key = folded_weights(plain)
    reach = sees.get("window", COUNT)
    seen = [(i, j) for i in range(COUNT) for j in range(COUNT) if i - j < reach and (j <= i or not sees.get("causal"))]
    for head in range(3):
        wanted = sum(query[head].T @ turns[i].T @ turns[j] @ key[head] for i, j in seen) / len(seen)
        rebuilt = found.u[head].T @ torch.diag(found.sigma[head]) @ found.v[head]
        torch.testing.assert_close(rebuilt, wanted, rtol=0, atol=1e-12 * float(wanted.abs().max()) + 1e-12)


def test_the_mean_weighs_each_offset_by_how_many_pairs_have_it(record):
    given = replace(record(), causal=True)
    mean = modes(given, context=COUNT)
    by_offset = [modes(given, places=(offset, 0)) for offset in range(COUNT)]
    wanted = sum(
        (COUNT - offset) * each.u.mT @ (each.sigma[..., None] * each.v) for offset, each in enumerate(by_offset)
    ) / (COUNT * (COUNT + 1) / 2)
    torch.testing.assert_close(mean.u.mT @ (mean.sigma[..., None] * mean.v), wanted, rtol=0, atol=1e-11)


def test_in_a_sequence_the_offset_alone_matters(record):
    given = record()
    near, far, other = (modes(given, places=p) for p in ((3, 1), (6, 4), (1, 3)))
    torch.testing.assert_close(near.u.mT @ (near.sigma[..., None] * near.v), far.u.mT @ (far.sigma[..., None] * far.v))
    assert float((near.sigma - other.sigma).abs().max()) > 1e-3


@pytest.mark.parametrize("layout", ["halves", "neighbours"])
@pytest.mark.parametrize("kind", [None, "rms", "layer"])
def test_modes_of_each_pair_of_places_are_its_logits(record, layout, kind):
    given = record(layout, kind=kind, shift=False, groups=3)
    tokens = torch.randn(1, COUNT, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = record_logits(given, tokens)
    spread = tokens.square().mean(-1, keepdim=True) if kind == "rms" else tokens.var(-1, unbiased=False, keepdim=True)
    z = tokens[0] if kind is None else (tokens / (spread + 1e-5).sqrt())[0]
    for i in range(COUNT):
        for j in range(COUNT):
            found = modes(given, places=(i, j), context=COUNT)
            got = given.scale * (found.sigma * (found.u @ z[i]) * (found.v @ z[j])).sum(-1)
            torch.testing.assert_close(got, wanted[0, :, i, j], rtol=1e-9, atol=1e-9)


def test_attention_heads_that_turn_in_their_own_ways(make_record, make_rotary):
    given = replace(make_record(head_dim=WIDTH), rotary=make_rotary(3, heads=3))
    found = modes(given, context=COUNT)
    for head in range(3):
        alone = replace(
            given,
            query=given.query[head : head + 1],
            key=given.key[head : head + 1],
            rotary=Rotary(lambda n, head=head: tuple(t[head] for t in given.rotary.tables(n)), "halves"),
        )
        torch.testing.assert_close(modes(alone, context=COUNT).sigma[0], found.sigma[head])


def test_a_factor_in_the_tables_is_part_of_the_modes(record, make_rotary):
    plain = record()
    twice = replace(plain, rotary=make_rotary(factor=2.0))
    torch.testing.assert_close(modes(twice, context=5).sigma, 4 * modes(plain, context=5).sigma)


def test_what_the_modes_are_of_is_said(record):
    given = record()
    assert modes(given, context=5).about == "the mean over the pairs of places that see each other among 5 tokens"
    assert modes(given, places=(4, 1)).about == "of a query at place 4 and a key at place 1"


def test_without_a_context_rotary_layers_are_refused(record, make_record):
    given = record()
    with pytest.raises(InputError, match=r"layers\.0\.attn turns queries and keys by their places, .* give context"):
        modes(given)
    with pytest.raises(InputError, match=r"places must be two of 0 to 4, got \(5, 0\)"):
        modes(given, places=(5, 0), context=5)
    assert relative_turn(make_record(), None) is None


def test_a_long_context_takes_no_matrix_of_all_pairs(record):
    given = replace(record(), causal=True)
    assert modes(given, context=100_000).sigma.isfinite().all()  # all pairs would be 80 GB
    with pytest.raises(InputError, match="context must be at most 1,048,576 tokens, got 10,000,000"):
        modes(given, context=10_000_000)
