"""Weights and names of distinct tokens."""

from __future__ import annotations

import numpy as np
import pytest

from headwise import InputError
from headwise.theory.distinct_tokens import check_lowest, names, weights


def test_weights_grow_linearly_to_one():
    np.testing.assert_allclose(weights(0.1, 10), np.arange(1, 11) / 10)
    np.testing.assert_array_equal(weights(0.3, 1), [1])


def test_names_are_numbered_where_weights_look_the_same():
    assert names(1.0, 2) == ["distinct, weight 1 (0)", "distinct, weight 1 (1)"]
    assert len(set(names(0.999, 20))) == 20


@pytest.mark.parametrize("lowest", [0, 1.5, "a"])
def test_refuses(lowest):
    with pytest.raises(InputError, match="lowest"):
        check_lowest(lowest)
