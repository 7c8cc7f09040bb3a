"""Images of equal objects of which one differs in one attribute, drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..checks import check_whole, told
from ..errors import InputError, unknown_name
from .odd_images import OddImage, OddImages

__all__ = ["ATTRIBUTES", "odd_images"]

ATTRIBUTES = ("colour", "shape", "size", "orientation")
"""What the odd one may differ in."""

_SHAPES = ("disc", "square", "bar", "triangle", "cross")
_LARGE, _SMALL = 0.46, 0.25
"""Root of an object's area over the side of its cell; the longest shape of the large size, moved, stays in its cell."""

_JITTER = 0.06
"""How far an object may stand from the middle of its cell, over the side of the cell."""

_MOST_IMAGES = 10**6
_MOST_PIXELS = 2**26
"""Of an image: with its masks and its texture in work, 4 GB."""


def odd_images(
    count: int,
    size: int | tuple[int, int] = 224,
    *,
    rows: int = 4,
    differs: Sequence[str] = ATTRIBUTES,
    seed: int = 0,
) -> OddImages:
    """Draw images of equal objects of which one differs in one attribute, on a textured background.

    Parameters
    ----------
    count : int
    size : int or (int, int)
        Height and width in pixels; a number for both.
    rows : int
        Rows and columns of objects, at least 2.
    differs : sequence of {"colour", "shape", "size", "orientation"}
        What the odd object differs in, image by image in turn.
    seed : int
        Image i is the same for the same seed, size, rows and attributes, however many there are.

    Returns
    -------
    OddImages
        Drawn when asked for. Objects have hard edges, so that their masks are exact. All have the same area, but where
        they differ in size.

    Raises
    ------
    InputError
        An unknown attribute, cells of less than 8 pixels, more than a million images, or images of more than 67 million
        pixels (2**26).

    Examples
    --------
    >>> from headwise.dissect import odd_images
    >>> one = odd_images(4, size=64, rows=3)[2]
    >>> one.name, one.differs, one.image.shape, bool((one.target & one.distractors).any())
    ('2-size', 'size', (64, 64, 3), False)
    >>> odd_images(4, differs=["taste"])
    Traceback (most recent call last):
    headwise.errors.InputError: unknown attribute 'taste'; known: colour, orientation, shape, size.
    """
    check_whole("count", count, least=1)
    check_whole("rows", rows, least=2)
    check_whole("seed", seed)
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2:
        raise InputError(f"size is a number of pixels, or (height, width), got {told(size)}")
    for name, side in zip(("height", "width"), sides, strict=True):
        check_whole(f"size: the {name}", side, least=1)
    height, width = sides
    if count > _MOST_IMAGES or height * width > _MOST_PIXELS:
        raise InputError(
            f"{count:,} images of {height:,} x {width:,} pixels are asked for; at most {_MOST_IMAGES:,} are drawn, of "
            f"{_MOST_PIXELS:,} pixels or fewer"
        )
    if min(height, width) < 8 * rows:
        raise InputError(
            f"{rows} rows of objects on {height} x {width} pixels leave less than 8 pixels for each; give a size of at "
            f"least {8 * rows}, or fewer rows"
        )
    kinds = tuple(differs) if isinstance(differs, Iterable) else ()
    if isinstance(differs, str) or not kinds:
        raise InputError(f"differs is a list of attributes ({', '.join(ATTRIBUTES)}), got {told(differs)}")
    for kind in kinds:
        if kind not in ATTRIBUTES:
            raise unknown_name("attribute", kind, ATTRIBUTES)
    names = tuple(f"{i}-{kinds[i % len(kinds)]}" for i in range(count))

    def make(index: int) -> OddImage:
        rng = np.random.default_rng([seed, index])
        return _draw(rng, names[index], (height, width), rows, kinds[index % len(kinds)])

    return OddImages(names, make)


