"""Records that are written when they are made, so that a run that was stopped goes on."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headwise.files import read_json, write_json

__all__ = ["kept", "slug"]


def kept(file: Path, config: dict[str, Any], work: Callable[[], dict[str, Any]], say: str) -> dict[str, Any]:
    """The record in ``file`` if it was made with ``config``, else a new one, written when done."""
    if file.exists():
        found = read_json(file)
        if found["config"] == config:
            return found["record"]  # type: ignore[no-any-return]
    print(f".. {say}", flush=True)
    made = work()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"config": config, "record": made})
    gc.collect()  # statistics of a fit are gigabytes: they go before the next ones come
    return made


def slug(*words: object) -> str:
    return re.sub(r"[^a-z0-9]+", "-", " ".join(map(str, words)).lower()).strip("-")
