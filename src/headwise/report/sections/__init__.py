"""Sections of the pages, one a file, in the order in which they are printed.

A section is a function ``(study, arrays) -> dict or None``: the values of ``templates/sections/<name>.html.j2``, or
None where the study has nothing to show there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..check import Arrays, Study
from . import (
    atoms,
    calibration,
    certificate,
    comparison,
    contributions,
    data,
    dissection,
    explained,
    forecast,
    gates,
    headline,
    heads,
    mistakes,
    overlays,
    path,
    relu,
    reproduce,
    timings,
    token_use,
)

__all__ = ["EXPLANATION", "SECTIONS", "Sections"]

View = dict[str, Any]

Sections = dict[str, tuple[str, Callable[[Study, Arrays], View | None]]]

SECTIONS: Sections = {
    "headline": ("In short", headline.view),
    "heads": ("Heads and baselines", heads.view),
    "comparison": ("Is it better than linear?", comparison.view),
    "path": ("The path over beta", path.view),
    "certificate": ("How close to the best possible", certificate.view),
    "relu": ("A ReLU head (approximate)", relu.view),
    "mistakes": ("What it gets wrong", mistakes.view),
    "calibration": ("How sure it may be", calibration.view),
    "forecast": ("How a linear probe learns", forecast.view),
    "token_use": ("Which tokens the head uses", token_use.view),
    "dissection": ("What the attention heads look for", dissection.view),
    "overlays": ("Modes on photographs", overlays.view),
    "data": ("The data", data.view),
    "timings": ("Time spent", timings.view),
    "reproduce": ("How to reproduce", reproduce.view),
}

EXPLANATION: Sections = {
    "explained": ("In short", explained.view),
    "atoms": ("Its atoms", atoms.view),
    "contributions": ("What each token adds", contributions.view),
    "gates": ("Clusters of the gates", gates.view),
    "reproduce": ("How to reproduce", reproduce.view),
}
"""Sections of the page of `headwise explain`."""
