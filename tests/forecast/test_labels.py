"""Labels as outputs of a probe."""

from __future__ import annotations

import numpy as np
import pytest

from headwise import InputError
from headwise.forecast import LabelMatrix


@pytest.mark.parametrize(
    "labels", [np.arange(30) % 3, np.array(list("abc") * 10), np.random.default_rng(0).normal(size=(30, 2))]
)
def test_outputs_are_centred_with_a_variance_of_one(labels):
    matrix = LabelMatrix.of(labels)
    found = matrix(labels)
    assert found.shape == (30, 2) and matrix.num_outputs == 2
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-12)
    assert (found**2).sum() / 30 == pytest.approx(1)


def test_distances_are_those_of_one_hot_columns():
    labels = np.array([0, 0, 1, 2, 2, 2, 5])
    one_hot = (labels[:, None] == np.array([0, 1, 2, 5])).astype(float)
    one_hot /= np.sqrt(((one_hot - one_hot.mean(0)) ** 2).sum() / 7)
    found = LabelMatrix.of(labels)(labels)
    expected = np.linalg.norm(one_hot[:, None] - one_hot, axis=2)
    np.testing.assert_allclose(np.linalg.norm(found[:, None] - found, axis=2), expected, atol=1e-12)


def test_names_keep_their_codes_on_other_samples():
    matrix = LabelMatrix.of(["cat", "dog", "cow", "dog"])
    np.testing.assert_allclose(matrix(["dog"]), matrix(["cat", "dog"])[1:])


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["a"] * 5, "of the class a"),
        (np.zeros(5, dtype=int), "two classes"),
        (np.full(5, 0.1), "all targets are the same"),
        ([0.0, np.nan], "NaN"),
        ([], "no labels"),
    ],
)
def test_labels_without_anything_to_learn(labels, said):
    with pytest.raises(InputError, match=said):
        LabelMatrix.of(labels)


def test_other_labels_do_not_fit():
    with pytest.raises(InputError, match="bird"):
        LabelMatrix.of(["cat", "dog"])(["bird"])
    with pytest.raises(InputError, match="2 are needed"):
        LabelMatrix.of(np.eye(2))(np.eye(3))
    with pytest.raises(InputError, match="one class for each"):
        LabelMatrix.of([0, 1])(np.eye(2, dtype=int))
