"""Errors that a user can act on: what was given, what is needed, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

__all__ = ["ClaimError", "HeadwiseError", "InputError", "JobError", "LostProcessError", "unknown_name"]

CLOSE = 0.6  # a lower cutoff offers "mlp_mixer" for "linaer"
MOST_LISTED = 20


class HeadwiseError(Exception):
    """Base of all errors that headwise raises on purpose."""


class InputError(HeadwiseError, ValueError):
    """What was given cannot be used (command line exit code 2)."""


class ClaimError(HeadwiseError):
    """A stored certificate does not hold (command line exit code 1)."""


class JobError(InputError):
    """Every process of a job is refused alike, and the first one says why."""


class LostProcessError(HeadwiseError):
    """Another process of the job ended (command line exit code 75: start the job again)."""


def unknown_name(
    kind: str, name: object, known: Iterable[str], elsewhere: Mapping[str, str] | None = None
) -> InputError:
    """Error for a name that is not registered, with the closest names that are.

    ``elsewhere`` has names that other libraries use, with ours.
    """
    known = sorted(known)
    more = f" and {len(known) - MOST_LISTED} more" if len(known) > MOST_LISTED else ""
    listed = f"known: {', '.join(known[:MOST_LISTED])}{more}."
    if not isinstance(name, str):
        return InputError(f"a {kind} is given by its name, got {name!r}; {listed}")
    same = (elsewhere or {}).get(name.lower())
    close = [same] if same else get_close_matches(name, known, n=3, cutoff=CLOSE)
    hint = f"did you mean {' or '.join(close)}?" if close else listed
    return InputError(f"unknown {kind} {name!r}; {hint}")
