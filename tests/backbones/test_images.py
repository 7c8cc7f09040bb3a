"""Images to batches, against timm's own transforms and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from headwise.backbones.images import preprocess_images
from headwise.contracts import Preprocessing
from headwise.errors import InputError

MEAN, STD = (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)
HOW = Preprocessing((8, 6), MEAN, STD)


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_image_of_the_right_size_is_only_scaled():
    image = picture(8, 6)
    batch = preprocess_images([image], HOW)
    assert batch.shape == (1, 3, 8, 6) and batch.dtype == torch.float32
    wanted = (image / 255 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(batch[0].permute(1, 2, 0).numpy(), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("crop", [1.0, 0.8])
def test_pil_and_arrays_agree(crop):
    how = Preprocessing((8, 6), MEAN, STD, crop_fraction=crop)
    images = [picture(20, 31), picture(9, 7, 1), picture(5, 4, 2)]  # larger, close, smaller
    arrays, pil = preprocess_images(images, how), preprocess_images([Image.fromarray(i) for i in images], how)
    assert arrays.shape == (3, 3, 8, 6) and torch.equal(arrays, pil)


def test_grey_images_are_three_equal_channels():
    grey = picture(8, 6)[..., 0]
    plain = Preprocessing((8, 6), (0.0,) * 3, (1.0,) * 3)
    for image in (grey, Image.fromarray(grey)):
        batch = preprocess_images([image], plain)[0]
        assert torch.equal(batch[0], batch[1]) and torch.equal(batch[0], batch[2])
        np.testing.assert_allclose(batch[0].numpy(), grey / 255, atol=1e-7)


def test_other_modes_of_pil_become_rgb():
    rgba = np.dstack([picture(8, 6), np.full((8, 6), 255, np.uint8)])
    assert torch.equal(preprocess_images([Image.fromarray(rgba)], HOW), preprocess_images([rgba[..., :3]], HOW))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 6, 3)),
        np.zeros((8, 6, 3), np.float32),
        np.zeros((8, 6, 3), np.int64),
        np.zeros((3, 8, 6), np.uint8),
        np.zeros((8, 6, 4), np.uint8),
        np.zeros(8, np.uint8),
        np.zeros((1, 8, 6, 3), np.uint8),
        "photo.png",
    ],
    ids=lambda image: str(getattr(image, "dtype", image)) + str(getattr(image, "shape", "")),
)
def test_other_things_are_refused(image):
    with pytest.raises(InputError, match=r"an image must be PIL or uint8 \(H, W\) or \(H, W, 3\), got"):
        preprocess_images([image], HOW)


def test_no_images_are_refused():
    with pytest.raises(InputError, match="no images were given"):
        preprocess_images([], HOW)


SQUARE, OTHERS = (300, 300), [(260, 411), (401, 250), (100, 180)]


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(
    ("size", "crop"),
    [(size, crop) for size in (SQUARE, *OTHERS) for crop in (0.875, 0.9, 0.95, 1.0)],
)
@pytest.mark.parametrize("mode", ["center", "squash"])
def test_the_same_pixels_as_timm(size, crop, interpolation, mode):
    timm_data = pytest.importorskip("timm.data")
    how = Preprocessing((64, 64), MEAN, STD, interpolation, crop, mode)
    transform = timm_data.create_transform(
        (3, 64, 64),
        mean=MEAN,
        std=STD,
        interpolation=interpolation,
        crop_pct=crop,
        crop_mode=mode,
        is_training=False,
    )
    image = Image.fromarray(picture(*size))
    torch.testing.assert_close(preprocess_images([image], how)[0], transform(image), rtol=0, atol=1e-6)
