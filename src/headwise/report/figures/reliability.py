"""How often predictions of a given confidence are right, with the number of samples at each confidence below."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from .. import fmt, scale
from ..markup import tag
from .accuracy import wilson
from .fluid import plot, x_axis, x_place, y_axis

__all__ = ["reliability_chart"]

TOP, MIDDLE = 26, 206
TALLY_TOP, BOTTOM = 252, 312


def reliability_chart(
    bins: Sequence[tuple[float | None, float | None, int]], title: str = "calibration"
) -> Markup | None:
    """Dot = accuracy at the mean confidence of a bin, whisker = 95 % Wilson interval, dashes = perfect calibration.

    Parameters
    ----------
    bins : sequence of (confidence, accuracy, number of samples)
        Bins of equal width that divide the confidences from 0 to 1, in order; means are fractions, None in empty bins.
    title : str
        Printed above the plot.

    Returns
    -------
    Markup or None
        None where there are no samples.
    """
    filled = [(c, a, num) for c, a, num in bins if num and c is not None and a is not None]
    if not filled:
        return None
    share = scale.linear([0, 100], wanted=5)
    tally = scale.linear([0, max(num for *_, num in filled)], wanted=2, integers=True)
    parts = [
        *x_axis(share, TOP, MIDDLE, "")[:-1],
        *y_axis(share, TOP, MIDDLE),
        tag("text", "accuracy (%)", x="0%", y=TOP - 10, class_="axis"),
        *x_axis(share, TALLY_TOP, BOTTOM, "confidence (%)"),
        *y_axis(tally, TALLY_TOP, BOTTOM),
        tag("text", "samples", x="0%", y=TALLY_TOP - 6, class_="axis"),
        tag("line", x1="0%", y1=MIDDLE, x2="100%", y2=TOP, class_="ideal"),
    ]
    for place, (_, _, num) in enumerate(bins):
        if num:
            parts.append(_bar(place / len(bins), 1 / len(bins), tally.at(num), num))
    parts += [_dot(*each) for each in filled]
    return tag("div", [tag("h4", title), plot(parts, BOTTOM + 42, _words(filled), "reliability")], class_="panel")


def _bar(start: float, width: float, height: float, num: int) -> Markup:
    tall = (BOTTOM - TALLY_TOP) * height
    said = tag("title", f"confidence {fmt.range_percent(start, start + width)}: {fmt.count(num)} samples")
    inner = 0.08 * width
    return tag(
        "rect",
        said,
        x=x_place(start + inner),
        width=x_place(width - 2 * inner),
        y=BOTTOM - tall,
        height=tall,
        class_="tally",
    )


def _dot(confidence: float, accuracy: float, num: int) -> Markup:
    said = f"confidence {fmt.percent(confidence)}: accuracy {fmt.percent(accuracy)} of {fmt.count(num)} samples"
    low, high = (_height(end) for end in wilson(accuracy, num))
    x = x_place(confidence)
    return tag(
        "g",
        [
            tag("title", said),
            tag("line", x1=x, x2=x, y1=low, y2=high, class_="whisker used"),
            tag("circle", cx=x, cy=_height(accuracy), r=4.5, class_="dot used"),
        ],
    )


def _height(share: float) -> float:
    return MIDDLE - (MIDDLE - TOP) * share


def _words(filled: Sequence[tuple[float, float, int]]) -> str:
    """What is read aloud."""
    each = "; ".join(
        f"confidence {fmt.percent(c)}: accuracy {fmt.percent(a)} of {fmt.count(num)}" for c, a, num in filled
    )
    return f"Accuracy of the predictions by their confidence. {each}."
