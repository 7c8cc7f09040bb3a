"""Sections of the report, one a file, in the order in which they are printed.

A section is a function ``(study, arrays) -> dict or None``: the values of ``templates/sections/<name>.html.j2``, or
None where the study has nothing to show there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..check import Arrays, Study
from . import (
    certificate,
    comparison,
    data,
    dissection,
    headline,
    heads,
    mistakes,
    overlays,
    path,
    reproduce,
    timings,
    token_use,
)

__all__ = ["SECTIONS"]

View = dict[str, Any]

SECTIONS: dict[str, tuple[str, Callable[[Study, Arrays], View | None]]] = {
    "headline": ("In short", headline.view),
    "heads": ("Heads and baselines", heads.view),
    "comparison": ("Is it better than linear?", comparison.view),
    "path": ("The path over beta", path.view),
    "certificate": ("How close to the best possible", certificate.view),
    "mistakes": ("What it gets wrong", mistakes.view),
    "token_use": ("Which tokens the head uses", token_use.view),
    "dissection": ("What the attention heads look for", dissection.view),
    "overlays": ("Modes on photographs", overlays.view),
    "data": ("The data", data.view),
    "timings": ("Time spent", timings.view),
    "reproduce": ("How to reproduce", reproduce.view),
}
