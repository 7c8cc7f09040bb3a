"""Whitened features, and how long those of unseen samples are."""

from __future__ import annotations

import numpy as np
import pytest

from headwise import InputError
from headwise.forecast import whiten
from headwise.forecast.whitening import input_shift


def gaussian(n, d, seed=0, decay=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) * np.arange(1.0, d + 1) ** -decay + 3


@pytest.mark.parametrize(("n", "d", "kept"), [(200, 30, 30), (50, 30, 24), (40, 100, 19)])
def test_the_samples_have_the_unit_covariance(n, d, kept):
    x = gaussian(n, d, decay=0.5)
    found = whiten(x)
    assert (found.num_features, found.num_directions) == (d, kept)
    inside = found(x)
    np.testing.assert_allclose(inside.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(inside.T @ inside / n, np.eye(kept), atol=1e-6)


def test_unseen_length_is_that_of_leaving_each_sample_out():
    x = np.random.default_rng(0).standard_t(4, size=(25, 6))
    lengths = []
    for i in range(len(x)):
        rest = np.delete(x, i, axis=0)
        off = x[i] - rest.mean(0)
        lengths.append(off @ np.linalg.solve(np.cov(rest.T, bias=True), off) / 6)
    to_all = (1 - 6 / 24) / (1 - 6 / 25)  # as the docstring has it
    assert whiten(x).unseen == pytest.approx(np.mean(lengths) * to_all, rel=1e-9)


@pytest.mark.parametrize(("n", "d", "asked", "decay"), [(60, 40, 40, 0), (80, 40, None, 0), (400, 40, None, 1)])
def test_unseen_length_of_gaussian_features(n, d, asked, decay):
    found = [whiten(gaussian(n, d, seed, decay), asked).unseen for seed in range(20)]
    assert np.mean(found) == pytest.approx(n / (n - d - 2), rel=0.1)


@pytest.mark.parametrize(("n", "d", "decay"), [(60, 200, 0.8), (100, 80, 0.8), (60, 200, 0.0)])
def test_unseen_length_where_directions_are_chosen(n, d, decay):
    """Fewer samples than features, or fewer than two for each: against fresh samples."""
    said, seen = [], []
    for seed in range(10):
        found = whiten(gaussian(n, d, seed, decay))
        said.append(found.unseen)
        seen.append((found(gaussian(500, d, 1000 + seed, decay)) ** 2).mean())
    assert np.mean(said) == pytest.approx(np.mean(seen), rel=0.2)


def test_constant_and_repeated_features_are_left_out():
    x = gaussian(50, 4)
    assert whiten(np.hstack([x, x[:, :1], np.full((50, 1), 7.0)])).num_directions == 4
    with pytest.raises(InputError, match="the same for all samples"):
        whiten(np.full((50, 3), 0.1))


def test_adapted_to_other_samples():
    one, two = gaussian(300, 10, 0, 0.5), gaussian(200, 10, 1, 0.5)
    first = whiten(one)
    same = first.adapted(one)
    np.testing.assert_allclose(same.map, first.map, atol=1e-6)
    assert same.unseen == pytest.approx(first.unseen, rel=1e-6)
    other = first.adapted(two)
    inside = other(two)
    np.testing.assert_allclose(inside.T @ inside / 200, np.eye(10), atol=1e-9)
    assert (np.diag(np.linalg.lstsq(first(two), inside, rcond=None)[0]) > 0.8).all(), "turned as little as possible"
    assert input_shift(one, two, 10) < 0.2 < 0.5 < input_shift(one, two * np.linspace(1, 20, 10), 10)


@pytest.mark.parametrize(
    ("x", "asked", "said"),
    [
        (np.ones(5), None, "shape"),
        (np.array([[1.0, np.nan], [2.0, 3.0]]), None, "NaN"),
        (gaussian(40, 30), 25, "n_components=19"),
        (gaussian(31, 30), 30, "leave nothing over"),
        (gaussian(40, 30), 0, "at least 1"),
        ([["a", "b"]], None, "numbers"),
    ],
)
def test_what_cannot_be_whitened(x, asked, said):
    with pytest.raises(InputError, match=said):
        whiten(x, asked)


def test_other_features_do_not_fit():
    found = whiten(gaussian(50, 4))
    with pytest.raises(InputError, match="4 are needed"):
        found(np.ones((3, 5)))
    with pytest.raises(InputError, match="leave nothing over"):
        found.adapted(gaussian(5, 4))


def test_a_sample_that_is_alone_in_a_direction_says_nothing_of_others():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(size=(400, 20)), np.zeros((400, 2))], axis=1)
    features[7, 20] = features[9, 21] = 5.0
    found = whiten(features)
    assert found.num_directions == 22
    assert found.unseen == pytest.approx(20 / 22 * 400 / 380, rel=0.03)  # along two they have no length
