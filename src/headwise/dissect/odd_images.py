"""Images of which one object differs from the others, with the places of both, and how they are read from a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..checks import as_path, told
from ..errors import InputError

__all__ = ["OddImage", "OddImages", "read_odd_images"]

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
    """A row of images, each made or read when it is asked for: ``len``, ``images[i]``, ``images[:3]`` and iteration.

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

    @overload
    def __getitem__(self, index: int) -> OddImage: ...
    @overload
    def __getitem__(self, index: slice) -> OddImages: ...
    def __getitem__(self, index: Any) -> OddImage | OddImages:
        if isinstance(index, slice):
            try:
                rows = range(len(self))[index]
            except (TypeError, ValueError) as error:
                raise InputError(f"images cannot be cut by {index!r}: {error}") from None
            return OddImages(self.names[index], lambda i: self.make(rows[i]))
        if not isinstance(index, (int, np.integer)) or isinstance(index, bool):
            raise InputError(f"an image is asked for by its number from 0, or some by a slice, got {told(index)}")
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} is asked for; there are {len(self)}, from 0")
        return self.make(int(index) % len(self))

    def __iter__(self) -> Iterator[OddImage]:
        return (self.make(index) for index in range(len(self)))


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
    root = as_path("folder", folder)
    images = _files(root, ("images",))
    masks = {part: _files(root, names) for part, names in _FOLDERS.items()}
    names = tuple(sorted(images))
    for part, found in masks.items():
        missing = [name for name in names if name not in found]
        if missing:
            raise InputError(
                f"{root} has no mask in {part}/ for {missing[0]} ({len(missing)} of {len(names)} images): "
                f"{images[missing[0]]} needs files of the same name in targets/ and in distractors/; give them, or "
                "move it out of the folder where it is no image"
            )

    def make(index: int) -> OddImage:
        name = names[index]
        image = np.asarray(_open(images[name]).convert("RGB"))
        target, distractors = (_mask(masks[part][name], image.shape[:2]) for part in ("targets", "distractors"))
        return OddImage(name, image, target, distractors & ~target)

    return OddImages(names, make)


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
            raise InputError(
                f"{folder} has {found[path.stem].name} and {path.name}; one file for each name is needed, and "
                "what is no image is moved out of the folder"
            )
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
