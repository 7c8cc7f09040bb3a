"""A text whose tokens are coloured by a number of each."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from ..colours import cell_style, diverging
from ..fmt import signed
from ..markup import tag

__all__ = ["Pieces", "quotation"]

Pieces = Sequence[tuple[str, float | None]]
"""A text in order, with a number for each token, and None for what lies between tokens."""


def quotation(pieces: Pieces) -> Markup:
    """A text, orange where a token adds and blue where it takes away; the strongest colour is its largest number."""
    reach = max((abs(value) for _, value in pieces if value is not None), default=0.0) or 1.0
    parts = [
        text
        if value is None
        else tag(
            "span",
            text,
            title=signed(value, 3),
            style=cell_style(diverging(value / reach, "light"), diverging(value / reach, "dark")),
        )
        for text, value in pieces
    ]
    return tag("blockquote", parts, class_="quotation")
