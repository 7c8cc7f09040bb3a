"""Metrics against explicit d x d matrices, closed forms and sampling."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from headwise.contracts import QueryKey
from headwise.dissect import (
    Modes,
    chance_band,
    effective_rank,
    modes,
    permuted_weighted_cosine,
    subspace_cosines,
    subspaces,
    weighted_cosine,
    weighted_cosine_band,
)
from headwise.dissect.metrics import mode_cosines, symmetric_share
from headwise.dissect.modes import folded_weights


@given(seed=st.integers(0, 10**6), kind=st.sampled_from([None, "layer", "rms"]))
def test_metrics_do_not_depend_on_the_sign_of_a_mode(make_record, seed, kind):
    found = modes(make_record(kind=kind, seed=seed))
    sign = torch.randint(0, 2, found.sigma.shape, generator=torch.Generator().manual_seed(seed))[..., None] * 2.0 - 1
    flipped = replace(found, u=sign * found.u, v=sign * found.v)
    for metric in (mode_cosines, weighted_cosine, effective_rank, symmetric_share):
        torch.testing.assert_close(metric(flipped), metric(found), rtol=0, atol=1e-14)


@given(seed=st.integers(0, 10**6), head_dim=st.integers(1, 6))
def test_symmetric_share_agrees_with_explicit_matrices(make_record, seed, head_dim):
    record = make_record(head_dim=head_dim, width=9, kind="layer", seed=seed)
    share = symmetric_share(modes(record))
    query, key = folded_weights(record)
    matrix = query.mT @ key
    symmetric = (matrix + matrix.mT) / 2
    wanted = symmetric.square().sum((-1, -2)) / matrix.square().sum((-1, -2))
    torch.testing.assert_close(share, wanted, rtol=0, atol=1e-12)


def test_symmetric_share_at_its_ends():
    same = torch.randn(1, 3, 8, dtype=torch.float64)
    assert symmetric_share(modes(QueryKey(0, "attn", same, same)))[0] == pytest.approx(1)
    turn = torch.tensor([[0.0, 1], [-1, 0]], dtype=torch.float64)
    antisymmetric = QueryKey(0, "attn", same[:, :2], turn @ same[:, :2])
    assert symmetric_share(modes(antisymmetric))[0] == pytest.approx(0, abs=1e-12)


def test_effective_rank_of_known_spectra():
    frame = torch.linalg.qr(torch.randn(10, 5, dtype=torch.float64)).Q.T
    weights = torch.tensor([[1.0, 1, 1, 1, 1], [3, 0, 0, 0, 0], [2, 2, 0, 0, 0]], dtype=torch.float64)
    found = modes(QueryKey(0, "attn", weights[..., None] * frame, frame.expand(3, 5, 10)))
    wanted = torch.tensor([5.0, 1, 2], dtype=torch.float64)
    torch.testing.assert_close(effective_rank(found), wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("width", "level"), [(128, 0.99), (192, 0.99), (384, 0.9), (768, 0.999)])
def test_chance_band_is_that_of_random_directions(width, level):
    # the squared cosine of two random directions follows Beta(1/2, (d - 1)/2)
    exact = beta.ppf(level, 0.5, (width - 1) / 2) ** 0.5
    assert chance_band(width, level) == pytest.approx(exact, rel=0.01)


def test_chance_band_against_sampled_directions():
    generator = torch.Generator().manual_seed(0)
    inside = total = 0
    for _ in range(10):
        u, v = torch.randn(2, 20_000, 128, generator=generator)
        cosine = torch.cosine_similarity(u, v, dim=-1)
        inside, total = inside + int((cosine.abs() < chance_band(128)).sum()), total + len(cosine)
    # 200 000 draws: the standard error of the share is 0.0002
    assert inside / total == pytest.approx(0.99, abs=0.0012)


@pytest.mark.parametrize("kind", [None, "layer", "rms"])
def test_permutations_keep_the_spectrum_and_give_the_chance_level(make_record, kind):
    record = make_record(kind=kind, width=24, groups=3)
    got = permuted_weighted_cosine(record, draws=5, seed=4)
    assert got.shape == (5, 3)
    query, key = folded_weights(record)
    generator = torch.Generator().manual_seed(4)
    for draw in got:
        order = torch.randperm(24, generator=generator)
        for head in range(3):
            matrix = query[head].T @ key[head][:, order]
            nuclear = torch.linalg.matrix_norm(matrix, "nuc")
            torch.testing.assert_close(nuclear, modes(record).sigma[head].sum(), rtol=1e-10, atol=0)
            torch.testing.assert_close(draw[head], matrix.trace() / nuclear, rtol=0, atol=1e-12)


def test_permuted_cosines_have_mean_zero_and_leave_planted_grouping_outside(make_record):
    record = make_record(heads=2, head_dim=8, width=64, kind="layer", gain=False, seed=1)
    record = replace(record, key=torch.stack([record.query[0], record.key[1]]))  # the first head groups
    draws = permuted_weighted_cosine(record, draws=400)
    error = draws.std(0) / 400**0.5
    assert bool((draws.mean(0).abs() < 4 * error).all())
    band = draws.abs().quantile(0.99, dim=0)
    found = weighted_cosine(modes(record))
    assert found[0] == pytest.approx(1) and float(band[0]) < 0.3
    assert abs(float(found[1])) < float(band[1])


def test_permutations_are_repeatable(make_record):
    record = make_record()
    first, again, other = (permuted_weighted_cosine(record, 3, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def orthogonal(seed, size):
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    return q * r.diagonal().sign()


def test_the_band_in_closed_form_is_that_of_random_rotations(make_record):
    found = modes(make_record(heads=2, head_dim=5, width=12, seed=3))
    drawn = []
    for seed in range(1500):
        turned = replace(found, v=found.v @ orthogonal(seed, 12))
        drawn.append(weighted_cosine(turned))
    spread = torch.stack(drawn).std(0)
    band = weighted_cosine_band(found)
    # 1500 draws: the standard error of a standard deviation is 1.8 %
    torch.testing.assert_close(2.5758 * spread, band, rtol=0.07, atol=0)


def test_bands_in_closed_form_and_by_permutation_agree(make_record):
    record = make_record(heads=3, head_dim=8, width=96, kind="layer", gain=False, seed=5)
    spread = permuted_weighted_cosine(record, draws=3000).std(0)
    torch.testing.assert_close(2.5758 * spread, weighted_cosine_band(modes(record)), rtol=0.06, atol=0)


def test_the_band_narrows_with_the_number_of_equal_modes():
    eye = torch.eye(16, dtype=torch.float64)[None]
    one, many = (Modes(0, torch.ones(1, n, dtype=torch.float64), eye[:, :n], eye[:, :n], True) for n in (1, 4))
    assert float(weighted_cosine_band(one)[0]) == pytest.approx(chance_band(16))
    assert float(weighted_cosine_band(many)[0]) == pytest.approx(chance_band(16) / 2)


def test_modes_of_equal_strength_are_one_subspace():
    sigma = torch.tensor([[4.0, 3.9, 3.8, 2.0, 1.0, 1.0], [5, 4, 3, 2, 0, 0]], dtype=torch.float64)
    eye = torch.eye(6, dtype=torch.float64).expand(2, 6, 6)
    found = Modes(0, sigma, eye, eye, True)
    assert subspaces(found).tolist() == [[0, 0, 0, 3, 4, 4], [0, 1, 2, 3, 4, 4]]
    assert subspaces(found, 1.01).tolist()[0] == [0, 1, 2, 3, 4, 4]


def test_the_cosine_of_a_subspace_does_not_depend_on_its_modes():
    """Equal singular values: any rotation of both sides together has the same matrix."""
    u, v = (orthogonal(seed, 8)[:4] for seed in (1, 2))
    sigma = torch.tensor([[3.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    turn = torch.eye(4, dtype=torch.float64)
    turn[1:, 1:] = orthogonal(3, 3)
    one = Modes(0, sigma, u[None], v[None], True)
    other = Modes(0, sigma, (turn @ u)[None], (turn @ v)[None], True)
    torch.testing.assert_close(
        one.u.mT @ (one.sigma[..., None] * one.v), other.u.mT @ (other.sigma[..., None] * other.v)
    )
    torch.testing.assert_close(subspace_cosines(one), subspace_cosines(other))
    singles = [(each.u * each.v).sum(-1)[0] for each in (one, other)]
    assert float((singles[0] - singles[1]).abs().max()) > 0.05
    torch.testing.assert_close(subspace_cosines(one)[0, 1:], singles[0][1:].mean().expand(3))
    torch.testing.assert_close(subspace_cosines(one)[0, 0], singles[0][0])


def test_permutations_of_a_head_of_zeros_are_zero(make_record):
    record = make_record()
    assert not permuted_weighted_cosine(replace(record, query=0 * record.query), draws=3).any()
