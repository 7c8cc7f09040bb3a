"""Checks of what theories are given, one sentence for each kind of value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_number
from ..errors import InputError, unknown_name

__all__ = ["as_row", "check_cosine", "check_one_of", "check_rank", "not_negative"]


def not_negative(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """The values as an array; refuses negative and infinite ones.

    Examples
    --------
    >>> not_negative("times", [0, 1])
    array([0., 1.])
    """
    found = np.asarray(values, dtype=float)
    if not np.isfinite(found).all() or (found < 0).any():
        raise InputError(f"{name} must be finite and not negative, got {values!r}")
    return found


def as_row(
    name: str, values: Any, what: str = "positive numbers", check: Callable[[str, Any], None] = check_number
) -> tuple[Any, ...]:
    """The values as a tuple; refuses what is no row (list, tuple, array) of at least one value that passes ``check``.

    Examples
    --------
    >>> as_row("strengths", [1.5, 3.0])
    (1.5, 3.0)
    """
    given = values.tolist() if isinstance(values, np.ndarray) else values
    if isinstance(given, str) or not isinstance(given, Sequence) or not len(given):
        raise InputError(f"{name} must be a row of {what}, got {values!r}")
    for value in given:
        check(f"each of {name}", value)
    return tuple(given)


def check_one_of(name: str, value: Any, known: Iterable[str]) -> None:
    """Refuse what is none of the known names."""
    names = tuple(known)
    if value not in names:
        raise unknown_name(name, value, names)


def check_cosine(name: str, value: Any) -> None:
    """Refuse what is no number from -1 to 1."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real) or not -1 <= float(value) <= 1:
        raise InputError(f"{name} is a cosine, from -1 to 1, got {value!r}")


def check_rank(rank: int, num_inputs: int, num_outputs: int) -> None:
    """Refuse more singular values than a matrix of these sides has."""
    smaller = min(num_inputs, num_outputs)
    if rank > smaller:
        raise InputError(
            f"the teacher has rank {rank}, and a {num_outputs} x {num_inputs} matrix has {smaller} singular values at "
            "most; give fewer, or a larger matrix"
        )
