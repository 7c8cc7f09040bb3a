"""Modes and noise of labels, and what they say about unseen samples at any number of samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headwise import InputError
from headwise.forecast import Visibility, estimate_spectrum
from headwise.theory.random_matrix import imprint
from headwise.theory.stopping import teacher_error


@pytest.mark.parametrize("ratio", [1.6, 4.0, 16.0])
def test_planted_modes_and_noise_are_found(planted, ratio):
    made = planted(strengths=(2.0, 1.4), noise=0.5)
    found = [estimate_spectrum(*made.draw(int(ratio * made.d), k), n_components=made.d) for k in range(8)]
    assert {s.num_visible for s in found} == {2}
    assert {s.visibility for s in found} == {Visibility.LEARNABLE}
    unit = made.variance**0.5
    strengths = np.mean([s.teacher[:2] for s in found], axis=0) * unit
    np.testing.assert_allclose(strengths, [2.0, 1.4], rtol=0.06)
    assert np.mean([s.noise_share for s in found]) * unit**2 == pytest.approx(20 * 0.25, rel=0.06)
    assert np.mean([s.signal for s in found]) * unit**2 == pytest.approx(4 + 1.96, rel=0.08)


@pytest.mark.parametrize(("n", "d", "classes"), [(160, 60, 4), (300, 50, 6), (60, 20, 2)])
def test_random_labels_are_seldom_taken_for_more(n, d, classes):
    """The noise is estimated too, from few samples beyond the directions."""
    rng = np.random.default_rng(5)
    found = [estimate_spectrum(rng.normal(size=(n, d)), rng.integers(classes, size=n)).num_visible for _ in range(100)]
    assert np.mean(np.array(found) > 0) <= 0.04


def test_nothing_learnable_is_an_answer():
    rng = np.random.default_rng(0)
    found = [estimate_spectrum(rng.normal(size=(120, 30)), rng.integers(5, size=120)) for _ in range(20)]
    assert sum(s.visibility is not Visibility.NOTHING for s in found) <= 1
    quiet = next(s for s in found if s.visibility is Visibility.NOTHING)
    assert quiet.signal == 0 and not quiet.teacher.any()
    assert quiet.at().least_error == pytest.approx(1, abs=0.1)
    assert "nothing learnable is visible at this sample size" in quiet.to_dict()["status"]


def test_many_weak_modes_are_seen_together(planted):
    made = planted(d=100, outputs=60, strengths=(0.42,) * 60, noise=1.0)
    found = estimate_spectrum(*made.draw(400))
    assert found.num_visible <= 6
    assert found.visibility in (Visibility.HIDDEN, Visibility.LEARNABLE)
    assert found.signal == pytest.approx(60 * 0.42**2 / made.variance, rel=0.35)


@pytest.mark.parametrize("ratio", [1.3, 2.0, 5.0, 20.0])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_error_on_unseen_samples_at_any_ratio_of_samples_to_features(planted, ratio, share):
    """The derivation: students with these modes, against the planted teacher with the true covariance."""
    made = planted(d=60, outputs=25, strengths=(1.5, 1.0, 0.6), noise=0.4)
    said, truth = [], []
    for k in range(40):
        x, y = made.draw(int(ratio * made.d), k)
        found = estimate_spectrum(x, y, n_components=made.d)
        signal = (share * (found.values + 0.3 * found.values[0]) / 1.3)[None]  # learned unevenly, as in training
        strengths = np.minimum(signal, found.values)
        said.append(found.at().error(strengths)[0] * found.at().total)
        student = (found.left * strengths) @ found.right  # outputs on whitened features, in units of the labels
        back = student @ found.whitening.map.T @ made.mix.T  # on the features before they were mixed
        teacher = found.labels.basis.T @ made.teacher
        shift = (2 - found.whitening.centre) @ found.whitening.map @ student.T  # of the means
        offset = shift - (0 - found.labels.mean) @ found.labels.basis
        noise = made.noise**2 * (found.labels.basis**2).sum()
        truth.append(((back - teacher) ** 2).sum() + noise + (offset**2).sum())
    assert np.mean(said) == pytest.approx(np.mean(truth), rel=0.02 if ratio >= 2 else 0.04)


def test_other_numbers_of_samples_are_forecast_from_one(planted):
    made = planted(d=40, outputs=10, strengths=(1.0, 0.7), noise=0.6)
    for n, more in ((200, 400), (200, 800), (400, 100)):
        said = [estimate_spectrum(*made.draw(n, k), n_components=40).at(more).least_error for k in range(8)]
        seen = [estimate_spectrum(*made.draw(more, 50 + k), n_components=40).at().least_error for k in range(8)]
        assert np.mean(said) == pytest.approx(np.mean(seen), abs=0.02)


def test_the_theory_where_unseen_samples_are_like_seen_ones(planted):
    """With unit covariance and one noise the error is that of `headwise.theory`, but for the teacher in the bulk."""
    made = planted(d=200, outputs=100, strengths=(1.5, 1.0), noise=0.05)
    found = estimate_spectrum(*made.draw(2000))
    level = found.scale(2000).mean()
    noise = np.full_like(found.noise, level * (2000 / 200) ** 0.5)
    even = replace(found, noise=noise, whitening=replace(found.whitening, unseen=1.0))
    seen = imprint(even.teacher[:2] / level, 200, 100)
    outlook = even.at()
    strengths = np.zeros((1, 100))
    strengths[0, :2] = 0.9 * even.values[:2]
    theory = teacher_error(seen, strengths[:, :2] / level, strengths[:, 2:]) * (seen.teacher**2).sum() * level**2
    np.testing.assert_allclose(
        outlook.error(strengths) * outlook.total - outlook.floor - even.hidden, theory, rtol=1e-6
    )


def test_labels_without_noise():
    x = np.random.default_rng(0).normal(size=(100, 10))
    found = estimate_spectrum(x, x[:, :2])
    assert found.num_visible == 2 and found.noise_share < 1e-12
    assert found.at().least_error == pytest.approx(0, abs=1e-6)


def test_fewer_samples_than_features():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 300)) * np.arange(1, 301) ** -1.0
    found = estimate_spectrum(x, x[:, 0] + 0.3 * rng.normal(size=90))
    assert found.num_directions == 44 and found.aspect == pytest.approx(1 / 44)
    assert found.num_visible == 1


def test_rare_classes_have_a_noise_of_their_own():
    """Outputs of unequal noise: with labels drawn at random, no mode may seem to be above it."""
    rng = np.random.default_rng(0)
    weights = np.array([0.9, 0.06, 0.02, 0.02])
    seen = [
        estimate_spectrum(rng.normal(size=(400, 30)), rng.choice(4, size=400, p=weights)).num_visible for _ in range(20)
    ]
    assert np.mean(seen) <= 0.1


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (np.ones((5, 2)) * np.arange(5)[:, None], np.arange(4), "5 rows of features and 4 labels"),
        (np.eye(5), np.zeros(5, dtype=int), "two classes"),
        (np.eye(2), np.arange(2), "leave nothing over"),
    ],
)
def test_bad_input(x, y, said):
    with pytest.raises(InputError, match=said):
        estimate_spectrum(x, y)


def test_fewer_samples_than_directions_cannot_be_forecast(planted):
    found = estimate_spectrum(*planted().draw(200))
    with pytest.raises(InputError, match="leave nothing over"):
        found.at(found.num_directions)
