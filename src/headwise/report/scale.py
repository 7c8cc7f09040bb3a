"""Axes: where a value lies between 0 and 1, and which ticks to print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .fmt import significant

__all__ = ["Scale", "linear", "log"]


@dataclass(frozen=True)
class Scale:
    """An axis from ``low`` to ``high``; ``ticks`` are values, ``labels`` what is printed at them."""

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    is_log: bool = False

    def at(self, value: float) -> float:
        """Place of ``value`` on the axis: 0 at ``low``, 1 at ``high``."""
        low, high = self.low, self.high
        if self.is_log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return (value - low) / (high - low)


def linear(
    values: Sequence[float],
    wanted: int = 4,
    integers: bool = False,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Scale:
    """Axis around ``values`` that begins and ends at a tick, or at an end of ``within``, where the values lie.

    Examples
    --------
    >>> linear([0.3, 9.2]).ticks
    (0.0, 5.0, 10.0)
    """
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    if high - low < 1e-9 * max(1.0, size):
        margin = 0.05 * size if size > 1e-6 else 1.0
        low, high = low - margin, high + margin
    step = _nice((high - low) / wanted)
    if integers:
        step = max(1.0, round(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if decimals and round(step, decimals) != step:
        decimals += 1
    places = [round(i * step, 12) for i in range(first, last + 1)]
    ticks = tuple(place for place in places if within[0] <= place <= within[1])
    labels = tuple(f"{tick:,.{decimals}f}".replace("-", "−") for tick in ticks)
    return Scale(max(places[0], within[0]), min(places[-1], within[1]), ticks, labels)


def log(values: Sequence[float]) -> Scale:
    """Logarithmic axis around positive ``values``; ticks at powers of ten, or more where they span little."""
    low, high = math.log10(min(values)), math.log10(max(values))
    margin = 0.05 * (high - low) or 0.5
    low, high = low - margin, high + margin
    for digits in ((1,), (1, 2, 5), range(1, 10)):
        places = [d + w for d in range(math.floor(low), math.ceil(high) + 1) for w in map(math.log10, digits)]
        places = [place for place in places if low <= place <= high]
        if len(places) >= 3:
            break
    # values that nearly agree may lie between all round numbers: then the middle is the one tick
    places = places[:: math.ceil(len(places) / 6)] if places else [(low + high) / 2]
    ticks = tuple(10**place for place in places)
    return Scale(10**low, 10**high, ticks, tuple(_power_label(tick) for tick in ticks), True)


def _nice(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


def _power_label(tick: float) -> str:
    exponent = round(math.log10(tick))
    if abs(exponent) > 3:
        return significant(tick, 1).replace("1×", "") if math.isclose(tick, 10.0**exponent) else significant(tick, 1)
    return f"{tick:g}" if tick < 1e5 else significant(tick, 1)
