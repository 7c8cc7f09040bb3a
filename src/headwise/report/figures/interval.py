"""A difference with its confidence interval on a line through zero."""

from __future__ import annotations

from markupsafe import Markup

from .. import scale
from ..markup import tag
from .fluid import plot, x_axis, x_place

__all__ = ["interval_chart"]


def interval_chart(difference: float, low: float, high: float, names: tuple[str, str], unit: str, said: str) -> Markup:
    """Dot and interval of "first minus second".

    Parameters
    ----------
    difference, low, high : float
        In the unit printed on the axis.
    names : (str, str)
        What is better on the left and on the right of zero.
    unit : str
        Name of the axis.
    said : str
        The same in words.
    """
    reach = max(abs(v) for v in (difference, low, high)) or 1.0
    axis = scale.linear([min(low, -0.3 * reach), max(high, 0.3 * reach)], wanted=6)
    zero = x_place(axis.at(0))
    colour = "used" if low > 0 or high < 0 else "other"
    parts = x_axis(axis, 26, 78, unit)
    parts += [
        tag("line", x1=zero, x2=zero, y1=22, y2=78, class_="zero"),
        tag("text", f"◂ {names[0]}", x=zero, dx=-8, y=14, class_="tick", text_anchor="end"),
        tag("text", f"{names[1]} ▸", x=zero, dx=8, y=14, class_="tick"),
        tag("line", x1=x_place(axis.at(low)), x2=x_place(axis.at(high)), y1=52, y2=52, class_=f"bar {colour}"),
        *(
            tag("line", x1=x_place(axis.at(e)), x2=x_place(axis.at(e)), y1=45, y2=59, class_=f"cap {colour}")
            for e in (low, high)
        ),
        tag("circle", cx=x_place(axis.at(difference)), cy=52, r=6, class_=f"dot {colour}"),
    ]
    return plot(parts, 118, said, "interval")
