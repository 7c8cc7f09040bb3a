"""A folder of images with one subfolder a class."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import InputError
from ...files import hash_tensors
from ..samples import ImageSamples, check_classes, open_image
from ..table import SPLIT_NAMES, hash_samples

__all__ = ["IMAGE_SUFFIXES", "file_samples", "image_files", "join_fingerprint", "plain_name", "read_folder"]

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jp2")
)
"""Endings of the files that count as images, in small letters."""


def read_folder(path: str | os.PathLike[str]) -> ImageSamples:
    """Read ``class/image`` or ``train/class/image``, ``val/class/image``, ``test/class/image``.

    Classes and files are sorted by name, hidden files and files that are no images are left out, and images may lie in
    subfolders of their class. No image is opened yet.

    Parameters
    ----------
    path : path
        The folder.

    Raises
    ------
    InputError
        No class folders, no images, a class without images, a single class, or a class that a split lacks.
    """
    root = Path(path)
    top = _subfolders(root)
    splits = {folder.name: SPLIT_NAMES[folder.name.lower()] for folder in top if folder.name.lower() in SPLIT_NAMES}
    has_splits = len(splits) == len(top) and "train" in splits.values()
    if not top:
        raise InputError(
            f"{root} has no subfolders; one folder of images for each class is needed (cats/1.jpg, dogs/2.jpg)"
        )
    found: list[tuple[Path, str, str]] = []
    for part in top if has_splits else [root]:
        for folder in _subfolders(part):
            files = image_files(folder)
            if not files:
                raise InputError(f"{folder} holds no images; add some or remove the class")
            found += [(file, folder.name, splits[part.name] if has_splits else "") for file in files]
    if not found:
        raise InputError(f"{root} holds no images in class folders")
    files_ = [file for file, _, _ in found]
    names = tuple(sorted({plain_name(name) for _, name, _ in found}))
    codes = {name: code for code, name in enumerate(names)}
    labels = np.array([codes[plain_name(name)] for _, name, _ in found], dtype=np.int64)
    split = np.array([part for _, _, part in found]) if has_splits else None
    check_classes(labels, names, root)
    if split is not None:
        for part in top:
            held = {folder.name for folder in _subfolders(part)}
            for folder in top:
                if lacking := sorted({f.name for f in _subfolders(folder)} - held):
                    raise InputError(
                        f"{part / lacking[0]} is missing, and {folder / lacking[0]} is there; add the images or "
                        "remove the class from all parts"
                    )
    ids = tuple(plain_name(file.relative_to(root).as_posix()) for file in files_)
    said = f"image folder {plain_name(root.resolve().name)}: {len(ids)} images, {len(names)} classes"
    return file_samples(files_, ids, labels, names, said, split)


def file_samples(
    files: Sequence[Path],
    ids: tuple[str, ...],
    labels: np.ndarray,
    class_names: tuple[str, ...],
    description: str,
    split: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> ImageSamples:
    """Image files as `ImageSamples`; no file is opened before it is asked for."""
    sizes = np.array([file.stat().st_size for file in files], dtype=np.int64)

    def load(index: int) -> Image.Image:
        return open_image(files[index], ids[index])

    return ImageSamples(
        ids=ids,
        labels=labels,
        class_names=class_names,
        load=load,
        description=description,
        fingerprint=join_fingerprint(hash_samples(ids, labels, class_names, split, groups), sizes),
        split=split,
        groups=groups,
    )


def plain_name(name: str) -> str:
    """A file name that can be written as UTF-8; bytes that are not text are spelled out."""
    return name.encode("utf-8", "backslashreplace").decode()


def join_fingerprint(samples: str, content: np.ndarray) -> str:
    """Hash of what is known of the samples together with an array of their content or file sizes."""
    import torch

    return hash_tensors({samples: torch.from_numpy(np.ascontiguousarray(content))})


def _subfolders(path: Path) -> list[Path]:
    try:
        return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    except PermissionError:
        raise InputError(f"{path} cannot be read: permission denied") from None


def image_files(folder: Path, onerror: Callable[[OSError], object] | None = None) -> list[Path]:
    """Image files in a folder and its subfolders, sorted; ``onerror`` is given subfolders that cannot be listed."""
    found = []
    for base, folders, files in os.walk(folder, onerror=onerror):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(base, name)
            for name in files
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
        ]
    return sorted(found)
