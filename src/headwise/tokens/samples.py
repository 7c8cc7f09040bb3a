"""Images that are decoded one at a time, texts, and arrays, with their labels where these are known."""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ..errors import InputError
from .arrays import ArrayTokens
from .table import as_splits

__all__ = [
    "ArrayData",
    "ImageSamples",
    "TextSamples",
    "UnreadableImage",
    "UnreadableSample",
    "UnreadableText",
    "check_classes",
    "open_image",
    "skipped_samples",
    "to_rgb",
]


class UnreadableSample(InputError):
    """A sample cannot be used. ``reason`` is short and the same on every run."""

    sentence = "{name} cannot be used ({reason}); repair it or remove it"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(self.sentence.format(name=name, reason=reason))
        self.reason = reason


class UnreadableImage(UnreadableSample):
    """An image cannot be decoded."""

    sentence = "image {name} cannot be read ({reason}); repair it or remove it"


class UnreadableText(UnreadableSample):
    """A text is empty, or the same as one before it."""

    sentence = "the text in {name} cannot be used ({reason}); repair it or remove it"


def skipped_samples(skipped: Sequence[tuple[str, str]], samples: ImageSamples | TextSamples, total: int) -> str:
    """A sentence about samples that were left out, by name and reason, with the first ten of them."""
    names = [name if isinstance(samples, ImageSamples) else f"{name} ({why})" for name, why in skipped[:10]]
    what = "images that cannot be read" if isinstance(samples, ImageSamples) else "texts that cannot be used"
    more = f" and {len(skipped) - 10} more" if len(skipped) > 10 else ""
    return f"skipped {len(skipped)} of {total} {what}: {', '.join(names)}{more}"


@dataclass(frozen=True)
class ImageSamples:
    """Images with labels, decoded when asked for.

    Parameters
    ----------
    ids : tuple of str
        Name of each image, for example its path below the data folder.
    labels : array of int64, shape (n,)
        Class codes (float64 targets for regression; NaN where labels are not known).
    class_names : tuple of str
        Names of the codes.
    load : callable
        ``load(i)`` returns image i as a PIL image in RGB, or raises `UnreadableImage`.
    description : str
        What the data is, for people.
    fingerprint : str
        Hash of ids, labels and what is cheap to know of the content (file sizes, array values).
    split, groups : array of str, shape (n,), or None
        Split and group of each image.

    Examples
    --------
    >>> from headwise.tokens import open_data
    >>> digits = open_data("digits")
    >>> len(digits), digits.image(0).size, digits.class_names[0]
    (1797, (8, 8), '0')
    """

    ids: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    load: Callable[[int], Image.Image]
    description: str
    fingerprint: str
    split: np.ndarray | None = None
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, index: int) -> Image.Image:
        """Image ``index`` in RGB."""
        if not 0 <= index < len(self):
            raise InputError(f"image {index} is asked for; there are {len(self)}, from 0")
        return self.load(index)

    def with_split(self, split: np.ndarray) -> ImageSamples:
        """The same images with another split, for example of `headwise.tokens.make_splits`."""
        return dataclasses.replace(self, split=as_splits(split, len(self)))

    def select(self, rows: Sequence[int] | np.ndarray) -> ImageSamples:
        """Some of the images, in the order of ``rows``."""
        rows = np.asarray(rows, dtype=np.int64)
        return dataclasses.replace(
            self,
            ids=tuple(self.ids[i] for i in rows),
            labels=self.labels[rows],
            load=lambda i: self.load(int(rows[i])),
            split=None if self.split is None else self.split[rows],
            groups=None if self.groups is None else self.groups[rows],
        )


