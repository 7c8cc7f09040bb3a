"""What a task hands back, and how it is printed, written and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwise.files import replacing, write_json

from .measure import Curve

__all__ = ["Axes", "Bar", "Report", "Table", "draw", "number", "write"]


@dataclass(frozen=True)
class Bar:
    """A figure that was asked for, and the one that came out."""

    what: str
    measured: float | None
    limit: float
    unit: str = "s"
    at_least: bool = False
    lower_bound: bool = False
    """The measured figure is only known to be at least this: a peer was cut."""

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def row(self) -> list[str]:
        sign = "at least" if self.at_least else "at most"
        more = "over " if self.lower_bound else ""
        measured = "not measured" if self.measured is None else f"{more}{number(self.measured)} {self.unit}"
        said = {True: "yes", False: "no", None: "-"}[self.met]
        return [self.what, measured, f"{sign} {self.limit:g} {self.unit}", said]


@dataclass(frozen=True)
class Table:
    """Rows under a header, as they are printed."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""

    def __str__(self) -> str:
        lines = [self.title, ""] if self.title else []
        lines += [f"| {' | '.join(self.header)} |", f"|{'---|' * len(self.header)}"]
        lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in self.rows]
        return "\n".join(lines)


@dataclass(frozen=True)
class Axes:
    """What a picture of the curves shows."""

    x: str = "seconds"
    y: str = "objective over the proved bound - 1"
    line: float | None = 1e-3
    """A dotted line at this height."""


@dataclass
class Report:
    """Everything of one task."""

    name: str
    said: str
    tables: list[Table] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    axes: Axes = field(default_factory=Axes)

    def __str__(self) -> str:
        pieces = [f"### {self.name}", self.said, *map(str, self.tables)]
        if self.bars:
            pieces.append(str(Table(("bar", "measured", "asked", "met"), [bar.row() for bar in self.bars])))
        return "\n\n".join(pieces)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "said": self.said,
            "tables": [
                {"title": t.title, "header": list(t.header), "rows": [list(r) for r in t.rows]} for t in self.tables
            ],
            "bars": [{**bar.__dict__, "met": bar.met} for bar in self.bars],
            "curves": [curve.to_dict() for curve in self.curves],
            "numbers": self.numbers,
        }


def number(value: float | None) -> str:
    """Three digits, without an exponent where there is room."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def draw(report: Report, path: Path) -> None:
    """The curves of a report on logarithmic axes, the first one black, as an SVG."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "headwise"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    for index, curve in enumerate(report.curves):
        points = [(t, g) for t, g in curve.points if g > 0]
        if points:
            style = {"linewidth": 2.5, "color": "black"} if index == 0 else {"linewidth": 1.2}
            axes.plot(*zip(*points, strict=True), "o-", markersize=3, label=curve.name, **style)
    if report.axes.line is not None:
        axes.axhline(report.axes.line, color="0.6", linestyle=":", linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel=report.axes.x, ylabel=report.axes.y)
    axes.set_title(report.name)
    axes.legend(frameon=False, fontsize=8, ncols=1 + (len(report.curves) > 10))
    with replacing(path) as part:
        figure.savefig(part, format="svg", metadata={"Date": None})
    plt.close(figure)


def write(report: Report, folder: Path, machine: str) -> None:
    """``NAME.json``, and ``NAME.svg`` where there are curves."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{report.name}.json", {**report.to_dict(), "machine": machine})
    if any(curve.points for curve in report.curves):
        draw(report, folder / f"{report.name}.svg")
