"""A map on the token grid, one square a patch token, with a colour bar."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from ..colours import viridis
from ..fmt import significant
from ..markup import tag

__all__ = ["grid_map"]


def grid_map(values: np.ndarray, label: str, unit: str) -> Markup:
    """Squares coloured from 0 (or the smallest value, where one is negative) to the largest.

    Parameters
    ----------
    values : array, shape (rows, columns)
    label : str
        Read aloud in place of the picture.
    unit : str
        What the numbers are, printed at the colour bar.
    """
    rows, columns = values.shape
    low, high = min(0.0, float(values.min())), float(values.max())
    span = high - low or 1.0
    colours = np.rint(255 * viridis((values - low) / span)).astype(int)
    squares = [
        tag(
            "rect",
            tag("title", f"row {r + 1}, column {c + 1}: {significant(values[r, c])}"),
            x=c,
            y=r,
            width=1,
            height=1,
            fill=_hex(colours[r, c]),
        )
        for r in range(rows)
        for c in range(columns)
    ]
    picture = tag(
        "svg",
        [tag("title", label), *squares],
        viewBox=f"0 0 {columns} {rows}",
        role="img",
        aria_label=label,
        class_="tokens",
        shape_rendering="crispEdges",
    )
    stops = ",".join(_hex(c) for c in np.rint(255 * viridis(np.linspace(0, 1, 9))).astype(int))
    bar = tag("span", class_="ramp", style=f"background:linear-gradient(90deg,{stops})")
    ends = [tag("span", significant(low, 2)), bar, tag("span", significant(high, 2))]
    return tag(
        "div",
        [picture, tag("div", ends, class_="scale", aria_hidden="true"), tag("div", unit, class_="unit")],
        class_="gridmap",
    )


def _hex(colour: np.ndarray) -> str:
    return "#" + "".join(f"{int(c):02x}" for c in colour)
