"""Colours that colour-blind readers can tell apart, each with a light and a dark version and a readable text colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["SIGNED", "categorical", "cell_style", "contrast", "diverging", "sequential", "text_on", "viridis"]

Colour = tuple[float, float, float]

# Ten equidistant points of matplotlib's viridis (CC0).
_VIRIDIS = ["440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"]
# Blue, neutral, orange, for the light and the dark page; the neutral is close to the paper, so that nothing looks like
# nothing.
_DIVERGING = {
    "light": ["1d5f9e", "7fb0d8", "f1f1ee", "f0b072", "b65505"],
    "dark": ["7cc0f5", "35699a", "23282d", "8f5a20", "f5aa55"],
}
SIGNED = ("1d6fc4", "f08a1e")
"""Blue for what speaks against, orange for what speaks for, on photographs."""
# Okabe and Ito (2008), the order changed so that neighbours differ, then lighter and darker ones.
_CATEGORIES = ["e69f00", "56b4e9", "d55e00", "009e73", "f0e442", "0072b2", "cc79a7", "ffffff", "8c564b", "b2df8a"]
_BLUES = {"light": ["f4f6f8", "a9cbe6", "1d5f9e"], "dark": ["1c2126", "2b5a85", "8ccaf7"]}


def _parse(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)], dtype=float)


def _between(stops: Sequence[str], at: float) -> str:
    """Colour at a place between 0 and 1 on evenly spaced stops."""
    table = np.stack([_parse(stop) for stop in stops])
    place = np.clip(at, 0, 1) * (len(stops) - 1)
    rgb = [np.interp(place, np.arange(len(stops)), table[:, i]) for i in range(3)]
    return "#" + "".join(f"{round(float(c)):02x}" for c in rgb)


def viridis(values: np.ndarray) -> np.ndarray:
    """Map numbers between 0 and 1 to RGB between 0 and 1; adds a last axis of 3."""
    table = np.stack([_parse(stop) for stop in _VIRIDIS]) / 255
    place = np.clip(values, 0, 1) * (len(_VIRIDIS) - 1)
    return np.stack([np.interp(place, np.arange(len(_VIRIDIS)), table[:, i]) for i in range(3)], axis=-1)


def categorical(labels: np.ndarray) -> np.ndarray:
    """A colour for each label from 0, as RGB between 0 and 1 on a last axis of 3; after ten labels they come again."""
    table = np.stack([_parse(colour) for colour in _CATEGORIES]) / 255
    return table[np.asarray(labels) % len(table)]


def diverging(value: float, theme: str) -> str:
    """Blue for -1, neutral for 0, orange for +1, in ``theme`` "light" or "dark"."""
    return _between(_DIVERGING[theme], (value + 1) / 2)


def sequential(value: float, theme: str) -> str:
    """From paper at 0 to blue at 1, in ``theme`` "light" or "dark"."""
    return _between(_BLUES[theme], value)


def _luminance(colour: str) -> float:
    channels = _parse(colour.removeprefix("#")) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(first: str, second: str) -> float:
    """WCAG contrast of two colours ``#rrggbb``, from 1 to 21.

    Examples
    --------
    >>> contrast("#000000", "#ffffff")
    21.0
    """
    low, high = sorted((_luminance(first), _luminance(second)))
    return round((high + 0.05) / (low + 0.05), 6)


def text_on(background: str) -> str:
    """Black or white, whichever reads better; one of them always has a contrast of 4.5 or more."""
    return max(("#000000", "#ffffff"), key=lambda text: contrast(text, background))


def cell_style(light: str, dark: str) -> str:
    """CSS variables of a coloured cell; the style sheet picks the pair of the reader's theme."""
    return f"--l:{light};--lt:{text_on(light)};--d:{dark};--dt:{text_on(dark)}"
