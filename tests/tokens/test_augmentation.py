from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from headwise.errors import InputError
from headwise.tokens import Augmentation


def picture(width: int, height: int) -> Image.Image:
    """Red is the column, green the row: a crop says where it was taken."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(width), np.arange(height)[:, None]
    return Image.fromarray(pixels)


def test_view_0_is_the_image_itself():
    image = picture(9, 7)
    assert Augmentation()(image, 0, 5, 0) is image


def test_a_view_depends_on_seed_image_and_number_alone():
    image, augment = picture(90, 70), Augmentation()
    first = [augment(image, 3, i, view).tobytes() for i in range(4) for view in range(4)]
    backwards = [augment(image, 3, i, view).tobytes() for i in range(4)[::-1] for view in range(4)[::-1]]
    assert first == backwards[::-1]
    assert len(set(first)) == 1 + 4 * 3
    assert augment(image, 4, 1, 1).tobytes() != augment(image, 3, 1, 1).tobytes()


@pytest.mark.parametrize("size", [(120, 90), (100, 100), (90, 120)])
def test_crops_keep_to_their_limits_and_are_pieces_of_the_image(size):
    image = picture(*size)
    augment = Augmentation(crop_scale=(0.3, 0.6), crop_ratio=(0.8, 1.25))
    flips, areas = 0, []
    for view in range(1, 200):
        crop = np.asarray(augment(image, 0, 0, view)).astype(int)
        h, w = crop.shape[:2]
        assert 0.8 * 0.95 <= w / h <= 1.25 * 1.05
        areas.append(w * h / (size[0] * size[1]))
        step = np.unique(np.diff(crop[..., 0], axis=1))
        assert len(step) == 1 and abs(step[0]) == 1
        assert (np.diff(crop[..., 1], axis=0) == 1).all()
        flips += step[0] == -1
    assert 0.29 <= min(areas) < 0.33
    assert 0.57 < max(areas) <= 0.61
    assert 70 < flips < 130


def test_without_flips_the_crops_are_the_same():
    image = picture(60, 40)
    for view in range(1, 30):
        plain = Augmentation(flip=False)(image, 0, 0, view)
        other = np.asarray(Augmentation()(image, 0, 0, view))
        assert (np.diff(np.asarray(plain)[..., 0].astype(int), axis=1) == 1).all()
        assert any(np.array_equal(np.asarray(plain), found) for found in (other, other[:, ::-1]))


@pytest.mark.parametrize("size", [(200, 5), (5, 200), (1, 1), (1, 50)])
def test_long_and_tiny_images(size):
    for view in range(1, 20):
        crop = Augmentation(crop_scale=(0.9, 1.0))(picture(*size), 0, 0, view)
        assert 1 <= crop.width <= size[0]
        assert 1 <= crop.height <= size[1]
        if min(size) > 1:
            assert 0.7 <= crop.width / crop.height <= 1.4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"crop_scale": (0.5, 1.1)}, "at most 1"),
        ({"crop_scale": (0.0, 1.0)}, "crop_scale"),
        ({"crop_scale": (0.8, 0.4)}, "in order"),
        ({"crop_ratio": (2.0, 0.5)}, "crop_ratio"),
        ({"crop_ratio": (1.0, float("inf"))}, "crop_ratio"),
        ({"crop_ratio": (float("nan"), 1.0)}, "crop_ratio"),
    ],
)
def test_bad_limits(options, said):
    with pytest.raises(InputError, match=said):
        Augmentation(**options)
