"""A matrix as a table of coloured cells: readable by eye, by ear, and by copy and paste."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from ..colours import cell_style
from ..markup import tag

__all__ = ["matrix_table"]

PHONE_COLUMNS = 6
"""So many columns of numbers are seen on a phone at once."""


def matrix_table(
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    caption: str,
    text: Callable[[float | None], str],
    colour: Callable[[float, str], str],
    corner: str = "",
    marked: Callable[[int, int], bool] | None = None,
    class_: str = "",
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
    marked : which cells, by row and column, are hatched
    class_ : another class of the table
    """
    # Long column names stand upright, so that cells stay narrow.
    upright = "upright" if any(len(c) > 6 for c in columns) else None
    names = (tag("th", tag("span", _cut(c, 20)), scope="col", title=c, class_=upright) for c in columns)
    head = tag("tr", [tag("th", corner, scope="col"), *names])
    body = []
    for row, (name, line) in enumerate(zip(rows, values, strict=True)):
        cells = []
        for column, value in enumerate(line):
            hatched = value is not None and marked is not None and marked(row, column)
            style = None if value is None else cell_style(colour(value, "light"), colour(value, "dark"))
            said = [text(value), tag("span", " in the chance band", class_="unseen")] if hatched else text(value)
            cells.append(tag("td", said, style=style, class_="hatched" if hatched else None))
        body.append(tag("tr", [tag("th", _cut(name, 28), scope="row", title=name), *cells]))
    table = tag(
        "table",
        [tag("caption", caption, class_="unseen"), tag("thead", head), tag("tbody", body)],
        class_=f"matrix {class_}".strip(),
    )
    held = tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=caption)
    if len(columns) <= PHONE_COLUMNS:
        return held
    hint = tag("p", "The table is wider than the screen: it scrolls sideways.", class_="small phone-only")
    return tag("div", [hint, held])


def _cut(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
