"""Checks of single values that users give, one sentence for each kind of value."""

from __future__ import annotations

import re
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from .contracts import TextBackbone  # which imports torch

__all__ = [
    "as_bytes",
    "check_backbone",
    "check_flag",
    "check_nonnegative",
    "check_number",
    "check_unmasked",
    "check_whole",
    "takes_texts",
]


def check_whole(name: str, value: Any, least: int = 0, or_none: bool = False) -> None:
    """Refuse what is no whole number of at least ``least``.

    Examples
    --------
    >>> check_whole("seed", 3)
    """
    if or_none and value is None:
        return
    if not _is(value, Integral) or value < least:
        none = " or None" if or_none else ""
        raise InputError(f"{name} must be a whole number of at least {least}{none}, got {value!r}")


def check_number(name: str, value: Any, below: float = float("inf")) -> None:
    """Refuse what is no number above zero, finite, and below ``below``.

    Examples
    --------
    >>> check_number("beta", 0.1)
    """
    if not _is(value, Real) or not 0 < float(value) < below:
        under = "" if below == float("inf") else f" below {below:g}"
        raise InputError(f"{name} must be a positive number{under}, got {value!r}")


def check_nonnegative(name: str, value: Any) -> None:
    """Refuse what is no finite number of at least 0.

    Examples
    --------
    >>> check_nonnegative("threshold", 0)
    """
    if not _is(value, Real) or not 0 <= float(value) < float("inf"):
        raise InputError(f"{name} must be a finite number of at least 0, got {value!r}")


def check_flag(name: str, value: Any) -> None:
    """Refuse what is neither True nor False."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} must be True or False, got {value!r}")


def check_unmasked(name: str, values: Any) -> None:
    """Refuse NumPy masked arrays that hide something: what reads them sees the values behind the mask."""
    if np.ma.is_masked(values):
        raise InputError(
            f"{name} are a NumPy masked array with hidden values; leave these samples out, or give plain numbers and, "
            "for tokens, a boolean mask (n, s) that is True where a token is real"
        )


_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def as_bytes(name: str, size: int | str | None) -> int | None:
    """A size in bytes, from a number or from words such as ``"900MB"``, ``"1.5 GiB"`` (units of 1,024); None for none.

    Examples
    --------
    >>> as_bytes("max_memory", "1.5 GiB"), as_bytes("max_memory", None)
    (1610612736, None)
    """
    if isinstance(size, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?\s*", size.upper())
        if found is None:
            raise InputError(f"{name} is {size!r}; give bytes, or a size such as 900MB or 1.5GB")
        size = int(float(found[1]) * _UNITS[found[2]])
    if size is not None and (not _is(size, Integral) or size <= 0):
        raise InputError(f"{name} must be a positive number of bytes, a size such as '1GB', or None, got {size!r}")
    return size


def check_backbone(given: Any, needs: str) -> None:
    """Refuse what has not the method ``needs`` of `headwise.contracts.Backbone`."""
    if not hasattr(given, needs):
        what = repr(given) if isinstance(given, str) else f"a {type(given).__name__}"
        name = repr(given) if isinstance(given, str) else "NAME"
        raise InputError(f"a backbone is needed, got {what}; give headwise.load_backbone({name})")


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, (bool, np.bool_))


def takes_texts(backbone: Any) -> TypeGuard[TextBackbone]:
    """Whether a backbone takes texts, and not images."""
    return hasattr(backbone, "encode") and not isinstance(backbone, str)
