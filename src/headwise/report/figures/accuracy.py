"""Test accuracy of every head on one scale, with its sampling error, and the validation accuracy beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from .. import fmt, scale
from ..markup import tag
from .fluid import plot, x_axis, x_place

__all__ = ["Row", "accuracy_chart", "wilson"]

ROW = 26


@dataclass(frozen=True)
class Row:
    """One head: its name, accuracies as fractions, and whether it is the one to use."""

    name: str
    val: float | None
    test: float | None
    used: bool = False


def wilson(share: float, num: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % Wilson interval of a share seen in ``num`` samples.

    Examples
    --------
    >>> tuple(round(end, 3) for end in wilson(0.9, 100))
    (0.826, 0.945)
    """
    centre = (share + z * z / (2 * num)) / (1 + z * z / num)
    half = z * math.sqrt(share * (1 - share) / num + z * z / (4 * num * num)) / (1 + z * z / num)
    return max(0.0, centre - half), min(1.0, centre + half)


def axis_start(values: Sequence[float]) -> float:
    """Smallest value that the axis must show: heads far below all others are an arrow and a number instead."""
    left = sorted(values)
    for _ in range(2):
        if len(left) > 3 and left[1] - left[0] > 0.5 * (left[-1] - left[0]):
            left = left[1:]
    return left[0]


def accuracy_chart(rows: Sequence[Row], num_test: int | None) -> Markup | None:
    """One line a head: dot = test, ring = validation, whisker = 95 % Wilson interval of the test."""
    rows = [row for row in rows if row.test is not None or row.val is not None]
    if len(rows) < 2:
        return None
    axis = _axis(rows, num_test)
    bottom = ROW * len(rows) + 8
    parts = x_axis(axis, 4, bottom, "accuracy (%)")
    for i, row in enumerate(rows):
        parts += _row(row, ROW * i + ROW // 2 + 6, axis, num_test)
    label = "Accuracy of each head. " + "; ".join(
        f"{row.name}: test {fmt.percent(row.test)}, validation {fmt.percent(row.val)}" for row in rows
    )
    names = tag(
        "ol",
        [tag("li", tag("span", row.name), title=row.name, class_="used" if row.used else None) for row in rows],
        aria_hidden="true",
    )
    return tag("div", [names, plot(parts, bottom + 42, label)], class_="strips")


def _axis(rows: Sequence[Row], num_test: int | None) -> scale.Scale:
    """An axis that covers all that is drawn of every row that lies on it."""
    low, count = axis_start([_main(row) for row in rows]), 0
    while True:
        on_it = [row for row in rows if _main(row) >= low]
        values = [100 * v for row in on_it for v in _extent(row, num_test)]
        axis = scale.linear(values, wanted=5, within=(0, 100))
        if len(on_it) == count:
            return axis
        low, count = axis.low / 100, len(on_it)


def _main(row: Row) -> float:
    """Where a row stands: its test accuracy, else that on validation."""
    found = row.test if row.test is not None else row.val
    assert found is not None
    return found


def _extent(row: Row, num_test: int | None) -> list[float]:
    """All that is drawn of a row: both accuracies and the ends of the interval."""
    values = [v for v in (row.val, row.test) if v is not None]
    return [*values, *wilson(row.test, num_test)] if row.test is not None and num_test else values


def _row(row: Row, y: int, axis: scale.Scale, num_test: int | None) -> list[Markup]:
    said = f"{row.name}: test {fmt.percent(row.test)}, validation {fmt.percent(row.val)}"
    colour = "used" if row.used else "other"
    if 100 * _main(row) < axis.low:
        arrow = tag("text", f"◂ {fmt.percent(_main(row))}", x="0%", dx=4, y=y + 4, class_="tick")
        return [tag("g", [tag("title", said), arrow])]
    parts = [tag("title", said), tag("line", x1="0%", x2="100%", y1=y, y2=y, class_="leader")]

    def place(v: float) -> str:
        return x_place(axis.at(100 * v))

    if row.test is not None and num_test:
        low, high = wilson(row.test, num_test)
        parts.append(tag("line", x1=place(low), x2=place(high), y1=y, y2=y, class_=f"whisker {colour}"))
    if row.test is not None:
        parts.append(tag("circle", cx=place(row.test), cy=y, r=4.5, class_=f"dot {colour}"))
    if row.val is not None:  # a ring, so that neither hides the other
        parts.append(tag("circle", cx=place(row.val), cy=y, r=7, class_=f"ring {colour}"))
    return [tag("g", parts)]
