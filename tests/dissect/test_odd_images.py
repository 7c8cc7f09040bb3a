"""Drawn odd-one-out images: exact masks, one attribute that differs; and folders of photographs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import label

from headwise.dissect import OddImage, odd_images, read_odd_images
from headwise.dissect.odd_drawing import _SHAPES, ATTRIBUTES, _inside, _Look
from headwise.errors import InputError


def objects(mask):
    """Pixels of each connected object."""
    parts, count = label(mask, np.ones((3, 3)))
    return [parts == i for i in range(1, count + 1)]


@pytest.mark.parametrize("differs", ATTRIBUTES)
def test_the_odd_object_differs_in_one_attribute(differs):
    for one in odd_images(4, size=160, rows=3, differs=[differs], seed=3):
        assert one.differs == differs and one.image.shape == (160, 160, 3) and one.image.dtype == np.uint8
        assert not (one.target & one.distractors).any()
        others = objects(one.distractors)
        assert len(objects(one.target)) == 1 and len(others) == 8
        colours = [np.unique(one.image[part], axis=0) for part in (one.target, *others)]
        assert all(len(colour) == 1 for colour in colours), "the objects have one colour each, and hard edges"
        same = [np.array_equal(colours[1], colour) for colour in colours]
        assert same == [differs != "colour", *[True] * 8]
        areas = np.array([part.sum() for part in (one.target, *others)])
        assert np.ptp(areas[1:]) < 0.1 * areas[1]
        assert (abs(areas[0] / areas[1] - 1) > 0.5) == (differs == "size")


def moments(mask):
    """Elongation and direction of an object."""
    points = np.argwhere(mask).astype(float)
    values, vectors = np.linalg.eigh(np.cov(points.T))
    return values[1] / values[0], vectors[:, 1]


def test_an_odd_orientation_is_a_bar_that_is_turned():
    for one in odd_images(6, size=240, rows=3, differs=["orientation"]):
        elongation, axis = moments(one.target)
        axes = [moments(part) for part in objects(one.distractors)]
        assert elongation > 6 and all(other > 6 for other, _ in axes)
        assert all(abs(direction @ axes[0][1]) > 0.99 for _, direction in axes)
        assert abs(axis @ axes[0][1]) < 0.75  # by 45 degrees at least


@pytest.mark.parametrize("shape", _SHAPES)
def test_every_shape_has_the_area_that_it_is_given(shape):
    for angle in (0.0, 0.7):
        inside = _inside(_Look(shape, 60.0, angle, (0.0, 0.0, 0.0)), (100.3, 90.2), (200, 190))
        assert inside.sum() == pytest.approx(3600, rel=0.02)
        middle = np.argwhere(inside).mean(0) + 0.5
        assert middle == pytest.approx([100.3, 90.2], abs=0.5)
        assert max(np.hypot(*(np.argwhere(inside) + 0.5 - middle).T)) < 0.5 / 0.46 * 60 * 0.88  # within its cell


def test_images_are_the_same_for_the_same_seed():
    first, second = odd_images(6, size=64, seed=1), odd_images(2, size=64, seed=1)
    assert np.array_equal(first[1].image, second[1].image) and np.array_equal(first[1].target, second[1].target)
    assert not np.array_equal(first[1].image, odd_images(2, size=64, seed=2)[1].image)
    assert [one.differs for one in first] == [*ATTRIBUTES, "colour", "shape"]
    assert repr(first) == "OddImages(6 images)" and repr(first[1]) == "OddImage('1-shape', 64 x 64 pixels)"
    assert len(first) == 6 and first[-1].name == "5-shape" == first.names[5]
    with pytest.raises(IndexError, match="image 6 is asked for"):
        first[6]


def test_objects_stay_whole_on_images_that_are_not_square():
    for one in odd_images(8, size=(160, 320), rows=4):
        assert one.image.shape == (160, 320, 3) and one.target.shape == (160, 320)
        assert len(objects(one.distractors)) == 15


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 0}, "count must be a whole number of at least 1"),
        ({"count": 1, "rows": 1}, "rows must be a whole number of at least 2"),
        ({"count": 1, "size": 24}, "4 rows of objects on 24 x 24 pixels leave less than 8 pixels"),
        ({"count": 1, "differs": ["hue"]}, "unknown attribute 'hue'"),
        ({"count": 1, "differs": []}, "differs is a list of attributes"),
        ({"count": 1, "differs": "size"}, "differs is a list of attributes"),
        ({"count": 1, "seed": -1}, "seed must be a whole number"),
    ],
)
def test_what_cannot_be_drawn(options, said):
    with pytest.raises(InputError, match=said):
        odd_images(**options)


@pytest.fixture
def photographs(tmp_path):
    """Two images with masks, and a file that is none of them."""
    for folder in ("images", "targets", "distractors"):
        (tmp_path / folder).mkdir()
    for one in odd_images(2, size=48, rows=2):
        Image.fromarray(one.image).save(tmp_path / "images" / f"{one.name}.jpg")
        Image.fromarray(one.target).save(tmp_path / "targets" / f"{one.name}.png")
        Image.fromarray(255 * one.distractors.astype(np.uint8)).save(
            tmp_path / "distractors" / f"{one.name}.jpg", quality=95
        )
    (tmp_path / "images" / ".hidden").write_text("nothing")
    return tmp_path


def test_a_folder_is_read_by_name(photographs):
    found = read_odd_images(photographs)
    assert found.names == ("0-colour", "1-shape")
    for one, drawn in zip(found, odd_images(2, size=48, rows=2), strict=True):
        assert np.array_equal(one.target, drawn.target)
        assert (one.distractors != drawn.distractors).mean() < 0.02 and one.distractors.dtype == bool  # JPEG
        assert one.image.shape == (48, 48, 3) and one.differs == ""
        assert not (one.target & one.distractors).any()


def test_a_folder_may_have_the_names_of_o3(photographs):
    (photographs / "targets").rename(photographs / "targ_images")
    (photographs / "distractors").rename(photographs / "dist_images")
    assert len(read_odd_images(str(photographs))) == 2


def test_folders_that_cannot_be_used(photographs):
    (photographs / "targets" / "1-shape.png").unlink()
    with pytest.raises(InputError, match=r"no mask in targets/ for 1-shape \(1 of 2 images\)"):
        read_odd_images(photographs)
    (photographs / "images" / "1-shape.jpg").unlink()
    assert read_odd_images(photographs).names == ("0-colour",)
    (photographs / "images" / "0-colour.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"has 0-colour.jpg and 0-colour.png; one file for each name"):
        read_odd_images(photographs)
    for path in (photographs / "images").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="images is empty"):
        read_odd_images(photographs)
    with pytest.raises(InputError, match="has no folder images"):
        read_odd_images(photographs / "nowhere")


def test_files_that_cannot_be_used(photographs):
    found = read_odd_images(photographs)
    Image.new("L", (48, 48)).save(photographs / "targets" / "0-colour.png")
    with pytest.raises(InputError, match=r"0-colour.png has no white pixel"):
        found[0]
    Image.new("L", (40, 48), 255).save(photographs / "targets" / "0-colour.png")
    with pytest.raises(InputError, match=r"0-colour.png has 48 x 40 pixels, and its image 48 x 48"):
        found[0]
    (photographs / "images" / "1-shape.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1-shape.jpg cannot be read as an image"):
        found[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": np.zeros((5, 5), dtype=bool)}, "target is a mask of bool, as large as the image"),
        ({"distractors": np.zeros((8, 8))}, "distractors is a mask of bool"),
        ({"target": np.ones((8, 8), dtype=bool), "distractors": np.ones((8, 8), dtype=bool)}, "overlap"),
        ({"image": np.zeros((8, 8, 3))}, "array of uint8"),
    ],
)
def test_what_is_no_image_with_masks(change, said):
    empty = {name: np.zeros((8, 8), dtype=bool) for name in ("target", "distractors")}
    with pytest.raises(InputError, match=said):
        OddImage("a", **{"image": np.zeros((8, 8, 3), dtype=np.uint8)} | empty | change)
