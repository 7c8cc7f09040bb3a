"""Modes against planted structure, explicit d x d decompositions and the norms of torch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from headwise.contracts import QueryKey
from headwise.dissect import all_modes, modes, weighted_cosine
from headwise.dissect.logits import mode_logits
from headwise.dissect.metrics import mode_cosines
from headwise.dissect.modes import folded_weights
from headwise.errors import InputError


def explicit(record, head, fold=True):
    """M of one attention head, d x d, with the norm's gain and centring as matrices."""
    query = record.query[head].double()
    key = record.key[head // record.groups].double()
    matrix = query.T @ key
    if fold and record.input_norm is not None:
        width = len(matrix)
        side = torch.eye(width, dtype=torch.float64)
        if record.input_norm.weight is not None:
            side = side * record.input_norm.weight.double()
        if record.input_norm.kind == "layer":
            side = (torch.eye(width, dtype=torch.float64) - 1 / width) @ side
        matrix = side @ matrix @ side.T
    return matrix


def assert_same_pairs(u, v, wanted_u, wanted_v, atol=1e-10):
    """Equal pairs of directions, rows, up to one sign for each pair."""
    sign = (u * wanted_u).sum(-1, keepdim=True).sign()
    torch.testing.assert_close(sign * u, wanted_u, rtol=0, atol=atol)
    torch.testing.assert_close(sign * v, wanted_v, rtol=0, atol=atol)


def test_planted_modes_are_recovered():
    generator = torch.Generator().manual_seed(3)
    frame = torch.linalg.qr(torch.randn(20, 20, generator=generator, dtype=torch.float64)).Q.T
    # three modes that look for their own feature, three that look for another one
    u, v = frame[:6], torch.cat([frame[:3], frame[6:9]])
    sigma = torch.tensor([8.0, 7.0, 5.0, 4.0, 2.0, 1.0], dtype=torch.float64)
    mix = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    # query^T key = u^T mix^-1 mix sigma v: the weights themselves do not show the modes
    record = QueryKey(0, "attn", (torch.linalg.inv(mix).T @ u)[None], (mix @ (sigma[:, None] * v))[None])
    found = modes(record)
    torch.testing.assert_close(found.sigma[0], sigma, rtol=1e-10, atol=0)
    assert_same_pairs(found.u[0], found.v[0], u, v)
    wanted = torch.tensor([1.0, 1, 1, 0, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(mode_cosines(found)[0], wanted, rtol=0, atol=1e-10)
    assert weighted_cosine(found)[0] == pytest.approx(20 / 27, abs=1e-10)


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("kind", [None, "layer", "rms"])
def test_agrees_with_the_full_decomposition(make_record, kind, fold):
    record = make_record(kind=kind, width=24, head_dim=5)
    found = modes(record, fold)
    assert found.norm_folded is fold
    for head in range(3):
        matrix = explicit(record, head, fold)
        u, sigma, vh = torch.linalg.svd(matrix)
        torch.testing.assert_close(found.sigma[head], sigma[:5], rtol=1e-10, atol=0)
        assert float(sigma[5]) < 1e-10 * float(sigma[0])
        assert_same_pairs(found.u[head], found.v[head], u.T[:5], vh[:5])
        rebuilt = found.u[head].T @ torch.diag(found.sigma[head]) @ found.v[head]
        torch.testing.assert_close(rebuilt, matrix, rtol=0, atol=1e-10 * float(sigma[0]))


def test_directions_are_orthonormal_where_weights_lack_rank(make_record):
    record = make_record(width=12, head_dim=4)
    query = record.query.clone()
    query[0, 2:] = query[0, :2]  # rank two
    query[1] = 0
    found = modes(replace(record, query=query))
    eye = torch.eye(4, dtype=torch.float64).expand(3, 4, 4)
    torch.testing.assert_close(found.u @ found.u.mT, eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.v @ found.v.mT, eye, rtol=0, atol=1e-12)
    assert float(found.sigma[0, 2:].max()) < 1e-12 * float(found.sigma[0, 0])
    assert not found.sigma[1].any()
    assert weighted_cosine(found)[1] == 0  # and not a division by zero


@given(
    seed=st.integers(0, 10**6),
    head_dim=st.integers(1, 6),
    extra=st.integers(0, 8),
    kind=st.sampled_from([None, "layer", "rms"]),
)
def test_weighted_cosine_is_the_trace_over_the_nuclear_norm(make_record, seed, head_dim, extra, kind):
    record = make_record(heads=2, head_dim=head_dim, width=head_dim + extra + 2, kind=kind, seed=seed)
    found = weighted_cosine(modes(record))
    for head in range(2):
        matrix = explicit(record, head)
        wanted = matrix.trace() / torch.linalg.matrix_norm(matrix, "nuc")
        torch.testing.assert_close(found[head], wanted, rtol=0, atol=1e-10)


@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from([None, "layer", "rms"]),
    bias=st.booleans(),
    groups=st.sampled_from([1, 2]),
    gain=st.booleans(),
    shift=st.booleans(),
)
def test_folded_modes_reproduce_logits_behind_a_real_norm(make_record, seed, kind, bias, groups, gain, shift):
    record = make_record(heads=4, kind=kind, bias=bias, groups=groups, seed=seed, gain=gain, shift=shift)
    tokens = 3 * torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1
    norm = record.input_norm
    if norm is None:
        x = tokens
    elif norm.kind == "layer":
        x = F.layer_norm(tokens, (16,), norm.weight, norm.bias, norm.eps)
    else:
        x = F.rms_norm(tokens, (16,), norm.weight, norm.eps)
        x = x if norm.bias is None else x + norm.bias
    found = modes(record)
    got = mode_logits(found, record, tokens)
    for head in range(4):
        q, k = x @ record.query[head].T, x @ record.key[head // groups].T
        if bias:
            q, k = q + record.query_bias[head], k + record.key_bias[head // groups]
        wanted = record.scale * q @ k.mT
        # equal up to what depends on the query alone, which softmax cancels
        torch.testing.assert_close(got[:, head].softmax(-1), wanted.softmax(-1), rtol=0, atol=1e-8)
        centred = wanted - wanted.mean(-1, keepdim=True)
        torch.testing.assert_close(
            got[:, head] - got[:, head].mean(-1, keepdim=True), centred, rtol=0, atol=1e-9 * float(centred.abs().max())
        )


def test_grouped_queries_are_repeated_keys(make_record):
    record = make_record(heads=6, groups=3)
    repeated = replace(record, key=record.key.repeat_interleave(3, 0), groups=1)
    grouped, plain = modes(record), modes(repeated)
    assert torch.equal(grouped.sigma, plain.sigma) and torch.equal(grouped.u, plain.u)
    assert folded_weights(record)[1].shape == (6, 4, 16)


def test_layers_of_different_shape_keep_their_order(make_record):
    records = [
        replace(make_record(heads=h, head_dim=k, seed=h), layer=layer)
        for layer, (h, k) in enumerate([(2, 4), (3, 5), (2, 4), (1, 8)])
    ]
    found = all_modes(records)
    assert [m.layer for m in found] == [0, 1, 2, 3]
    for record, each in zip(records, found, strict=True):
        assert each.sigma.shape == record.query.shape[:2] and each.u.shape == record.query.shape
        torch.testing.assert_close(each.sigma, modes(record).sigma, rtol=1e-12, atol=0)
    assert all_modes([]) == []


def test_precision_asked_for_is_used(make_record):
    record = make_record()
    assert modes(record).sigma.dtype == torch.float64
    single = modes(record, dtype=torch.float32)
    assert single.u.dtype == torch.float32
    torch.testing.assert_close(single.sigma.double(), modes(record).sigma, rtol=1e-5, atol=0)


def test_what_modes_do_not_describe_is_refused_by_name(make_record):
    with pytest.raises(InputError, match=r"layers\.0\.attn has position_query, which dissection does not handle"):
        modes(replace(make_record(), position_query=object()))


@pytest.mark.parametrize("small", [1.0, 1e-4, 1e-7, 1e-10, 1e-14, 0.0])
def test_nearly_dependent_weights_lose_no_digits(make_record, small):
    record = make_record(heads=4, head_dim=6, width=20, seed=7)
    query, key = record.query.clone(), record.key.clone()
    query[1, 3] = query[1, 0] + small * query[1, 3]
    key[2] *= small ** torch.linspace(0, 1, 6, dtype=torch.float64)[:, None] if small else 0
    record = replace(record, query=query, key=key)
    found = modes(record)
    eye = torch.eye(6, dtype=torch.float64).expand(4, 6, 6)
    for side in (found.u, found.v):
        torch.testing.assert_close(side @ side.mT, eye, rtol=0, atol=1e-12)
    for head in range(4):
        matrix = query[head].T @ key[head]
        sigma = torch.linalg.svdvals(matrix)[:6]
        largest = max(float(sigma[0]), 1e-300)
        torch.testing.assert_close(found.sigma[head], sigma, rtol=0, atol=1e-13 * largest)
        rebuilt = found.u[head].T @ torch.diag(found.sigma[head]) @ found.v[head]
        torch.testing.assert_close(rebuilt, matrix, rtol=0, atol=1e-13 * largest)


def test_heads_wider_than_the_tokens(make_record):
    record = make_record(head_dim=10, width=6)
    found = modes(record)
    assert found.u.shape == found.v.shape == (3, 6, 6) and found.sigma.shape == (3, 6)
    for head in range(3):
        rebuilt = found.u[head].T @ torch.diag(found.sigma[head]) @ found.v[head]
        torch.testing.assert_close(rebuilt, record.query[head].T @ record.key[head])


def test_shapes_that_do_not_match_are_refused(make_record):
    record = make_record()
    with pytest.raises(InputError, match=r"queries are \(3, 4, 16\), keys \(2, 4, 16\) after grouping"):
        modes(replace(record, key=record.key[:2]))
