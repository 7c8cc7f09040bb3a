"""What data show of a teacher: formulas against random draws, and against each other."""

from __future__ import annotations

import numpy as np
import pytest

from headwise import InputError
from headwise.theory import random_matrix as rm
from headwise.theory.marchenko_pastur import bulk_edges

ASPECTS = (0.1, 0.5, 1.0, 2.0, 10.0)


def test_table_of_outliers_and_overlaps():
    """The specification's numbers for A = 1/2, to their last digit."""
    s = [1.0, 1.5, 3.0]
    np.testing.assert_allclose(rm.outlier(s, 0.5), [1.732, 1.993, 3.249], atol=6e-4)
    np.testing.assert_allclose(rm.output_overlap(s, 0.5), [0.333, 0.737, 0.942], atol=6e-4)
    np.testing.assert_allclose(rm.input_overlap(s, 0.5), [0.250, 0.624, 0.894], atol=6e-4)


@pytest.mark.parametrize("sides", [(400, 200), (200, 400), (300, 300)])
def test_formulas_against_draws_well_above_the_threshold(sides):
    """Which overlap is which, for wide and tall data; the largest deviation at these sizes is of order 1/sqrt(200)."""
    config = rm.RandomMatrix(*sides, strengths=(2.0, 3.0))
    predicted, simulated = rm.predict(config), rm.simulate(config, range(4))
    np.testing.assert_allclose(simulated["data singular value"], predicted["data singular value"], rtol=0.02)
    for side in ("output overlap", "input overlap"):
        np.testing.assert_allclose(simulated[side], predicted[side], atol=0.04)


def test_overlaps_appear_at_the_threshold():
    config = rm.RandomMatrix(400, 200, strengths=(0.4, 2.0))
    found = rm.simulate(config, range(2))
    assert found["output overlap"][0] < 0.1 and found["output overlap"][1] > 0.8
    edge = rm.threshold(0.5)
    assert edge == 0.5**0.25
    just = np.array([edge * (1 - 1e-9), edge * (1 + 1e-9)])
    np.testing.assert_allclose(rm.output_overlap(just, 0.5), 0, atol=1e-7)  # continuous
    np.testing.assert_allclose(rm.outlier(just, 0.5), bulk_edges(0.5)[1], rtol=1e-9)


@pytest.mark.parametrize("aspect", ASPECTS)
def test_inverse_of_the_outlier(aspect):
    s = rm.threshold(aspect) * np.array([1.01, 1.5, 4, 100])
    np.testing.assert_allclose(rm.teacher_value(rm.outlier(s, aspect), aspect), s, rtol=1e-7)
    assert rm.teacher_value(bulk_edges(aspect)[1], aspect) == 0


@pytest.mark.parametrize("aspect", ASPECTS)
def test_turning_the_matrix_over_exchanges_the_overlaps(aspect):
    """Seen from the other side noise has the variance 1/num_outputs, so all singular values scale by sqrt(A)."""
    s = rm.threshold(aspect) * np.array([0.5, 1.2, 3.0])
    unit = aspect**0.5
    np.testing.assert_allclose(rm.outlier(s, aspect), unit * rm.outlier(s / unit, 1 / aspect))
    np.testing.assert_allclose(rm.output_overlap(s, aspect), rm.input_overlap(s / unit, 1 / aspect), atol=1e-12)


def test_imprint():
    seen = rm.imprint([1.0, 4.0, 0.2], num_inputs=100, num_outputs=50, scale=2.0)
    np.testing.assert_array_equal(seen.teacher, [4, 1, 0.2])
    np.testing.assert_allclose(seen.data, 2 * rm.outlier([2.0, 0.5, 0.1], 0.5))
    np.testing.assert_array_equal(seen.alignment[1:], 0)
    assert len(seen.bulk) == 47 and seen.bulk[0] < 2 * bulk_edges(0.5)[1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rm.imprint([1.0, 2.0, 3.0], 10, 2), "rank 3, and a 2 x 10 matrix has 2"),
        (lambda: rm.imprint([np.nan], 10, 2), "finite"),
        (lambda: rm.imprint([-1.0], 10, 2), "not negative"),
        (lambda: rm.outlier(1.0, 0), "aspect must be a positive number"),
        (lambda: rm.RandomMatrix(num_inputs=0), "num_inputs"),
        (lambda: rm.RandomMatrix(strengths=()), "row of positive numbers"),
        (lambda: rm.RandomMatrix(strengths=(1.0, -1.0)), "each of strengths"),
        (lambda: rm.simulate(rm.RandomMatrix(10, 5, (1.0,)), []), "seeds must be a row"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message):
        call()
