"""From pictures to a backbone's input."""

from __future__ import annotations

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
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


def preprocess_images(images: Sequence[Any], how: Preprocessing) -> Tensor:
    """Batch ``(B, 3, H, W)``, float32: resize, centre crop where asked, scale to [0, 1], subtract mean, divide by std.

    Parameters
    ----------
    images : sequence of PIL images or uint8 arrays ``(H, W)`` or ``(H, W, 3)``
    how : Preprocessing
    """
    if not len(images):
        raise InputError("no images were given")
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
    resample = _FILTERS.get(how.interpolation, Image.Resampling.BICUBIC)
    # rounded as timm and torchvision round, so that a model sees the pixels that it was trained and measured on
    short, long = sorted((image.height, image.width))
    if how.crop_mode == "squash":
        large_size = int(width / how.crop_fraction), int(height / how.crop_fraction)
    elif height == width:
        side = int(height / how.crop_fraction)
        other = int(side * long / short)
        large_size = (side, other) if image.width <= image.height else (other, side)
    else:
        scale = max(height / how.crop_fraction / image.height, width / how.crop_fraction / image.width)
        large_size = round(image.width * scale), round(image.height * scale)
    large = image.resize(large_size, resample)
    left, top = round((large.width - width) / 2), round((large.height - height) / 2)
    return large.crop((left, top, left + width, top + height))
