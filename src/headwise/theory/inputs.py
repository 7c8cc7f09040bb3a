"""Checks of what theories are given, one sentence for each kind of value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from numbers import Real
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_number
from ..errors import InputError, unknown_name

__all__ = [
    "as_row",
    "check_cosine",
    "check_entries",
    "check_one_of",
    "check_rank",
    "check_strength",
    "not_negative",
    "on",
]

STRONGEST = 1e6
"""Of a mode, in units of the noise: its square and its exponentials are numbers still."""
MOST_ENTRIES = 10**8
"""Of a matrix or table that is made: 0.8 GB."""

P = ParamSpec("P")
R = TypeVar("R")


def on(config: type) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator of ``predict`` and ``simulate``: refuses what is no ``config`` in the first place."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            given = args[0] if args else kwargs.get("config")
            if not isinstance(given, config):
                raise InputError(
                    f"{function.__module__}.{function.__name__} takes a {config.__name__}, got "
                    f"{given.__name__ if isinstance(given, type) else type(given).__name__}"
                )
            return function(*args, **kwargs)

        return checked

    return decorate


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


def check_strength(name: str, value: Any) -> None:
    """Refuse what is no strength of a mode: a positive number below a million, in units of the noise."""
    check_number(name, value, below=STRONGEST)


def check_entries(what: str, count: int) -> None:
    """Refuse a table of more than a hundred million numbers.

    Examples
    --------
    >>> check_entries("a 100 x 50 matrix", 5000)
    """
    if count > MOST_ENTRIES:
        raise InputError(f"{what} would have {count:.0e} entries, and at most {MOST_ENTRIES:,} are made; give less")


def check_rank(rank: int, num_inputs: int, num_outputs: int) -> None:
    """Refuse a matrix that is too large to be drawn, and more singular values than one of these sides has."""
    check_entries(f"a {num_outputs:,} x {num_inputs:,} matrix", num_inputs * num_outputs)
    smaller = min(num_inputs, num_outputs)
    if rank > smaller:
        raise InputError(
            f"the teacher has rank {rank}, and a {num_outputs} x {num_inputs} matrix has {smaller} singular values at "
            "most; give fewer, or a larger matrix"
        )
