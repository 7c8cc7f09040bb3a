"""Random views of an image: a crop, and a flip every other time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..errors import InputError

__all__ = ["Augmentation"]

_ATTEMPTS = 10
"""Draws of a crop before its limits give way to the shape of the image, as is usual for random resized crops."""


@dataclass(frozen=True)
class Augmentation:
    """How the views after the first are made: a random crop of the image, flipped left to right every other time.

    The backbone's own preprocessing resizes the crop afterwards.

    Parameters
    ----------
    crop_scale : (float, float)
        Least and largest area of the crop, as a share of the image's.
    crop_ratio : (float, float)
        Least and largest width over height of the crop, drawn evenly in its logarithm.
    flip : bool
        Flip half of the views. Switch it off where left and right mean something (text, digits).

    Raises
    ------
    InputError
        Limits that are not in order, or outside ``(0, 1]`` for the scale.

    Examples
    --------
    >>> from PIL import Image
    >>> image = Image.new("RGB", (64, 48))
    >>> views = [Augmentation(crop_scale=(0.5, 0.5))(image, seed=0, index=7, view=k) for k in range(3)]
    >>> views[0] is image, 0.4 < views[1].width * views[1].height / (64 * 48) < 0.6
    (True, True)
    """

    crop_scale: tuple[float, float] = (0.4, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True

    def __post_init__(self) -> None:
        for name, most in (("crop_scale", 1.0), ("crop_ratio", math.inf)):
            low, high = getattr(self, name)
            if not (0 < low <= high <= most and high < math.inf):
                limit = " and at most 1" if most == 1 else ""
                raise InputError(f"{name} is ({low}, {high}); two positive numbers in order{limit} are needed")

    def __call__(self, image: Image.Image, seed: int, index: int, view: int) -> Image.Image:
        """View ``view`` of an image: the image itself for view 0.

        The result depends on the arguments alone, never on what was computed before.

        Parameters
        ----------
        image : PIL.Image.Image
        seed, index, view : int
            Seed of the views, number of the image, number of the view; none negative.
        """
        if view == 0:
            return image
        rng = np.random.default_rng([seed, index, view])
        w, h = self._size(image, rng)
        left, top = int(rng.integers(0, image.width - w + 1)), int(rng.integers(0, image.height - h + 1))
        crop = image.crop((left, top, left + w, top + h))
        return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.flip and rng.random() < 0.5 else crop

    def _size(self, image: Image.Image, rng: np.random.Generator) -> tuple[int, int]:
        """Width and height of a crop that lies in the image."""
        (small, large), (tall, wide) = self.crop_scale, self.crop_ratio
        for _ in range(_ATTEMPTS):
            area = image.width * image.height * rng.uniform(small, large)
            aspect = math.exp(rng.uniform(math.log(tall), math.log(wide)))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 1 <= w <= image.width and 1 <= h <= image.height:
                return w, h
        # too long an image for the limits: the largest crop whose shape keeps to them
        aspect = min(max(image.width / image.height, tall), wide)
        w, h = round(min(image.width, image.height * aspect)), round(min(image.height, image.width / aspect))
        return max(w, 1), max(h, 1)
