"""Optimal shrinkage: its formula, its place under gradient descent, and its noise level."""

from __future__ import annotations

import numpy as np
import pytest

from headwise import InputError
from headwise.theory import random_matrix as rm
from headwise.theory import shrinkage
from headwise.theory.deep_linear import DeepLinear, best_stopping
from headwise.theory.marchenko_pastur import bulk_edges
from headwise.theory.shrinkage import Shrinkage, denoise, shrink

STRENGTHS = (1.0, 1.5, 2.0, 3.0, 5.0)


def test_table_against_gradient_descent():
    """Section 5 of the specification, to one unit of its last digit; draws to what a few of this size differ by."""
    found = shrinkage.predict(Shrinkage(strengths=STRENGTHS))
    descent = found["gradient descent at its best time"]
    digit = np.array([1e-3, 1e-3, 1e-3, 1e-3, 1e-4])
    assert (np.abs(found["shrinkage"] - [0.917, 0.540, 0.333, 0.158, 0.0588]) <= digit).all()
    assert (np.abs(descent - [0.984, 0.720, 0.411, 0.167, 0.0592]) <= digit).all()
    drawn = shrinkage.simulate(Shrinkage(strengths=STRENGTHS), range(6))
    for name in found.series:
        np.testing.assert_allclose(drawn[name], found[name], atol=0.06)


def test_never_worse_than_gradient_descent():
    for sides in ((100, 50), (50, 100)):
        found = shrinkage.predict(Shrinkage(*sides, strengths=tuple(np.linspace(0.3, 8, 12))))
        assert (found["shrinkage"] <= found["gradient descent at its best time"] + 1e-9).all()


def test_one_mode_stopped_in_time_is_the_shrunk_one():
    for strength in STRENGTHS[1:]:
        stopped = best_stopping(DeepLinear(strengths=(strength,), hidden=1)).error
        assert stopped == pytest.approx(shrinkage.shrinkage_error([strength], 100, 50), abs=1e-6)


@pytest.mark.parametrize("aspect", [0.2, 1.0, 3.0])
def test_formula_is_the_teacher_times_both_cosines(aspect):
    s = rm.threshold(aspect) * np.array([1.1, 2.0, 5.0])
    expected = s * np.sqrt(rm.output_overlap(s, aspect) * rm.input_overlap(s, aspect))
    np.testing.assert_allclose(shrink(rm.outlier(s, aspect), aspect), expected, rtol=1e-9)
    np.testing.assert_allclose(shrink(3 * rm.outlier(s, aspect), aspect, scale=3), 3 * expected, rtol=1e-9)
    assert shrink(bulk_edges(aspect)[1], aspect) == 0


def test_no_other_factors_do_better_on_draws():
    """Two modes: the mean error is least near the rule, whichever way one moves."""
    errors = {factor: [] for factor in (0.8, 1.0, 1.2)}
    for seed in range(8):
        teacher, data = rm.draw([3.0, 1.8], 200, 100, seed)
        left, values, right = np.linalg.svd(data, full_matrices=False)
        for factor, kept in errors.items():
            kept.append((((left * (factor * shrink(values, 0.5))) @ right - teacher) ** 2).sum())
    assert np.mean(errors[1.0]) < min(np.mean(errors[0.8]), np.mean(errors[1.2]))


def test_denoise_finds_the_noise_and_keeps_data_without_any():
    teacher, data = rm.draw([6.0, 3.0], 200, 300, 0)
    found, scale = denoise(10 * data)
    assert scale == pytest.approx(10, rel=0.03) and np.linalg.matrix_rank(found) == 2
    assert ((found / 10 - teacher) ** 2).sum() < 0.25 * ((data - teacher) ** 2).sum()
    np.testing.assert_allclose(denoise(10 * data, scale=10.0)[0], found, rtol=0.1, atol=0.05)
    exact, none = denoise(np.outer([1.0, 2, 3], [1.0, 0, 1, 0]))
    np.testing.assert_allclose(exact, np.outer([1, 2, 3], [1, 0, 1, 0]), atol=1e-9)
    assert none == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shrink([1.0], 0.5, scale=0), "scale"),
        (lambda: shrink([np.inf], 0.5), "finite"),
        (lambda: denoise([1.0, 2.0]), "matrix of finite"),
        (lambda: Shrinkage(strengths=(np.nan,)), "strengths"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message):
        call()
