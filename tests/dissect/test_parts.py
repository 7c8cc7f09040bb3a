"""Logits in parts, modes beside them, and shares of the variance."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.contracts import Norm, Windows
from headwise.dissect import modes, variance_shares
from headwise.dissect.logits import Parts, centred, logit_parts, mode_logits, record_logits
from headwise.dissect.modes import fold_norm

COUNT = 6


def head_norm(kind, seed, width=4):
    generator = torch.Generator().manual_seed(seed)
    gain, shift = torch.randn(2, width, generator=generator, dtype=torch.float64)
    return kind and Norm(kind, 1 + gain / 2, shift, 1e-5)


def tokens(count=COUNT, seed=0):
    return 2 * torch.randn(2, count, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5


def whole(parts):
    return parts.content + parts.apart()


@settings(max_examples=50)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from([None, "layer", "rms"]),
    q_norm=st.sampled_from([None, "layer", "rms"]),
    k_norm=st.sampled_from([None, "layer", "rms"]),
    bias=st.booleans(),
    groups=st.sampled_from([1, 3]),
    turned=st.sampled_from([None, "halves", "neighbours"]),
    placed=st.booleans(),
)
def test_parts_and_modes_sum_to_the_logits(
    make_record, make_rotary, seed, kind, q_norm, k_norm, bias, groups, turned, placed
):
    record = make_record(
        kind=kind,
        bias=bias,
        groups=groups,
        seed=seed,
        q_norm=head_norm(q_norm, seed),
        k_norm=head_norm(k_norm, seed + 1),
        rotary=turned and make_rotary(2, turned),
    )
    if placed:
        record = replace(record, bias=torch.randn(3, COUNT, COUNT, dtype=torch.float64))
    x = tokens(seed=seed)
    wanted = record_logits(record, x)
    found = modes(record, context=COUNT)
    close = {"rtol": 0, "atol": 1e-11 * float(wanted.abs().max()) + 1e-11}
    torch.testing.assert_close(whole(logit_parts(record, x, found.turn)), wanted, **close)
    torch.testing.assert_close(whole(logit_parts(record, x)), wanted, **close)
    torch.testing.assert_close(mode_logits(found, record, x), wanted, **close)
    # and not whatever the modes are
    wrong = replace(found, sigma=1.01 * found.sigma)
    assert float((mode_logits(wrong, record, x) - wanted).abs().max()) > 1e-4


def test_windows_are_parts_of_their_own(make_record):
    index = torch.tensor([[0, 2, 4], [5, 3, 1]])
    record = make_record(kind="layer", bias=True, window=Windows(index), seed=3)
    record = replace(record, bias=torch.randn(3, 3, 3, dtype=torch.float64))
    x = tokens()
    got = mode_logits(modes(record), record, x)
    assert got.shape == (4, 3, 3, 3)
    inside = replace(record, window=None)
    for sample in range(2):
        for window in range(2):
            wanted = record_logits(inside, x[sample : sample + 1, index[window]])
            torch.testing.assert_close(got[2 * sample + window], wanted[0])


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_modes_of_normed_queries_are_those_at_unit_norm(make_record, kind):
    record = make_record(kind="layer", q_norm=head_norm(kind, 0), k_norm=head_norm("rms", 1))
    found = modes(record)
    assert found.about == "queries and keys at unit norm: gains folded in, not the division by each token's own norm"
    centre = torch.eye(4, dtype=torch.float64) - (kind == "layer") / 4
    for head in range(3):
        query = torch.diag(record.q_norm.weight) @ centre @ fold_norm(record.query[head], record.input_norm)
        key = torch.diag(record.k_norm.weight) @ fold_norm(record.key[head], record.input_norm)
        rebuilt = found.u[head].T @ torch.diag(found.sigma[head]) @ found.v[head]
        torch.testing.assert_close(rebuilt, query.T @ key)


def test_what_modes_leave_out_is_said(make_record):
    assert modes(make_record(kind="layer", bias=True)).about == ""
    one = replace(make_record(k_norm=head_norm("rms", 0)), bias=torch.zeros(3, 2, 2), window=Windows(torch.zeros(1, 2)))
    assert modes(one).about == (
        "keys at unit norm: gains folded in, not the division by each token's own norm; of content alone, biases by "
        "place and windows apart"
    )


def shares(record, x, used=None):
    parts = logit_parts(record, x, modes(record, context=x.shape[1]).turn)
    if used is None:
        used = torch.ones(record_logits(record, x).shape, dtype=torch.bool)
    return variance_shares(parts, used)


def test_shares_of_logits_that_have_one_source(make_record, make_rotary):
    plain = make_record()
    x = tokens()
    ones = torch.ones(3, dtype=torch.float64)
    torch.testing.assert_close(shares(plain, x)["content"], ones)
    # queries that are the same for every token
    constant = replace(plain, query=0 * plain.query, query_bias=torch.ones(3, 4, dtype=torch.float64))
    torch.testing.assert_close(shares(constant, x)["key_only"], ones)
    by_place = replace(plain, query=0 * plain.query, bias=torch.randn(3, COUNT, COUNT, dtype=torch.float64))
    torch.testing.assert_close(shares(by_place, x)["position"], ones)
    # queries and keys that are constants, turned by their places
    still = replace(constant, key=0 * plain.key, key_bias=constant.query_bias, rotary=make_rotary(2))
    torch.testing.assert_close(shares(still, x)["position"], ones)
    # one pair that is turned through whole circles: on average nothing is left
    fast = replace(plain, rotary=replace(make_rotary(2), tables=lambda n: circles(n)))
    torch.testing.assert_close(shares(fast, x)["turning"], ones)


def circles(count):
    turns = 2 * torch.pi * torch.arange(count, dtype=torch.float64)[:, None] / count * torch.ones(2)
    return turns.cos(), turns.sin()


@settings(max_examples=12)
@given(seed=st.integers(0, 10**6), causal=st.booleans(), turned=st.booleans())
def test_shares_sum_to_one_and_are_those_of_the_variance(make_record, make_rotary, seed, causal, turned):
    record = make_record(kind="layer", bias=True, seed=seed, causal=causal, rotary=make_rotary(2) if turned else None)
    record = replace(record, bias=torch.randn(3, COUNT, COUNT, dtype=torch.float64))
    x = tokens(seed=seed)
    used = torch.ones(2, 3, COUNT, COUNT, dtype=torch.bool)
    used = used.tril() if causal else used
    found = shares(record, x, used)
    torch.testing.assert_close(sum(found.values()), torch.ones(3, dtype=torch.float64))
    # the same by loops over queries
    logits = record_logits(record, x)
    parts = logit_parts(record, x, modes(record, context=COUNT).turn)
    for head in range(3):
        energy = shared = 0.0
        for sample in range(2):
            for query in range(COUNT):
                seen = used[sample, head, query]
                line = logits[sample, head, query][seen]
                part = parts.key_only.expand(logits.shape)[sample, head, query][seen]
                energy += float((line - line.mean()).square().sum())
                shared += float(((line - line.mean()) * (part - part.mean())).sum())
        assert float(found["key_only"][head]) == pytest.approx(shared / energy, abs=1e-9)


def test_constant_logits_have_no_shares(make_record):
    record = make_record()
    found = shares(replace(record, query=0 * record.query), tokens())
    assert all(not values.any() for values in found.values())


def test_centring_leaves_hidden_keys_out():
    logits = torch.tensor([[[[1.0, 3.0, 50.0]]]])
    used = torch.tensor([[[[True, True, False]]]])
    assert centred(logits, used).tolist() == [[[[-1.0, 1.0, 0.0]]]]
    assert not centred(logits, torch.zeros_like(used)).any()


def test_parts_without_position_are_content_and_bias():
    one = torch.ones(1, 1, 1, 1)
    assert Parts(one, 2 * one, 3 * one).apart().item() == 5
    assert Parts(one, one, one, 4 * one, 5 * one).apart().item() == 11
