"""A plot that fills its column: x in per cent, y in pixels, so that text keeps its size on any screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from ..markup import tag
from ..scale import Scale

__all__ = ["curve", "plot", "x_axis", "x_place", "y_axis"]


def x_place(share: float) -> str:
    """``0.25`` as ``25%``."""
    return f"{100 * share:.2f}%"


def plot(parts: Iterable[Any], height: int, label: str, class_: str = "") -> Markup:
    """The SVG element; ``label`` is read aloud in place of the picture. The style sheet leaves room for labels."""
    inner = [tag("title", label), *parts]
    return tag("svg", inner, class_=f"plot {class_}".strip(), role="img", aria_label=label, width="100%", height=height)


def x_axis(scale: Scale, top: int, bottom: int, name: str) -> list[Markup]:
    """Vertical grid lines, tick labels under the plot and the axis' name."""
    parts = []
    for tick, label in zip(scale.ticks, scale.labels, strict=True):
        x = x_place(scale.at(tick))
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(tag("text", label, x=x, y=bottom + 16, class_="tick", text_anchor="middle"))
    parts.append(tag("text", name, x="50%", y=bottom + 34, class_="axis", text_anchor="middle"))
    return parts


def y_axis(scale: Scale, top: int, bottom: int) -> list[Markup]:
    """Horizontal grid lines and tick labels left of the plot."""
    parts = []
    labels: Sequence[str] = scale.labels
    for tick, label in zip(scale.ticks, labels, strict=True):
        y = bottom - (bottom - top) * scale.at(tick)
        parts.append(tag("line", x1="0%", x2="100%", y1=y, y2=y, class_="grid"))
        parts.append(tag("text", label, x=-8, y=y + 4, class_="tick", text_anchor="end"))
    return parts


def curve(points: Iterable[tuple[float, float]], top: int, bottom: int, class_: str) -> Markup:
    """A line through places from 0 to 1 in both directions: one element, however many points it has."""
    places = " ".join(f"{1000 * x:.1f},{1000 * (1 - y):.1f}" for x, y in points)
    line = tag("polyline", points=places, fill="none", vector_effect="non-scaling-stroke", class_=class_)
    return tag(
        "svg",
        line,
        class_="stretched",
        y=top,
        width="100%",
        height=bottom - top,
        viewBox="0 0 1000 1000",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
