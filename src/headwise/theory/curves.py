"""The shape that all theories share: a configuration in, curves with names and units out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_whole
from ..errors import InputError
from .inputs import as_row

__all__ = ["Curves", "Floats", "Theory", "average", "over_seeds"]

Floats = NDArray[np.float64]

# After Okabe and Ito, without yellow and black: told apart by readers with any colour vision, on light and dark pages
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9")
STYLES = ("-", "--", ":")  # of the first, second and third curve of one colour
MARKERS = ("o", "s", "^")
MOST_DOTS = 25  # of a simulated curve
FEW = 8  # points of a logarithmic axis that each have a label


@dataclass(frozen=True)
class Curves:
    """Named curves over one axis.

    Parameters
    ----------
    title : str
        What is shown, in a few words.
    axis : str
        What the axis is: "time", "alignment".
    points : array, shape (p,)
        Values on the axis.
    series : mapping of str to array, shape (p,)
        The curves by name.
    unit : str
        Unit of the axis; empty where it is a pure number.
    value : str
        What the curves are, with its unit.
    spread : mapping of str to array, shape (p,)
        Standard deviation over draws, of those curves that have one.
    marks : mapping of str to float
        Places on the axis that mean something: a best stopping time, a threshold.
    log_axis, log_value : bool
        Whether figures have logarithmic scales.

    Raises
    ------
    InputError
        A curve whose length is not that of the axis, or with values that are not finite.

    Examples
    --------
    >>> curves = Curves("growth", "time", [0, 1, 2], {"mode 1": [0.0, 0.5, 0.9]}, unit="tau", value="strength")
    >>> curves["mode 1"][1].item()
    0.5
    >>> curves.to_dict()["axis"]
    {'name': 'time', 'unit': 'tau', 'points': [0.0, 1.0, 2.0]}
    """

    title: str
    axis: str
    points: ArrayLike
    series: Mapping[str, ArrayLike]
    unit: str = ""
    value: str = ""
    spread: Mapping[str, ArrayLike] = field(default_factory=dict)
    marks: Mapping[str, float] = field(default_factory=dict)
    log_axis: bool = False
    log_value: bool = False

    def __post_init__(self) -> None:
        points = np.asarray(self.points, dtype=float)
        if points.ndim != 1 or not len(points) or not np.isfinite(points).all():
            raise InputError(f"the axis {self.axis!r} of curves needs finite numbers in one row, got {self.points!r}")
        object.__setattr__(self, "points", points)
        for part in ("series", "spread"):
            arrays = {name: np.asarray(values, dtype=float) for name, values in getattr(self, part).items()}
            for name, values in arrays.items():
                if values.shape != points.shape:
                    raise InputError(
                        f"{part} {name!r} has shape {values.shape}; one value is needed for each of the {len(points)} "
                        f"points of the axis {self.axis!r}"
                    )
                if not np.isfinite(values).all():
                    at = points[~np.isfinite(values)][0]
                    raise InputError(f"{part} {name!r} is not finite at {self.axis} = {at:g}; take smaller values")
            object.__setattr__(self, part, arrays)
        unknown = set(self.spread) - set(self.series)
        if unknown:
            raise InputError(f"spread of {sorted(unknown)}, which is no series; there are {sorted(self.series)}")
        object.__setattr__(self, "marks", {name: float(at) for name, at in self.marks.items()})

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """The curve called ``name``."""
        if name not in self.series:
            raise InputError(f"no curve {name!r}; there are {', '.join(self.series)}")
        return np.asarray(self.series[name])

    def to_dict(self) -> dict[str, Any]:
        """All numbers and labels, as JSON."""
        return {
            "title": self.title,
            "axis": {"name": self.axis, "unit": self.unit, "points": np.asarray(self.points).tolist()},
            "value": self.value,
            "series": {name: np.asarray(values).tolist() for name, values in self.series.items()},
            "spread": {name: np.asarray(values).tolist() for name, values in self.spread.items()},
            "marks": dict(self.marks),
        }

    def plot(self, axes: Any = None, over: Curves | None = None) -> Any:
        """Draw the curves; returns the matplotlib axes.

        Parameters
        ----------
        axes : matplotlib axes, optional
            Where to draw; a new figure by default.
        over : Curves, optional
            A prediction that is already drawn there: these curves are then dots, with bars of one standard deviation,
            in the colours of the predicted curves of the same names. Others are left out.
        """
        import matplotlib.pyplot as plt

        axes = axes or plt.subplots(figsize=(6, 3.5), layout="constrained")[1]
        x = np.asarray(self.points)
        if over is not None:
            some = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_DOTS)).astype(int))
            for i, name in enumerate(over.series):
                if name in self.series:
                    bars = np.asarray(self.spread[name])[some] if name in self.spread else None
                    colour, _, marker = _look(i)
                    style = {"fmt": marker, "markersize": 3, "linewidth": 0.8, "color": colour}
                    axes.errorbar(x[some], self[name][some], bars, **style)
            return axes
        for i, name in enumerate(self.series):
            y, (colour, line, _) = self[name], _look(i)
            axes.plot(x, y, color=colour, linestyle=line, label=name)
            if name in self.spread:
                spread = np.asarray(self.spread[name])
                axes.fill_between(x, y - spread, y + spread, color=colour, alpha=0.2, linewidth=0)
        for name, at in self.marks.items():
            axes.axvline(at, color="0.5", linestyle=":", label=f"{name}: {at:.3g}")
        axes.set(
            title=self.title,
            xlabel=f"{self.axis} ({self.unit})" if self.unit else self.axis,
            ylabel=self.value,
            xscale="log" if self.log_axis else "linear",
            yscale="log" if self.log_value else "linear",
        )
        if self.log_axis and len(x) <= FEW:  # powers of ten would miss them, and the labels between run into each other
            axes.set_xticks(x, [f"{value:g}" for value in x])
            axes.set_xticks([], minor=True)
        if len(self.series) > len(COLOURS):  # a long legend would hide curves
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small")
        elif axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best", frameon=False)
        return axes


def _look(i: int) -> tuple[str, str, str]:
    """Colour, line and marker of the i-th curve."""
    turn = i // len(COLOURS) % len(STYLES)
    return COLOURS[i % len(COLOURS)], STYLES[turn], MARKERS[turn]


def average(draws: Sequence[Curves]) -> Curves:
    """Mean of the same curves over draws, with their standard deviation as spread, and the mean of their marks.

    Examples
    --------
    >>> one, two = (Curves("", "time", [0.0], {"error": [value]}) for value in (1, 3))
    >>> average([one, two])["error"].item(), average([one, two]).spread["error"].item()
    (2.0, 1.0)
    """
    if not draws:
        raise InputError("no draw to take the mean of; give at least one seed")
    first = draws[0]
    stacked = {name: np.stack([draw[name] for draw in draws]) for name in first.series}
    return Curves(
        first.title,
        first.axis,
        first.points,
        {name: values.mean(0) for name, values in stacked.items()},
        unit=first.unit,
        value=first.value,
        spread={name: values.std(0) for name, values in stacked.items()} if len(draws) > 1 else {},
        marks={name: float(np.mean([draw.marks[name] for draw in draws])) for name in first.marks},
        log_axis=first.log_axis,
        log_value=first.log_value,
    )


def over_seeds(draw: Callable[[int], Curves], seeds: Sequence[int]) -> Curves:
    """Mean over one draw for each seed, as `average` takes it.

    Raises
    ------
    InputError
        What is no row of whole numbers of at least 0.

    Examples
    --------
    >>> over_seeds(lambda seed: Curves("", "time", [0.0], {"error": [seed]}), [1, 3])["error"].item()
    2.0
    """
    return average([draw(seed) for seed in as_row("seeds", seeds, "whole numbers", check_whole)])


@dataclass(frozen=True)
class Theory:
    """One theory: how it is set up, what it says, and the experiment that checks it.

    Parameters
    ----------
    config : type
        Frozen dataclass with the options and their defaults; it refuses with `InputError` what makes no sense.
    predict : callable
        ``predict(config) -> Curves``, the closed form.
    simulate : callable
        ``simulate(config, seeds) -> Curves``, the mean over one draw for each seed. Its curves have names of
        those that are predicted.

    Examples
    --------
    >>> from headwise.theory import THEORIES
    >>> theory = THEORIES.get("random_matrix")
    >>> theory.about
    'How a teacher shows itself in noisy data: outliers, overlaps and bulk of a signal plus Gaussian noise.'
    >>> theory.predict(theory.config(strengths=(3.0,)))["data singular value"].round(2)
    array([3.25])
    """

    config: type
    predict: Callable[[Any], Curves]
    simulate: Callable[[Any, Sequence[int]], Curves]

    @property
    def about(self) -> str:
        """The theory in a line: the first one of its module's docstring."""
        return (sys.modules[self.config.__module__].__doc__ or "").partition("\n")[0]

    def plot(self, config: Any, seeds: Sequence[int] = (), axes: Any = None) -> Any:
        """Draw the prediction, and as dots the simulation where there are seeds; returns the matplotlib axes."""
        predicted = self.predict(config)
        axes = predicted.plot(axes)
        return self.simulate(config, seeds).plot(axes, over=predicted) if len(seeds) else axes