@dataclass(frozen=True)
class _Look:
    """An object: its shape, the root of its area in pixels, its angle, its colour."""

    shape: str
    side: float
    angle: float
    colour: tuple[float, float, float]


def _draw(rng: np.random.Generator, name: str, size: tuple[int, int], rows: int, differs: str) -> OddImage:
    height, width = size
    cell = height / rows, width / rows
    usual, odd = _looks(rng, differs, min(cell))
    pixels = _texture(rng, size)
    target, distractors = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    where = int(rng.integers(rows * rows))
    for place in range(rows * rows):
        moved = rng.uniform(-_JITTER, _JITTER, 2) * min(cell)
        middle = ((place // rows + 0.5) * cell[0] + moved[0], (place % rows + 0.5) * cell[1] + moved[1])
        look = odd if place == where else usual
        inside = _inside(look, middle, size)
        pixels[inside] = look.colour
        (target if place == where else distractors)[inside] = True
    return OddImage(name, pixels.clip(0, 255).astype(np.uint8), target, distractors, differs)


def _looks(rng: np.random.Generator, differs: str, cell: float) -> tuple[_Look, _Look]:
    """What all objects look like, and the odd one."""
    shapes = [str(shape) for shape in rng.choice(_SHAPES, 2, replace=False)]
    angle, hue = float(rng.uniform(0, 2 * pi)), float(rng.uniform())
    # drawn in any case, so that the pictures of two attributes differ in nothing else
    turned, other = angle + float(rng.uniform(pi / 4, 3 * pi / 4)), hue + float(rng.uniform(1 / 3, 2 / 3))
    sides = [float(side) * cell for side in rng.permutation([_LARGE, _SMALL])]
    if differs == "orientation":
        shapes = ["bar", "bar"]  # which looks the same after half a turn, and not before
    usual = _Look(shapes[0], sides[0] if differs == "size" else _LARGE * cell, angle, _colour(hue))
    return usual, _Look(
        shapes[1] if differs in ("shape", "orientation") else usual.shape,
        sides[1] if differs == "size" else usual.side,
        turned if differs == "orientation" else angle,
        _colour(other) if differs == "colour" else usual.colour,
    )


def _colour(hue: float) -> tuple[float, float, float]:
    red, green, blue = hsv_to_rgb(hue % 1, 0.85, 0.95)
    return 255 * red, 255 * green, 255 * blue


def _inside(look: _Look, middle: tuple[float, float], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centre is in the object."""
    y, x = (np.arange(n) + 0.5 - at for n, at in zip(size, middle, strict=True))
    cos, sin = np.cos(look.angle), np.sin(look.angle)
    along = (cos * x[None, :] + sin * y[:, None]) / look.side
    across = (cos * y[:, None] - sin * x[None, :]) / look.side
    a, b = np.abs(along), np.abs(across)
    inside: NDArray[np.bool_]
    if look.shape == "disc":
        inside = along**2 + across**2 <= 1 / pi
    elif look.shape == "square":
        inside = np.maximum(a, b) <= 0.5
    elif look.shape == "bar":  # three times as long as wide
        inside = (a <= sqrt(3) / 2) & (b <= sqrt(3) / 6)
    elif look.shape == "triangle":  # within so much of its middle, towards each side
        reach = 3**-0.75
        inside = (across <= reach) & (np.sqrt(3) / 2 * a - across / 2 <= reach)
    else:  # a cross of five squares
        arm = sqrt(1 / 5)
        inside = (np.maximum(a, b) <= 1.5 * arm) & (np.minimum(a, b) <= 0.5 * arm)
    return inside


def _texture(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    """Grey clouds of two sizes, and grain of all colours."""
    height, width = size
    clouds = np.full(size, 125.0)
    for cells, strength in ((5, 25.0), (17, 12.0)):
        coarse = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
        clouds += strength * np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return clouds[:, :, None] + rng.normal(0, 6, (height, width, 3))
