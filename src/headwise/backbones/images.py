"""From pictures to a backbone's input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..contracts import Preprocessing
from ..errors import InputError

__all__ = ["preprocess_images"]

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


def preprocess_images(images: Sequence[Any], how: Preprocessing) -> Tensor:
    """Batch ``(B, 3, H, W)``, float32: resize, centre crop where asked, scale to [0, 1], subtract mean, divide by std.

    Parameters
    ----------
    images : sequence of PIL images or uint8 arrays ``(H, W)`` or ``(H, W, 3)``
    how : Preprocessing
        The pixels are those of timm's own evaluation transform with the same values.

    Raises
    ------
    InputError
        No images, something that is not an image, or an interpolation, crop mode or fraction that is not known.
    """
    if not len(images):
        raise InputError("no images were given")
    if how.interpolation not in _FILTERS:
        raise InputError(f"interpolation must be one of {', '.join(_FILTERS)}, got {how.interpolation!r}")
    if how.crop_mode not in ("center", "squash", "border"):
        raise InputError(f"crop_mode must be 'center', 'squash' or 'border', got {how.crop_mode!r}")
    if not 0 < how.crop_fraction <= 1:
        raise InputError(f"crop_fraction must be above 0 and at most 1, got {how.crop_fraction}")
    height, width = how.image_size
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (how.mean, how.std))
    batch = np.stack([np.asarray(_fit(_as_image(i), height, width, how)) for i in images])
    return (torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255 - mean) / std


def _as_image(image: Any) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise InputError(f"an image must be PIL or uint8 (H, W) or (H, W, 3), got {array.dtype} {array.shape}")
    return Image.fromarray(array).convert("RGB")


def _fit(image: Image.Image, height: int, width: int, how: Preprocessing) -> Image.Image:
    # rounded as timm and torchvision round, so that a model sees the pixels that it was trained and measured on
    rows, columns = math.floor(height / how.crop_fraction), math.floor(width / how.crop_fraction)
    if how.crop_mode == "squash":
        size = columns, rows
    elif how.crop_mode == "center" and rows == columns:
        short, long = sorted((image.height, image.width))
        other = int(rows * long / short)
        size = (rows, other) if image.width <= image.height else (other, rows)
    else:
        ratios = image.height / rows, image.width / columns
        ratio = max(ratios) if how.crop_mode == "border" else min(ratios)
        # at least a pixel, where the picture is a thin line
        size = max(round(image.width / ratio), 1), max(round(image.height / ratio), 1)
    large = image.resize(size, _FILTERS[how.interpolation])
    # a border where the picture is smaller than the input, then a centre crop where it is larger
    fill = tuple(round(255 * value) for value in how.mean)
    padded = Image.new("RGB", (max(large.width, width), max(large.height, height)), fill)
    padded.paste(large, ((padded.width - large.width) // 2, (padded.height - large.height) // 2))
    left, top = round((padded.width - width) / 2), round((padded.height - height) / 2)
    return padded.crop((left, top, left + width, top + height))
