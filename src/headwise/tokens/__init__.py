"""Tokens on disk and in memory, and the data that they come from."""

from __future__ import annotations

from .arrays import ArrayTokens
from .extract import extract
from .manifest import FORMAT_VERSION, Manifest
from .readers import (
    DATA_SETS,
    open_data,
    open_samples,
    read_arrays,
    read_digits,
    read_folder,
    read_images,
    read_photographs,
    read_table,
)
from .samples import ArrayData, ImageSamples, UnreadableImage
from .splits import make_splits
from .store import TokenStore

__all__ = [
    "DATA_SETS",
    "FORMAT_VERSION",
    "ArrayData",
    "ArrayTokens",
    "ImageSamples",
    "Manifest",
    "TokenStore",
    "UnreadableImage",
    "extract",
    "make_splits",
    "open_data",
    "open_samples",
    "read_arrays",
    "read_digits",
    "read_folder",
    "read_images",
    "read_photographs",
    "read_table",
]
