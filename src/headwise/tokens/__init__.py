"""Tokens on disk and in memory, and the data that they come from."""

from __future__ import annotations

from .arrays import ArrayTokens
from .augmentation import Augmentation
from .extract import extract
from .manifest import FORMAT_VERSION, Manifest
from .readers import (
    DATA_SETS,
    TEXT_COLUMNS,
    open_data,
    open_samples,
    read_arrays,
    read_digits,
    read_folder,
    read_images,
    read_lines,
    read_photographs,
    read_table,
    read_texts,
)
from .samples import ArrayData, ImageSamples, TextSamples, UnreadableImage, UnreadableText
from .splits import make_splits
from .store import TokenStore
from .views import ViewTokens, num_views, view_rows

__all__ = [
    "DATA_SETS",
    "FORMAT_VERSION",
    "TEXT_COLUMNS",
    "ArrayData",
    "ArrayTokens",
    "Augmentation",
    "ImageSamples",
    "Manifest",
    "TextSamples",
    "TokenStore",
    "UnreadableImage",
    "UnreadableText",
    "ViewTokens",
    "extract",
    "make_splits",
    "num_views",
    "open_data",
    "open_samples",
    "read_arrays",
    "read_digits",
    "read_folder",
    "read_images",
    "read_lines",
    "read_photographs",
    "read_table",
    "read_texts",
    "view_rows",
]
