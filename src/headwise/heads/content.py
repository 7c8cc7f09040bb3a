"""Whether tokens are those of a certificate, by their numbers and not by where they are kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..contracts import TokenSource
from ..errors import InputError
from ..files import hash_chunks
from ..tokens import ArrayData, TokenStore, num_views, open_data
from ..tokens.manifest import DTYPES
from .facts import TokenFacts
from .inputs import source_of

__all__ = ["array_source", "open_arrays", "same_tokens"]


def same_tokens(fingerprint: str | None, source: TokenSource) -> bool:
    """Whether a source has a fingerprint: its own, or, where it is a store, that of the same numbers as an array.

    A store has the fingerprint of an array where it keeps numbers of the same type, whole: numbers, mask and layout are
    hashed as `headwise.tokens.ArrayTokens` does. Tokens behind a mask are zero in a store.
    """
    if fingerprint == source.fingerprint:
        return True
    return isinstance(source, TokenStore) and num_views(source) == 1 and fingerprint == _as_array(source)


def _as_array(store: TokenStore) -> str:
    """The fingerprint of `ArrayTokens` with the content of a store, chunk by chunk."""
    dtype, shape = DTYPES[store.manifest.dtype], (store.num_samples, store.num_tokens)

    def values() -> Iterator[Tensor]:
        return (tokens.values for _, tokens in store.chunks(dtype=dtype))

    layout = torch.tensor([store.num_prefix, *(store.grid or (0, 0))], dtype=torch.int64)
    parts = {"tokens": (dtype, (*shape, store.width), values()), "layout": (layout.dtype, (3,), [layout])}
    if store.manifest.has_mask:
        masks = [tokens.mask for _, tokens in store.chunks() if tokens.mask is not None]
        if not all(bool(mask.all()) for mask in masks):
            parts["mask"] = (torch.bool, shape, masks)
    return hash_chunks(parts)


def open_arrays(data: Any) -> Any:
    """Arrays from the path of their file; anything else as it is."""
    if not isinstance(data, (str, os.PathLike)) or not Path(data).is_file():
        return data
    found = open_data(data)
    if not isinstance(found, ArrayData):
        raise InputError(f"{data} holds no tokens; a token store or a file of arrays (.npy, .npz) is needed")
    return found


def array_source(facts: TokenFacts, data: ArrayData) -> TokenSource:
    """Arrays of a file for a head, in the layout that the file gives, or that of the head where it gives none."""
    if data.num_prefix or data.grid is not None:
        return data.source()
    return source_of(facts, data.tokens, data.mask)
