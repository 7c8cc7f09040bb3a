"""From what the user names to a token store with three parts and the images behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contracts import Backbone, Progress
from ..errors import InputError
from ..heads.compare import Splits
from ..heads.facts import TokenFacts
from ..tokens import ArrayData, ImageSamples, TokenStore, extract, make_splits

__all__ = [
    "check_classes",
    "open_tokens",
    "raw_pixels",
    "store_arrays",
    "three_part_images",
    "three_parts",
    "training_size",
]

PIXEL_SIDE = 32  # images are shrunk to this side for the raw-pixel baseline


def open_tokens(
    found: ImageSamples | ArrayData | TokenStore,
    model: Backbone | None,
    path: Path,
    *,
    layer: int,
    seed: int,
    batch_size: int,
    device: str,
    strict: bool,
    overwrite: bool,
    progress: Progress,
    announce: Callable[[str], object] | None,
) -> tuple[TokenStore, ImageSamples | None]:
    """A store with a train, a validation and a test part, and the images where there are any."""
    if isinstance(found, TokenStore):
        return found, None
    if isinstance(found, ImageSamples):
        assert model is not None
        samples = three_part_images(found, seed)
        store = extract(
            model,
            samples,
            path,
            layer=layer,
            batch_size=batch_size,
            device=device,
            strict=strict,
            overwrite=overwrite,
            progress=progress,
            announce=announce,
        )
        return store, samples
    return store_arrays(found, path, seed=seed, overwrite=overwrite, progress=progress), None


def three_part_images(found: ImageSamples, seed: int) -> ImageSamples:
    """Images with three parts: those that are given, the others made."""
    return found.with_split(_parts(found, seed))


def training_size(
    found: ImageSamples | ArrayData | TokenStore, model: Backbone | None, seed: int
) -> tuple[TokenFacts, int]:
    """What the tokens will look like, and how many rows of them (each view is one) will train, before any is made."""
    views = 1
    if isinstance(found, TokenStore):
        facts, views = TokenFacts.of(found), found.num_views
    elif isinstance(found, ImageSamples):
        assert model is not None
        prefix, grid = model.num_prefix_tokens, model.grid
        facts = TokenFacts(prefix + grid[0] * grid[1], model.width, prefix, grid)
    else:
        shape = found.tokens.shape
        views = shape[1] if len(shape) == 4 else 1
        facts = TokenFacts(shape[-2] if len(shape) > 2 else 1, shape[-1], found.num_prefix, found.grid)
    return facts, views * int((_parts(found, seed) == "train").sum())


def _parts(found: ImageSamples | ArrayData | TokenStore, seed: int) -> NDArray[Any]:
    return make_splits(found.labels, found.groups, seed=seed, split=found.split, class_names=found.class_names)


def store_arrays(
    found: ArrayData, path: Path, *, seed: int, overwrite: bool, progress: Progress, dtype: str | None = None
) -> TokenStore:
    """Token arrays as a store with three parts; ``dtype`` is that of the arrays by default."""
    return TokenStore.from_arrays(
        path,
        found.tokens,
        found.labels,
        split=_parts(found, seed),
        groups=found.groups,
        class_names=found.class_names,
        mask=found.mask,
        grid=found.grid,
        num_prefix=found.num_prefix,
        ids=found.ids,
        dtype=dtype or _dtype(found.tokens),
        description=found.description,
        progress=progress,
        overwrite=overwrite,
    )


def _dtype(tokens: NDArray[Any]) -> str:
    name = str(tokens.dtype)
    return name if name in ("float16", "float32", "float64") else "float32"


def check_classes(found: ImageSamples | ArrayData | TokenStore) -> None:
    """Refuse labels that are no classes before any long work."""
    labels = np.asarray(found.labels)
    if labels.dtype.kind != "i" or labels.ndim != 1:
        raise InputError(
            f"study needs one class a sample; these labels are {labels.dtype} of shape {labels.shape}. For numbers, "
            "fit headwise.HeadRegressorCV on the tokens"
        )
    classes = np.unique(labels)
    if len(classes) < 2:
        raise InputError(f"the labels hold one class only ({_name(found, classes[0])}); study needs at least two")


def _name(found: ImageSamples | ArrayData | TokenStore, code: int) -> str:
    return repr(found.class_names[code]) if found.class_names else str(code)


def three_parts(store: TokenStore, seed: int) -> tuple[Splits, list[str]]:
    """Rows and targets of train, val and test, and the names of the classes."""
    check_classes(store)  # images that could not be read are gone by now
    split = _parts(store, seed)
    classes = np.unique(store.labels)
    names = [store.class_names[i] if store.class_names else str(i) for i in classes]
    rows = {part: np.flatnonzero(split == part) for part in ("train", "val", "test")}
    targets = {part: np.searchsorted(classes, store.labels[r]) for part, r in rows.items()}
    return Splits(rows, targets, classes), names


def raw_pixels(samples: ImageSamples | None, store: TokenStore, splits: Splits) -> dict[str, NDArray[Any]] | None:
    """Small raw images as vectors, in the order of the store's rows."""
    if samples is None:
        return None
    where = {name: i for i, name in enumerate(samples.ids)}

    def vector(row: int) -> NDArray[Any]:
        image = samples.image(where[store.ids[row]])
        if max(image.size) > PIXEL_SIDE or len({image.size, first}) > 1:
            image = image.resize((PIXEL_SIDE, PIXEL_SIDE))
        return np.asarray(image, dtype=np.float32).ravel() / 255

    first = samples.image(where[store.ids[0]]).size
    if max(first) > PIXEL_SIDE:
        first = (PIXEL_SIDE, PIXEL_SIDE)
    return {part: np.stack([vector(int(r)) for r in rows]) for part, rows in splits.rows.items()}
