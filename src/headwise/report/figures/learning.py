"""A forecast learning curve, and the same curve measured, on a logarithmic time axis."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from .. import fmt, scale
from ..markup import tag
from .fluid import curve, plot, x_axis, x_place, y_axis

__all__ = ["learning_chart"]

TOP, BOTTOM = 14, 190
MOST_RINGS = 24


def learning_chart(
    title: str,
    times: Sequence[float],
    held_out: Sequence[float],
    training: Sequence[float],
    stop: tuple[float, float],
    measured: Sequence[float] | None = None,
) -> Markup:
    """Line = forecast error on unseen samples, dashes = on the training samples, rings = unseen samples as measured.

    Parameters
    ----------
    title : str
        Printed above the plot.
    times : sequence of float
        Training times; those that are not positive are left out, as the axis is logarithmic. At least two are.
    held_out, training : sequence of float
        Forecast errors at these times, as shares of the labels' variance.
    stop : (float, float)
        Forecast best time to stop, and the error there; marked where the time is on the axis.
    measured : sequence of float, optional
        Errors of the trained probe on held-out samples.

    Returns
    -------
    Markup
    """
    kept = [i for i, time in enumerate(times) if time > 0]
    across = scale.log([times[i] for i in kept])
    rings = [] if measured is None else kept[:: -(-len(kept) // MOST_RINGS)]
    heights = [0.0, *(values[i] for values in (held_out, training) for i in kept)]
    up = scale.linear([*heights, *(measured[i] for i in rings)] if measured is not None else heights)

    def line(values: Sequence[float], class_: str) -> Markup:
        return curve([(across.at(times[i]), up.at(values[i])) for i in kept], TOP, BOTTOM, class_)

    parts = [
        *x_axis(across, TOP, BOTTOM, "training time: steps × learning rate (log scale)"),
        *y_axis(up, TOP, BOTTOM),
        line(training, "ideal"),
        line(held_out, "curve"),
    ]
    for i in rings:
        assert measured is not None
        said = tag("title", f"time {fmt.short(times[i])}: measured {fmt.significant(measured[i])}")
        y = _height(up.at(measured[i]))
        parts.append(tag("circle", said, cx=x_place(across.at(times[i])), cy=y, r=3.5, class_="ring other"))
    time, error = stop
    if across.low <= time <= across.high:
        x = x_place(across.at(time))
        said = tag("title", f"stop at {fmt.short(time)}: forecast error {fmt.significant(error)}")
        parts.append(tag("line", x1=x, x2=x, y1=TOP, y2=BOTTOM, class_="chosen"))
        parts.append(tag("circle", said, cx=x, cy=_height(up.at(error)), r=5.5, class_="picked"))
    return tag(
        "div", [tag("h4", title), plot(parts, BOTTOM + 42, _words(title, held_out, stop), "learning")], class_="panel"
    )


def _height(share: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * share


def _words(title: str, held_out: Sequence[float], stop: tuple[float, float]) -> str:
    """What is read aloud."""
    time, error = stop
    return (
        f"{title}: forecast error on unseen samples over training time, {fmt.significant(held_out[0])} at the start, "
        f"least {fmt.significant(error)} at time {fmt.short(time)}, {fmt.significant(held_out[-1])} at the end."
    )
