"""Benefit of a second label set, forecast from visible modes."""

from __future__ import annotations

import numpy as np
import pytest

from headwise import InputError
from headwise.forecast import alignments, estimate_spectrum, transfer_benefit
from headwise.theory import joint_teacher
from headwise.theory.mode_growth import mode_strengths

D, OUTPUTS = 60, 20


def two_tasks(n, alignment, strengths, noise=1.0, shared_noise=0.0, seed=0):
    """One mode each; scale of the noise one where ``n = D``. Returns features and both targets."""
    rng = np.random.default_rng(seed)
    along = np.linalg.qr(rng.normal(size=(D, 2)))[0].T
    units = [v / np.linalg.norm(v) for v in rng.normal(size=(2, OUTPUTS))]
    inputs = along[0], alignment * along[0] + (1 - alignment**2) ** 0.5 * along[1]
    x = rng.normal(size=(n, D))
    common = rng.normal(size=(n, OUTPUTS))
    own = (1 - shared_noise**2) ** 0.5
    y = [
        s * np.outer(x @ v, u) + noise * (shared_noise * common + own * rng.normal(size=(n, OUTPUTS)))
        for s, v, u in zip(strengths, inputs, units, strict=True)
    ]
    return x, *y


@pytest.mark.parametrize("shared_noise", [0.0, 0.9])
@pytest.mark.parametrize("alignment", [0.0, 0.6, 1.0])
def test_alignment_of_teachers_on_the_same_samples(alignment, shared_noise):
    found = []
    for seed in range(6):
        x, a, b = two_tasks(180, alignment, (1.2, 1.5), shared_noise=shared_noise, seed=seed)
        first, second = estimate_spectrum(x, a), estimate_spectrum(x, b)
        found.append(np.abs(alignments(first, second, same_samples=True)).max())
    assert np.mean(found) == pytest.approx(alignment, abs=0.12)


def test_alignment_of_teachers_on_other_samples():
    for alignment in (0.0, 0.8):
        x, a, b = two_tasks(600, alignment, (1.0, 1.0))
        first = estimate_spectrum(x[:300], a[:300])
        whitening = first.whitening.adapted(x[300:])
        found = alignments(first, estimate_spectrum(x[300:], b[300:], whitening=whitening))
        assert np.abs(found).max() == pytest.approx(alignment, abs=0.12)


@pytest.mark.parametrize("alignment", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("strengths", [(2.0, 3.0), (3.0, 2.0)])
def test_benefit_of_the_estimate_is_that_of_the_truth(alignment, strengths):
    """As many samples as `theory.transfer` has for its noise; the estimate sees the data alone."""
    n = 240
    planted = tuple(s * (D / n) ** 0.5 for s in strengths)
    one = joint_teacher.JointTeacher(np.array([strengths[0]]), np.ones((1, 1)), (OUTPUTS,), D)
    truth = joint_teacher.benefit(one, joint_teacher.pair(*strengths, alignment, D, (OUTPUTS, OUTPUTS)))
    found = []
    for seed in range(6):
        x, a, b = two_tasks(n, alignment, planted, seed=seed)
        found.append(transfer_benefit(estimate_spectrum(x, a), estimate_spectrum(x, b), same_samples=True).value)
    assert np.mean(found) == pytest.approx(truth, abs=0.08)


def test_benefit_is_what_joint_training_brings():
    """Students trained on drawn labels, alone and jointly, against the planted teacher."""
    n = 240
    said, seen = [], []
    for seed in range(6):
        x, a, b = two_tasks(n, 0.95, (0.8, 1.5), seed=seed)
        first, second = estimate_spectrum(x, a), estimate_spectrum(x, b)
        said.append(transfer_benefit(first, second, same_samples=True).value)
        clean = two_tasks(n, 0.95, (0.8, 1.5), noise=0.0, seed=seed)[1]
        inside = first.whitening(x)
        teacher = clean.T @ inside / n  # on whitened features
        data = [y.T @ inside / n for y in (a, b)]
        seen.append(least_error(teacher, data[0]) - least_error(teacher, np.concatenate(data)))
    assert min(said) > 0
    assert np.mean(said) == pytest.approx(np.mean(seen), abs=0.08)


def least_error(teacher, data):
    left, values, right = np.linalg.svd(data, full_matrices=False)
    strengths = mode_strengths(np.linspace(0, 60, 600), values, 1e-3)
    left = left[: len(teacher)]
    along = np.einsum("ij,ik,kj->k", teacher, left, right)
    size = (teacher**2).sum()
    return (1 + (-2 * strengths @ along + strengths**2 @ (left**2).sum(0)) / size).min()


def test_labels_of_noise_only_harm():
    x, a, _ = two_tasks(240, 0.0, (1.0, 1.0))
    noise = np.random.default_rng(1).normal(size=(240, OUTPUTS))
    found = transfer_benefit(estimate_spectrum(x, a), estimate_spectrum(x, noise), same_samples=True)
    assert found.visible_modes == 0 and found.alignment == 0 and found.value < 0
    assert "only add noise" in found.status


def test_what_cannot_be_seen_cannot_be_helped():
    x, a, _ = two_tasks(240, 0.0, (1.0, 1.0))
    noise = np.random.default_rng(1).normal(size=(240, OUTPUTS))
    found = transfer_benefit(estimate_spectrum(x, noise), estimate_spectrum(x, a), same_samples=True)
    assert found.value is None and found.to_dict()["alone"] is None
    assert "nothing of the first label set is visible" in found.status


def test_labels_without_noise_can_be_auxiliary():
    x, a, _ = two_tasks(240, 0.0, (0.9, 1.0))
    clean = two_tasks(240, 0.0, (0.9, 1.0), noise=0.0)[1]
    found = transfer_benefit(estimate_spectrum(x, a), estimate_spectrum(x, clean), same_samples=True)
    assert found.value > 0.05 and found.alignment > 0.9


def test_other_directions_do_not_fit():
    x, a, b = two_tasks(240, 0.0, (1.0, 1.0))
    with pytest.raises(InputError, match="60 and 10 directions"):
        alignments(estimate_spectrum(x, a), estimate_spectrum(x, b, n_components=10))
    with pytest.raises(InputError, match="240 and 200 samples"):
        alignments(estimate_spectrum(x, a), estimate_spectrum(x[:200], b[:200], n_components=60), same_samples=True)
