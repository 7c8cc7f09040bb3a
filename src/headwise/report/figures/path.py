"""One quantity along the beta path, on a logarithmic beta axis, with the chosen beta marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from .. import fmt, scale
from ..markup import tag
from .fluid import plot, x_axis, x_place, y_axis

__all__ = ["path_panel"]

TOP, BOTTOM = 12, 150


def path_panel(
    title: str,
    betas: Sequence[float],
    values: Sequence[float | None],
    chosen: float | None,
    log: bool = False,
    integers: bool = False,
    line: bool = True,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Markup | None:
    """A small chart of ``values`` against ``betas``; None where fewer than two points can be drawn.

    ``betas`` are positive; on a log scale values that are not positive are left out. ``line`` joins the points;
    ``within`` is where values can lie.
    """
    points = sorted((b, v) for b, v in zip(betas, values, strict=True) if v is not None and (not log or v > 0))
    if len(points) < 2:
        return None
    across = scale.log([b for b, _ in points])
    heights = [v for _, v in points]
    up = scale.log(heights) if log else scale.linear(heights, integers=integers, within=within)
    parts = [*x_axis(across, TOP, BOTTOM, "beta (log scale)"), *y_axis(up, TOP, BOTTOM)]
    places = [(x_place(across.at(b)), BOTTOM - (BOTTOM - TOP) * up.at(v)) for b, v in points]
    if chosen is not None and across.low <= chosen <= across.high:
        x = x_place(across.at(chosen))
        parts.append(tag("line", x1=x, x2=x, y1=TOP, y2=BOTTOM, class_="chosen"))
    if line:
        parts += [tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_="curve") for (x1, y1), (x2, y2) in pairwise(places)]
    for (b, v), (x, y) in zip(points, places, strict=True):
        at_chosen = b == chosen
        said = tag("title", f"beta {fmt.short(b)}: {fmt.significant(v)}")
        parts.append(
            tag("circle", said, cx=x, cy=y, r=5.5 if at_chosen else 3, class_="picked" if at_chosen else "point")
        )
    words = (
        f"{title} against beta: from {fmt.significant(points[0][1])} at the smallest beta, {fmt.short(points[0][0])}, "
    )
    words += f"to {fmt.significant(points[-1][1])} at the largest, {fmt.short(points[-1][0])}."
    return tag("div", [tag("h4", title), plot(parts, BOTTOM + 42, words, "path")], class_="panel")
