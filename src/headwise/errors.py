"""Errors that a user can act on: what was given, what is needed, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["ClaimError", "HeadwiseError", "InputError", "LostProcessError", "unknown_name"]


class HeadwiseError(Exception):
    """Base of all errors that headwise raises on purpose."""


class InputError(HeadwiseError, ValueError):
    """What was given cannot be used (command line exit code 2)."""


class ClaimError(HeadwiseError):
    """A stored certificate does not hold (command line exit code 1)."""


class LostProcessError(HeadwiseError):
    """Another process of the job ended (command line exit code 75: start the job again)."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Error for a name that is not registered, with the closest names that are."""
    known = sorted(known)
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}."
    return InputError(f"unknown {kind} {name!r}; {hint}")
