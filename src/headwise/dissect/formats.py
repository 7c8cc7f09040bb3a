"""Versions of what dissection writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import InputError

__all__ = ["check_version"]


def check_version(path: Path, numbers: Any, newest: int, what: str) -> None:
    """Refuse what has no format version, or one that this headwise does not know yet; ``what`` is missing then."""
    version = numbers.get("format_version") if isinstance(numbers, dict) else None
    if not isinstance(version, int) or version < 1:
        raise InputError(f"{path} holds no {what}")
    if version > newest:
        made_by = numbers.get("headwise_version")
        by = f"headwise {made_by}" if isinstance(made_by, str) else "another headwise"
        raise InputError(
            f"{path} (of format {version}, and this one reads up to {newest}) was written by {by}, which is newer; "
            "upgrade this one"
        )
