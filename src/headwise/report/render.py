"""From a study and its arrays to one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from . import fmt
from .check import check_study
from .sections import EXPLANATION, SECTIONS, Sections
from .words import WORDS, Linker

__all__ = ["render", "render_explanation"]

EXPLANATION_WORDS = ("atom", "backbone", "gate", "head", "nuclear-norm", "token")
"""Words of the glossary that the page of a head explains."""
OTHER_SENSES = {"dissection": ("head",), "overlays": ("head",), "forecast": ("mode",)}
"""Words that mean something else in a section: an attention head, a mode of the labels."""


def render(study: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> str:
    """The report of a study, as one self-contained HTML page.

    The page loads nothing from anywhere, runs no script, and follows the reader's light or dark theme. Everything that
    comes from the data (names, labels, paths) is escaped. Sections with nothing to show are left out.

    Parameters
    ----------
    study : mapping
        The content of ``study.json``, format version 1. Layers, attention heads and modes count from 0.
    arrays : mapping of str to array
        What the study refers to by key: photographs, uint8 ``(H, W, 3)``, and maps, float ``(rows, columns)``.

    Returns
    -------
    html : str

    Raises
    ------
    InputError
        The format version is unknown, or an array that the study names is missing or of the wrong kind.

    Examples
    --------
    >>> page = render({"format_version": 1, "title": "digits", "heads": []}, {})
    >>> page.startswith("<!doctype html>")
    True
    """
    return _page("headwise study", study, arrays or {}, SECTIONS, WORDS)


def render_explanation(explanation: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> str:
    """The page of one head: its atoms, what each token of some samples adds, and the clusters of its gates.

    Parameters
    ----------
    explanation : mapping
        The content of `headwise.Explanation.data`, format version 1.
    arrays : mapping of str to array
        What it refers to by key: pictures, uint8 ``(H, W, 3)``, maps, float ``(rows, columns)``, and cluster labels,
        int ``(rows, columns)`` with -1 where there is none.

    Returns
    -------
    html : str

    Raises
    ------
    InputError
        As in `render`.

    Examples
    --------
    >>> page = render_explanation({"format_version": 1, "title": "a head", "atoms": []}, {})
    >>> page.startswith("<!doctype html>")
    True
    """
    words = {key: WORDS[key] for key in EXPLANATION_WORDS}
    return _page("headwise explain", explanation, arrays or {}, EXPLANATION, words)


def _page(
    kicker: str,
    study: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    table: Sections,
    glossary: Mapping[str, tuple[str, str, tuple[str, ...]]],
) -> str:
    check_study(study)
    unknown, sections = set(WORDS) - set(glossary), []
    for name, (title, view) in table.items():
        values = view(study, arrays)
        if values is not None:
            linker = Linker(unlinked={*unknown, *OTHER_SENSES.get(name, ())})
            sections.append({"id": name, "title": title, "view": values, "link": linker})
    words = sorted(((f"word-{key}", word, meaning) for key, (word, meaning, _) in glossary.items()), key=lambda w: w[1])
    page = environment().get_template("report.html.j2")
    return page.render(
        kicker=kicker,
        title=str(study.get("title") or kicker),
        created=fmt.date(study["created"]) if study.get("created") else "",
        version=str(study.get("headwise_version") or ""),
        device=str(study.get("device") or ""),
        sections=sections,
        words=words,
    )


@cache
def environment() -> Environment:
    loader = PackageLoader("headwise.report", "templates")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source, _, _ = loader.get_source(made, "style.css")
    made.globals["style"] = Markup(source)
    return made
