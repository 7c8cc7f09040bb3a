"""Images of which one object differs from the others, with the places of both: drawn, or read from a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from math import pi, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..checks import check_whole
from ..errors import InputError, unknown_name

__all__ = ["ATTRIBUTES", "OddImage", "OddImages", "odd_images", "read_odd_images"]

ATTRIBUTES = ("colour", "shape", "size", "orientation")
"""What the odd one may differ in."""

_SHAPES = ("disc", "square", "bar", "triangle", "cross")
_LARGE, _SMALL = 0.46, 0.25
"""Root of an object's area over the side of its cell; the longest shape of the large size, moved, stays in its cell."""

_JITTER = 0.06
"""How far an object may stand from the middle of its cell, over the side of the cell."""

_FOLDERS = {"targets": ("targets", "targ_images"), "distractors": ("distractors", "dist_images")}
"""Names of the folders of masks; the second are those of the P3 and O3 data sets."""


@dataclass(frozen=True, repr=False)
class OddImage:
    """An image, and where its odd object and the others are.

    Attributes
    ----------
    name : str
    image : ndarray of uint8, shape (H, W, 3)
    target, distractors : ndarray of bool, shape (H, W)
        Pixels of the odd object, and of all others.
    differs : str
        What the odd object differs in; empty where that is not known.
    """

    name: str
    image: NDArray[np.uint8]
    target: NDArray[np.bool_]
    distractors: NDArray[np.bool_]
    differs: str = ""

    def __post_init__(self) -> None:
        image = self.image
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"{self.name}: an image is an array of uint8, (H, W, 3)")
        for name in ("target", "distractors"):
            mask = getattr(self, name)
            if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != image.shape[:2]:
                raise InputError(f"{self.name}: {name} is a mask of bool, as large as the image, {image.shape[:2]}")
        if (self.target & self.distractors).any():
            raise InputError(f"{self.name}: target and distractors overlap; a pixel is of one of them, or of none")

    def __repr__(self) -> str:
        height, width = self.target.shape
        return f"OddImage({self.name!r}, {height} x {width} pixels)"


@dataclass(frozen=True, repr=False)
class OddImages:
    """A row of images, each made or read when it is asked for: ``len``, ``images[i]`` and iteration.

    Attributes
    ----------
    names : tuple of str
    make : callable
        ``make(i)`` gives image i.
    """

    names: tuple[str, ...]
    make: Callable[[int], OddImage]

    def __repr__(self) -> str:
        return f"OddImages({len(self)} images)"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> OddImage:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} is asked for; there are {len(self)}, from 0")
        return self.make(index % len(self))

    def __iter__(self) -> Iterator[OddImage]:
        return (self.make(index) for index in range(len(self)))


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
        An unknown attribute, or cells of less than 8 pixels.

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
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    for name, side in (("height", height), ("width", width)):
        check_whole(name, side, least=1)
    if min(height, width) < 8 * rows:
        raise InputError(
            f"{rows} rows of objects on {height} x {width} pixels leave less than 8 pixels for each; give a size of at "
            f"least {8 * rows}, or fewer rows"
        )
    kinds = tuple(differs)
    if isinstance(differs, str) or not kinds:
        raise InputError(f"differs is a list of attributes ({', '.join(ATTRIBUTES)}), got {differs!r}")
    for kind in kinds:
        if kind not in ATTRIBUTES:
            raise unknown_name("attribute", kind, ATTRIBUTES)
    names = tuple(f"{i}-{kinds[i % len(kinds)]}" for i in range(count))

    def make(index: int) -> OddImage:
        rng = np.random.default_rng([seed, index])
        return _draw(rng, names[index], (height, width), rows, kinds[index % len(kinds)])

    return OddImages(names, make)


def read_odd_images(folder: str | Path) -> OddImages:
    """Read photographs with masks of an odd object and of the others, for example the data set O3.

    Parameters
    ----------
    folder : path
        With ``images/``, ``targets/`` and ``distractors/``, in which what belongs together has the same name, endings
        aside (``images/cup.jpg``, ``targets/cup.png``). Masks are as large as their image, white where the object is.
        The folders of masks may also be called ``targ_images/`` and ``dist_images/``, as in O3.

    Returns
    -------
    OddImages
        By name; files are opened when they are asked for.

    Raises
    ------
    InputError
        A folder that is missing or empty, an image without its masks, two files of one name; when it is opened a file
        that is no image, or a mask of another size, or without a white pixel.

    Notes
    -----
    O3: Kotseruba, Wloka, Rasouli and Tsotsos, "Do Saliency Models Detect Odd-One-Out Targets? New Datasets and
    Evaluations" (BMVC 2019, arXiv 2005.06583). A pixel belongs to a mask from half of white on, so that masks may be
    JPEG files.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from headwise.dissect import odd_images, read_odd_images
    >>> drawn = odd_images(1, size=32, rows=2)[0]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for part, pixels in (
    ...         ("images", drawn.image), ("targets", drawn.target), ("distractors", drawn.distractors)
    ...     ):
    ...         Path(folder, part).mkdir()
    ...         Image.fromarray(pixels).save(Path(folder, part, "one.png"))
    ...     one = read_odd_images(folder)[0]
    >>> one.name, bool((one.target == drawn.target).all())
    ('one', True)
    """
    root = Path(folder)
    images = _files(root, ("images",))
    masks = {part: _files(root, names) for part, names in _FOLDERS.items()}
    names = tuple(sorted(images))
    for part, found in masks.items():
        missing = [name for name in names if name not in found]
        if missing:
            raise InputError(
                f"{root} has no mask in {part}/ for {missing[0]} ({len(missing)} of {len(names)} images); each image "
                "needs one of the same name in targets/ and in distractors/"
            )

    def make(index: int) -> OddImage:
        name = names[index]
        image = np.asarray(_open(images[name]).convert("RGB"))
        target, distractors = (_mask(masks[part][name], image.shape[:2]) for part in ("targets", "distractors"))
        return OddImage(name, image, target, distractors & ~target)

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


def _files(root: Path, names: Sequence[str]) -> dict[str, Path]:
    """The files of the first of these folders that is there, by their names without endings."""
    folder = next((root / name for name in names if (root / name).is_dir()), None)
    if folder is None:
        raise InputError(
            f"{root} has no folder {' or '.join(names)}; images/, targets/ and distractors/ are needed, with files of "
            "the same names"
        )
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in found:
            raise InputError(f"{folder} has {found[path.stem].name} and {path.name}; one file for each name is needed")
        found[path.stem] = path
    if not found:
        raise InputError(f"{folder} is empty; give at least one image")
    return found


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image ({error}); repair it or remove it") from None


def _mask(path: Path, size: tuple[int, ...]) -> NDArray[np.bool_]:
    grey = np.asarray(_open(path).convert("L"))
    if grey.shape != tuple(size):
        raise InputError(
            f"{path} has {grey.shape[0]} x {grey.shape[1]} pixels, and its image {size[0]} x {size[1]}; a mask is as "
            "large as its image"
        )
    inside: NDArray[np.bool_] = grey > 127
    if not inside.any():
        raise InputError(f"{path} has no white pixel; a mask is white where the object is")
    return inside
