"""The options of a mechanism: a configuration whose types are checked, and what its documentation says of them."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, dataclass, fields
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from ..checks import check_flag, check_whole
from ..errors import InputError, unknown_name

__all__ = ["Grid", "MixerConfig", "check_divides", "check_grid", "documented", "told"]

Grid = tuple[int, int]


@dataclass(frozen=True)
class MixerConfig:
    """What all mechanisms have. Values are held to the annotations of the fields, and become plain ones of Python.

    Parameters
    ----------
    dim : int
        Width of the tokens (channels of a map).
    grid : (int, int), optional
        Rows and columns of the tokens after the prefix, where a call does not say; nothing to a mechanism that knows
        no grid.
    num_prefix_tokens : int
        Tokens in front that have no place on the grid.
    """

    dim: int
    grid: Grid | None = None
    num_prefix_tokens: int = 0

    def __post_init__(self) -> None:
        if self.grid is not None:
            check_grid(self.grid)
        for name, kind in get_type_hints(type(self)).items():
            object.__setattr__(self, name, _as_declared(name, getattr(self, name), kind))
        check_whole("dim", self.dim, least=1)
        check_whole("num_prefix_tokens", self.num_prefix_tokens)


def check_grid(grid: Any) -> None:
    """Refuse what is not two whole numbers of at least 1."""
    if not isinstance(grid, (tuple, list)) or len(grid) != 2 or not all(_is_side(side) for side in grid):
        raise InputError(f"grid is (rows, columns), two whole numbers of at least 1, got {grid!r}")


def _is_side(side: Any) -> bool:
    # torch.compile follows this, and does not know what is of NumPy: it is asked last
    whole = (isinstance(side, int) and not isinstance(side, bool)) or isinstance(side, np.integer)
    return whole and bool(side >= 1)


def told(config: MixerConfig, option: str) -> str:
    """``option=value``, called the default where it is: an error may be about a value that nobody gave."""
    value = getattr(config, option)
    default = next(f.default for f in fields(config) if f.name == option)
    return f"{'the default ' if value == default else ''}{option}={value!r}"


def check_divides(config: MixerConfig, part: str, whole: str) -> None:
    """Refuse an option ``part`` (heads, groups) that does not divide the option ``whole``."""
    given, all_ = getattr(config, part), getattr(config, whole)
    check_whole(part, given, least=1)
    if all_ % given == 0:
        return
    near = max(k for k in range(1, given + 1) if all_ % k == 0)
    said = told(config, part)
    if said.startswith("the default"):
        raise InputError(f"{said} does not divide {whole}={all_}; give {part}={near}, or another that does")
    raise InputError(f"{part} must divide {whole}={all_}, got {given}; the next below that does is {near}")


def _as_declared(name: str, value: Any, kind: Any) -> Any:
    """The value as a plain one of the kind that an annotation says; what is of another kind is refused."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):  # of one kind and None
        (kind,) = (one for one in args if one is not NoneType)
        return None if value is None else _as_declared(name, value, kind)
    if origin is Literal:
        if not isinstance(value, str) or value not in args:
            raise unknown_name(name, value, args)
        return value
    if origin is tuple:
        return _as_tuple(name, value, args)
    if kind is bool:
        check_flag(name, value)
        return bool(value)
    number, words = {int: (Integral, "a whole number"), float: (Real, "a number")}[kind]
    if isinstance(value, bool) or not isinstance(value, number):
        raise InputError(f"{name} must be {words}, got {value!r}")
    return kind(value)


def _as_tuple(name: str, value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    """A tuple of so many kinds, or of one kind and any length where the second one is an ellipsis."""
    same = kinds[1:] == (...,)
    if not isinstance(value, (tuple, list)) or not (same or len(value) == len(kinds)):
        many = "any number of" if same else len(kinds)
        raise InputError(f"{name} must be a tuple of {many} values, got {value!r}")
    every = kinds[:1] * len(value) if same else kinds
    return tuple(_as_declared(f"one of {name}", one, kind) for one, kind in zip(value, every, strict=True))


def documented(text: str, config: type[MixerConfig], leave_out: tuple[str, ...] = ()) -> str:
    """A docstring with the options of ``config``, those that it inherits included, as its section of parameters.

    So ``help`` and the documentation show all of them at the mechanism, with their defaults, and each is described in
    one place.
    """
    text, described = inspect.cleandoc(text), _descriptions(config)
    lines = ["Parameters", "----------"]
    for f in fields(config):
        if f.name in leave_out:
            continue
        kind, *more = described.get(f.name, [str(f.type)])
        default = "" if f.default is MISSING or f.default is None else f", default {f.default!r}"
        lines += [f"{f.name} : {kind}{default}", *more]
    after = re.search(r"^(Notes|Examples)\n-+$", text, re.MULTILINE)
    place = after.start() if after else len(text)
    return "\n".join([text[:place].rstrip(), "", *lines, "", text[place:]])


def _descriptions(config: type[MixerConfig]) -> dict[str, list[str]]:
    """By option, the lines that describe it in the docstrings of a configuration and of what it inherits from."""
    found: dict[str, list[str]] = {}
    for one in reversed(config.__mro__):
        _, _, section = inspect.cleandoc(one.__dict__.get("__doc__") or "").partition("Parameters\n----------\n")
        name = ""
        for line in section.splitlines():
            option = re.match(r"(\w+) : (.+)", line)
            if option:
                name = option[1]
                found[name] = [option[2]]
            elif name:
                found[name].append(line)
    return found
