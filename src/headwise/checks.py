"""Checks of single values that users give, one sentence for each kind of value."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from .contracts import TextBackbone  # which imports torch

__all__ = [
    "as_bytes",
    "as_list",
    "as_path",
    "check_backbone",
    "check_called",
    "check_flag",
    "check_images",
    "check_nonnegative",
    "check_number",
    "check_unmasked",
    "check_whole",
    "each_of",
    "takes_texts",
    "told",
]

T = TypeVar("T")
_LONGEST = 60
"""Characters of a value that a message quotes."""


def told(value: Any) -> str:
    """What was given, in few words: plain values as they are, of others the type.

    Examples
    --------
    >>> told(5), told([1, 2]), told({"a": 1})
    ('5', '[1, 2]', 'a dict')
    """
    plain = value is None or isinstance(value, (str, bytes, Real, tuple, list))
    if plain and len(said := repr(value)) <= _LONGEST:
        return said
    name = value.__name__ if isinstance(value, type) else type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def each_of(name: str, values: Any, kind: type[T], what: str) -> Iterator[T]:
    """The values one by one; refuses what cannot be gone through, and then the first that is no ``kind``.

    Parameters
    ----------
    name, what : str
        Of the argument, and of what belongs into it.

    Examples
    --------
    >>> list(each_of("layers", (0, 2), int, "numbers of layers"))
    [0, 2]
    """
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise InputError(f"{name} must be a list of {what}, got {told(values)}")

    def checked() -> Iterator[T]:
        for number, value in enumerate(values):
            if not isinstance(value, kind):
                raise InputError(f"{name} must be a list of {what}; the one at place {number} is {told(value)}")
            yield value

    return checked()


def as_list(name: str, values: Any, kind: type[T], what: str) -> list[T]:
    """`each_of` them, as a list."""
    return list(each_of(name, values, kind, what))


def as_path(name: str, value: Any) -> Path:
    """A path from text or a path.

    Examples
    --------
    >>> as_path("path", "out").name
    'out'
    """
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise InputError(f"{name} must be a path (str or pathlib.Path), got {told(value)}")
    return Path(value)


def check_called(name: str, value: Callable[..., Any] | None, how: str) -> None:
    """Refuse what is neither None nor a function; ``how`` is the way in which it is called."""
    if value is not None and not callable(value):
        raise InputError(f"{name} must be a function, called as {how}, or None, got {told(value)}")


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


def check_images(backbone: Any, needs: str) -> None:
    """Refuse a backbone that is not one of images; ``needs`` is what asks for one."""
    check_backbone(backbone, "query_keys")
    if not hasattr(backbone, "grid"):
        raise InputError(f"{backbone.name} takes no images; {needs} needs a backbone of images")


def takes_texts(backbone: Any) -> TypeGuard[TextBackbone]:
    """Whether a backbone takes texts, and not images."""
    return hasattr(backbone, "encode") and not isinstance(backbone, str)
