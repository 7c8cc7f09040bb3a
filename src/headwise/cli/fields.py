"""Fields of a configuration as words of the command line: what each takes, and ``FIELD=VALUE`` read into a value."""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import InputError, unknown_name

__all__ = ["list_fields", "parse_fields"]

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
ROWS = {int: "whole numbers, separated by commas", float: "numbers, separated by commas"}


def list_fields(config: type) -> dict[str, tuple[str, str]]:
    """What each field takes, and its default, as both are written on the command line.

    Examples
    --------
    >>> from headwise.theory.random_matrix import RandomMatrix
    >>> list_fields(RandomMatrix)["num_inputs"]
    ('a whole number', '400')
    """
    kinds = get_type_hints(config)
    return {field.name: (_described(kinds[field.name]), _written(field.default)) for field in fields(config)}


def parse_fields(what: str, config: type, given: Sequence[str]) -> dict[str, Any]:
    """Values of fields by name; the configuration itself checks that they make sense.

    Parameters
    ----------
    what : str
        Whose fields they are, for errors.
    config : type
        A dataclass whose fields are numbers, flags, text, names (``Literal``), rows of numbers, or one of these and
        None.
    given : sequence of str
        ``FIELD=VALUE`` each.

    Raises
    ------
    InputError
        A field that is not there or is given twice, or a value of another kind.

    Examples
    --------
    >>> from headwise.theory.random_matrix import RandomMatrix
    >>> parse_fields("random_matrix", RandomMatrix, ["num_inputs=200", "strengths=1,2.5"])
    {'num_inputs': 200, 'strengths': (1.0, 2.5)}
    """
    kinds = {field.name: get_type_hints(config)[field.name] for field in fields(config)}
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise InputError(f"--set takes FIELD=VALUE, got {text!r}; fields of {what} are {', '.join(kinds)}")
        if name not in kinds:
            raise unknown_name(f"field of {what}", name, kinds)
        if name in found:
            raise InputError(f"{name} is set twice; give it once")
        try:
            found[name] = _read(kinds[name], value)
        except ValueError:
            raise InputError(f"{name} must be {_described(kinds[name])}, got {value!r}") from None
    return found


def _read(kind: Any, text: str) -> Any:
    """A value of this kind; ValueError where the text is none."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return inner[inner.index(text)]
    if origin in (types.UnionType, Union):
        return None if text == "none" else _read(inner[0], text)
    if origin is not None:
        return tuple(_read(inner[0], part.strip()) for part in text.split(","))
    return ("false", "true").index(text) == 1 if kind is bool else kind(text)


def _described(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(inner)}"
    if origin in (types.UnionType, Union):
        return f"{_described(inner[0])}, or none"
    return WORDS[kind] if origin is None else ROWS[inner[0]]


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_written, value))
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