@dataclass(frozen=True)
class TextSamples:
    """Texts with labels, all in memory.

    Parameters
    ----------
    ids : tuple of str
        Name of each text, for example its line in a file.
    labels : array of int64, shape (n,)
        Class codes (NaN where labels are not known).
    class_names : tuple of str
        Names of the codes.
    texts : tuple of str
    description : str
        What the data is, for people.
    fingerprint : str
        Hash of ids, labels and texts.
    split, groups : array of str, shape (n,), or None
        Split and group of each text.
    faults : mapping of int to str
        Texts that cannot be used, and why, in a few words: they are left out, and named.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from headwise.tokens import open_data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "mails.tsv")
    ...     _ = file.write_text("text\\tlabel\\nsee you\\tham\\nwin now\\tspam\\n")
    ...     mails = open_data(file)
    >>> len(mails), mails.text(1), mails.class_names
    (2, 'win now', ('ham', 'spam'))
    """

    ids: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    texts: tuple[str, ...]
    description: str
    fingerprint: str
    split: np.ndarray | None = None
    groups: np.ndarray | None = None
    faults: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def text(self, index: int) -> str:
        """Text ``index``; raises `UnreadableText` where it cannot be used."""
        if not 0 <= index < len(self):
            raise InputError(f"text {index} is asked for; there are {len(self)}, from 0")
        if index in self.faults:
            raise UnreadableText(self.ids[index], self.faults[index])
        return self.texts[index]

    def with_split(self, split: np.ndarray) -> TextSamples:
        """The same texts with another split, for example of `headwise.tokens.make_splits`."""
        return dataclasses.replace(self, split=as_splits(split, len(self)))


@dataclass(frozen=True)
class ArrayData:
    """Tokens and labels from a file of arrays; ``tokens`` may be a memory map.

    Parameters
    ----------
    tokens : array, shape (n, d), (n, s, d) or (n, views, s, d)
        Tokens.
    labels : array, shape (n,) or (n, k)
        int64 codes or float64 targets; NaN where labels are not known.
    class_names : tuple of str
        Names of the codes; empty where the labels are plain numbers.
    description : str
        What the data is, for people.
    split, groups : array of str, shape (n,), or None
        Split and group of each sample.
    mask : array of bool, shape (n, s), or None
        True where a token is real.
    grid : (int, int) or None
        Rows and columns of the patch tokens.
    num_prefix : int
        Prefix tokens.
    ids : tuple of str or None
        Names of the samples.
    """

    tokens: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    description: str
    split: np.ndarray | None = None
    groups: np.ndarray | None = None
    mask: np.ndarray | None = None
    grid: tuple[int, int] | None = None
    num_prefix: int = 0
    ids: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def source(self) -> ArrayTokens:
        """The tokens in memory; use `headwise.tokens.TokenStore.from_arrays` where they do not fit or have views."""
        return ArrayTokens(self.tokens, self.mask, self.num_prefix, self.grid)


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB, upright as the camera says; 16-bit greys are scaled to 8 bits, transparency is dropped."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64) // 257
        image = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def open_image(path: Path, name: str) -> Image.Image:
    """Read and decode one image file.

    Raises
    ------
    UnreadableImage
        The file is missing or its bytes are no image that can be decoded.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UnreadableImage(name, "file not found") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn about broken metadata that does not concern the pixels
            with Image.open(io.BytesIO(data)) as image:
                return to_rgb(image)
    except Exception as error:  # decoders raise almost any type when bytes are broken; the system's errors came before
        raise UnreadableImage(name, type(error).__name__) from error


def check_classes(labels: np.ndarray, class_names: Sequence[str], where: Any) -> None:
    """Refuse data without samples, with one class only, or with a class that has no sample."""
    if not len(labels):
        raise InputError(f"{where} holds no samples")
    if labels.dtype.kind == "f":
        return
    counts = np.bincount(labels.ravel(), minlength=len(class_names))
    empty = [name for name, count in zip(class_names, counts, strict=True) if count == 0]
    if empty:
        raise InputError(
            f"{where}: class {empty[0]!r} has no samples ({len(empty)} such); add some or remove the class"
        )
    if len(class_names) < 2:
        raise InputError(f"{where} holds one class only ({class_names[0]!r}); at least two are needed")
