"""The two sides of a certificate on one line: what is proved impossible, what was reached, and the gap between."""

from __future__ import annotations

from markupsafe import Markup

from ..fmt import at_least, at_most
from ..markup import tag
from .fluid import plot

__all__ = ["bracket"]


def bracket(dual: float, primal: float, digits: int) -> Markup:
    """The interval that holds the optimum. It is drawn enlarged, so that the gap can be seen."""
    left, right, y = "30%", "70%", 44
    said = f"The optimum lies between {at_least(dual, digits)}, proved, and {at_most(primal, digits)}, reached."
    parts = [
        tag("line", x1="0%", x2=left, y1=y, y2=y, class_="impossible"),
        tag("line", x1=right, x2="100%", y1=y, y2=y, class_="grid strong"),
        tag("line", x1=left, x2=right, y1=y, y2=y, class_="bar used"),
        tag("line", x1=left, x2=left, y1=y - 9, y2=y + 9, class_="cap used"),
        tag("circle", cx=right, cy=y, r=6, class_="dot used"),
        tag("text", at_least(dual, digits), x=left, y=y - 18, class_="number", text_anchor="middle"),
        tag("text", at_most(primal, digits), x=right, y=y - 18, class_="number", text_anchor="middle"),
        tag("text", "proved bound", x=left, y=y + 28, class_="tick", text_anchor="middle"),
        tag("text", "this head", x=right, y=y + 28, class_="tick", text_anchor="middle"),
        tag("text", "impossible", x="13%", y=y - 9, class_="tick", text_anchor="middle"),
        tag("text", "objective ▸", x="100%", y=y - 9, class_="tick", text_anchor="end"),
    ]
    return plot(parts, 84, said, "bracket")
