"""Photographs and maps as small images inside the page."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from .colours import SIGNED, categorical, viridis

__all__ = ["blank", "clusters", "data_uri", "fit", "heat", "modes", "resize_map", "signed"]

LONGEST = 320  # pixels; sharp in a 160 px card on a phone of twice the density


def data_uri(pixels: np.ndarray) -> str:
    """A picture as a JPEG data URI.

    Parameters
    ----------
    pixels : array of uint8, shape (H, W, 3)
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def fit(photo: np.ndarray, longest: int = LONGEST) -> np.ndarray:
    """A photograph with its longer side at ``longest`` pixels; small ones are enlarged smoothly."""
    height, width = photo.shape[:2]
    factor = longest / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))


def resize_map(values: np.ndarray, size: tuple[int, int], smooth: bool) -> np.ndarray:
    """A map of numbers at ``size`` (rows, columns); smooth between the centres of patches, or one block a patch."""
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    picture = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(picture.resize((size[1], size[0]), how))


def heat(photo: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Viridis blocks over a grey photograph; the scale runs from 0 (or the smallest value) to the largest."""
    picture = fit(photo, 224)
    low, high = min(0.0, float(values.min())), float(values.max())
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    colours = viridis(resize_map(scaled, picture.shape[:2], smooth=False))
    grey = _grey(picture)[..., None]
    return _bytes(colours * (0.35 + 0.65 * grey) * 0.85 + 0.15 * grey)


def modes(photo: np.ndarray, query: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Query map in red, key map in cyan, white where both are high, over a dark grey photograph.

    Both maps are clipped to their 30th and 95th percentile, as in Pan et al. 2024 (arXiv 2405.14880).
    """
    picture = fit(photo)
    size = picture.shape[:2]
    red = resize_map(_clip(query), size, smooth=True)[..., None].clip(0, 1)
    cyan = resize_map(_clip(key), size, smooth=True)[..., None].clip(0, 1)
    light = np.concatenate([red, cyan, cyan], axis=-1)
    grey = _grey(picture)[..., None]
    return _bytes(0.06 + 0.34 * grey + light * (0.2 + 0.42 * grey))


def signed(photo: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Blocks of orange where values are positive and of blue where they are negative, over a grey photograph.

    The scale is that of the largest absolute value; zero leaves the photograph as it is.
    """
    picture = fit(photo)
    largest = float(np.abs(values).max())
    scaled = resize_map(values / largest if largest else values, picture.shape[:2], smooth=False)[..., None]
    against, speaks_for = (np.array([int(c[i : i + 2], 16) for i in (0, 2, 4)]) / 255 for c in SIGNED)
    return _tinted(picture, np.where(scaled < 0, against, speaks_for), 0.85 * np.abs(scaled) ** 0.7)


def clusters(photo: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Blocks with a colour for each label over a grey photograph; those with label -1 stay grey."""
    picture = fit(photo)
    placed = np.rint(resize_map(labels, picture.shape[:2], smooth=False)).astype(int)
    return _tinted(picture, categorical(placed), 0.6 * (placed >= 0)[..., None])


def blank(rows: int, columns: int) -> np.ndarray:
    """Light grey paper in the shape of a token grid, where there is no photograph."""
    cell = max(4, LONGEST // max(rows, columns))
    return np.full((cell * rows, cell * columns, 3), 226, dtype=np.uint8)


def _tinted(picture: np.ndarray, colours: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """A grey photograph under a coloured film: the colour shows how much, the light what is there."""
    grey = _grey(picture)[..., None]
    film = colours * (0.7 + 0.3 * grey)
    return _bytes((0.16 + 0.74 * grey) * (1 - strength) + film * strength)


def _clip(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values, [30, 95])
    return np.zeros_like(values, dtype=float) if high <= low else ((values - low) / (high - low)).clip(0, 1)


def _grey(picture: np.ndarray) -> np.ndarray:
    return (picture / 255.0) @ np.array([0.299, 0.587, 0.114])


def _bytes(picture: np.ndarray) -> np.ndarray:
    return np.rint(255 * picture.clip(0, 1)).astype(np.uint8)
