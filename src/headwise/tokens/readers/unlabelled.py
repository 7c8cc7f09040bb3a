"""Images without labels: one file, or all files below a folder."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import InputError
from ..samples import ImageSamples
from ..table import no_labels
from .folder import IMAGE_SUFFIXES, file_samples, image_files, plain_name

__all__ = ["read_images"]


def read_images(path: str | os.PathLike[str]) -> ImageSamples:
    """Read one image, or every image below a folder, without labels.

    Files are sorted by name; hidden files and files that are no images are left out. No image is opened yet.

    Parameters
    ----------
    path : path
        An image or a folder. Ids are paths below the folder, or the name of the image.

    Raises
    ------
    InputError
        The folder holds no images, or a folder below it cannot be listed.
    """
    root = Path(path)
    folder = root.is_dir()
    files = image_files(root, _refuse) if folder else [root]
    if not files:
        raise InputError(f"{root} holds no images; files that end in {', '.join(sorted(IMAGE_SUFFIXES))} count as such")
    ids = tuple(plain_name(file.relative_to(root).as_posix() if folder else file.name) for file in files)
    said = f"images of {plain_name(root.resolve().name)}: {len(ids)} images, no labels"
    return file_samples(files, ids, no_labels(len(ids)), (), said)


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename} cannot be read: {error.strerror}") from None
