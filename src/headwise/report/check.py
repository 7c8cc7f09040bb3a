"""What a study must hold before it can be rendered, and how its parts are fetched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError

__all__ = ["Arrays", "Study", "check_study", "map_of", "photo_of"]

Study = Mapping[str, Any]
Arrays = Mapping[str, np.ndarray]

FORMAT_VERSION = 1


def check_study(study: Study) -> None:
    """Raise `InputError` where ``study`` is not a study of a format that this version reads."""
    if not isinstance(study, Mapping):
        raise InputError(f"a study is a mapping, got {type(study).__name__}; pass the content of study.json")
    found = study.get("format_version")
    if found != FORMAT_VERSION:
        raise InputError(
            f"the study has format version {found!r}, this headwise reads {FORMAT_VERSION}; make the study again "
            "or use the headwise "
            f"that wrote it ({study.get('headwise_version', 'unknown')})"
        )
    for key in ("heads", "path", "timings", "warnings"):
        if study.get(key) is not None and not isinstance(study[key], (list, tuple)):
            raise InputError(f"study[{key!r}] is a list, got {type(study[key]).__name__}")


def photo_of(arrays: Arrays, key: str) -> np.ndarray:
    """The photograph ``arrays[key]``, uint8 ``(H, W, 3)``."""
    photo = _get(arrays, key)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise InputError(f"the photograph {key!r} is {photo.dtype} {photo.shape}; uint8 (height, width, 3) is needed")
    return photo


def map_of(arrays: Arrays, key: str) -> np.ndarray:
    """The map ``arrays[key]`` as float64 ``(rows, columns)``."""
    values = _get(arrays, key)
    if values.ndim != 2 or 0 in values.shape or not np.issubdtype(values.dtype, np.number):
        raise InputError(
            f"the map {key!r} is {values.dtype} {values.shape}; numbers of shape (rows, columns) are needed"
        )
    if not np.isfinite(values).all():
        raise InputError(f"the map {key!r} holds NaN or infinite values; leave it out of the study or compute it again")
    return values.astype(np.float64)


def _get(arrays: Arrays, key: str) -> np.ndarray:
    if key not in arrays:
        raise InputError(
            f"the study names the array {key!r}, which was not given; pass it in arrays or leave its entry out of "
            "the study"
        )
    return np.asarray(arrays[key])
