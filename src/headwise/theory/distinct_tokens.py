"""Distinct tokens: those of one class of sequences alone, with weights that grow linearly to 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import check_number
from ..errors import InputError
from .curves import Floats

__all__ = ["check_lowest", "names", "weights"]


def weights(lowest: float, count: int) -> Floats:
    """Weights of the tokens of a class, from the rarest to the most frequent one.

    Examples
    --------
    >>> weights(0.1, 4).round(2)
    array([0.1, 0.4, 0.7, 1. ])
    >>> weights(0.1, 1)
    array([1.])
    """
    return np.linspace(1, lowest, count)[::-1]


def names(lowest: float, count: int) -> list[str]:
    """A name for the curve of each token, numbered where weights look the same.

    Examples
    --------
    >>> names(0.5, 2)
    ['distinct, weight 0.5', 'distinct, weight 1']
    """
    found = [f"distinct, weight {weight:.3g}" for weight in weights(lowest, count)]
    return found if len(set(found)) == count else [f"{name} ({i})" for i, name in enumerate(found)]


def check_lowest(lowest: Any) -> None:
    """Refuse what is no weight of the rarest token."""
    check_number("lowest", lowest)
    if lowest > 1:
        raise InputError(f"lowest is the weight of the rarest distinct token and at most 1, got {lowest!r}")
