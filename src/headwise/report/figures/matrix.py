"""A matrix as a table of coloured cells: readable by eye, by ear, and by copy and paste."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from ..colours import cell_style
from ..markup import tag

__all__ = ["matrix_table"]


def matrix_table(
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    caption: str,
    text: Callable[[float | None], str],
    colour: Callable[[float, str], str],
    corner: str = "",
    marked: Callable[[float], bool] | None = None,
) -> Markup:
    """Table with a coloured cell for each number.

    Parameters
    ----------
    values : rows of numbers, None where not measured
    rows, columns : names, printed as headers
    caption : what the table shows, for screen readers
    text : what is printed in a cell
    colour : background ``#rrggbb`` of a value in theme "light" or "dark"
    corner : printed in the corner, for example "layer \\ head"
    marked : which values are hatched
    """
    head = tag("tr", [tag("th", corner, scope="col"), *(tag("th", c, scope="col", title=c) for c in columns)])
    body = []
    for name, line in zip(rows, values, strict=True):
        cells = []
        for value in line:
            hatched = value is not None and marked is not None and marked(value)
            style = None if value is None else cell_style(colour(value, "light"), colour(value, "dark"))
            said = [text(value), tag("span", " in the chance band", class_="unseen")] if hatched else text(value)
            cells.append(tag("td", said, style=style, class_="hatched" if hatched else None))
        body.append(tag("tr", [tag("th", name, scope="row", title=name), *cells]))
    table = tag(
        "table", [tag("caption", caption, class_="unseen"), tag("thead", head), tag("tbody", body)], class_="matrix"
    )
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=caption)
