"""Images to batches, against timm's own transforms and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import headwise
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


SIZES = [(300, 300), (260, 411), (401, 250), (100, 180), (40, 60), (60, 40), (64, 64), (41, 63)]


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("crop", [1.0, 0.95, 0.9, 0.875])
@pytest.mark.parametrize("target", [(64, 64), (64, 48), (33, 63)])
def test_the_same_pixels_as_timm(target, crop, mode, interpolation):
    timm_data = pytest.importorskip("timm.data")
    how = Preprocessing(target, MEAN, STD, interpolation, crop, mode)
    transform = timm_data.create_transform(
        (3, *target),
        mean=MEAN,
        std=STD,
        interpolation=interpolation,
        crop_pct=crop,
        crop_mode=mode,
        is_training=False,
    )
    for size in SIZES:
        image = Image.fromarray(picture(*size))
        torch.testing.assert_close(preprocess_images([image], how)[0], transform(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("crop", [1.0, 0.9, 0.875])
@pytest.mark.parametrize("mode", ["center", "squash"])
def test_a_loaded_backbone_prepares_as_timm_does_for_its_model(crop, mode, monkeypatch):
    """Configuration and transform from timm, with the crops that its models declare."""
    timm = pytest.importorskip("timm")
    create = timm.create_model

    def with_crop(*args, **options):
        model = create(*args, **options)
        model.pretrained_cfg |= {"crop_pct": crop, "crop_mode": mode}
        return model

    monkeypatch.setattr(timm, "create_model", with_crop)
    model = headwise.load_backbone("timm/vit_tiny_patch16_224@random")
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model.model), is_training=False)
    for size in ((40, 60), (60, 40)):
        image = Image.fromarray(picture(*size))
        torch.testing.assert_close(model.preprocess([image])[0], transform(image), rtol=0, atol=1e-6)


def test_the_embedded_backbone_sees_the_whole_picture():
    image = Image.fromarray(picture(40, 60))
    model = headwise.load_backbone("embedded")
    wanted = np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC)) / 127.5 - 1
    np.testing.assert_allclose(model.preprocess([image])[0].permute(1, 2, 0).numpy(), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1)])
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
def test_thin_pictures(size, mode):
    how = Preprocessing((8, 8), MEAN, STD, crop_mode=mode)
    assert preprocess_images([picture(*size)], how).shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"interpolation": "sinc"}, "interpolation must be one of bicubic, .*, got 'sinc'"),
        ({"crop_mode": "random"}, "crop_mode must be 'center', 'squash' or 'border', got 'random'"),
        ({"crop_fraction": 0.0}, "crop_fraction must be above 0 and at most 1, got 0.0"),
        ({"crop_fraction": 1.2}, "crop_fraction must be above 0 and at most 1, got 1.2"),
    ],
)
def test_preprocessing_that_is_not_known(wrong, said):
    with pytest.raises(InputError, match=said):
        preprocess_images([picture(8, 6)], Preprocessing((8, 6), MEAN, STD, **wrong))
