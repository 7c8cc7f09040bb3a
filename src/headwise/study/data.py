"""From what the user names to a token store with three parts and the images or texts behind it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from ..contracts import Backbone, Progress, TextBackbone
from ..errors import InputError
from ..heads.compare import PlainFeatures, Splits
from ..heads.facts import TokenFacts
from ..tokens import ArrayData, ImageSamples, TextSamples, TokenStore, extract
from ..tokens.feeds import TextFeed
from ..tokens.splits import fill_splits

__all__ = [
    "Found",
    "check_classes",
    "open_tokens",
    "plain_features",
    "store_arrays",
    "three_part_samples",
    "three_parts",
    "training_size",
]

Found = ImageSamples | TextSamples | ArrayData | TokenStore
"""What `headwise.open_data` gives."""

PIXEL_SIDE = 32  # images are shrunk to this side for the raw-pixel baseline
WORD = r"(?u)\b\w+\b"  # what counts as a word in the baseline of words


def open_tokens(
    found: Found,
    model: Backbone | TextBackbone | None,
    path: Path,
    *,
    layer: int,
    max_tokens: int | None = None,
    seed: int,
    batch_size: int,
    device: str,
    strict: bool,
    overwrite: bool,
    progress: Progress,
    announce: Callable[[str], object] | None,
) -> tuple[TokenStore, ImageSamples | TextSamples | None]:
    """A store with a train, a validation and a test part, and the images or texts where there are any."""
    if isinstance(found, TokenStore):
        return found, None
    if isinstance(found, (ImageSamples, TextSamples)):
        assert model is not None
        samples = three_part_samples(found, seed)
        store = extract(
            model,
            samples,
            path,
            layer=layer,
            max_tokens=max_tokens,
            batch_size=batch_size,
            device=device,
            strict=strict,
            overwrite=overwrite,
            progress=progress,
            announce=announce,
        )
        return store, samples
    return store_arrays(found, path, seed=seed, overwrite=overwrite, progress=progress), None


def three_part_samples(found: ImageSamples | TextSamples, seed: int) -> ImageSamples | TextSamples:
    """Images or texts with three parts: those that are given, the others made."""
    return found.with_split(fill_splits(found, seed=seed))


def training_size(found: Found, model: Any, seed: int, max_tokens: int | None = None) -> tuple[TokenFacts, int]:
    """What the tokens will look like, and how many rows of them (each view is one) will train, before any is made."""
    views = 1
    if isinstance(found, TokenStore):
        facts, views = TokenFacts.of(found), found.num_views
    elif isinstance(found, ImageSamples):
        prefix, grid = model.num_prefix_tokens, model.grid
        facts = TokenFacts(prefix + grid[0] * grid[1], model.width, prefix, grid)
    elif isinstance(found, TextSamples):
        longest = TextFeed(model, found, max_tokens).num_tokens
        facts = TokenFacts(longest, model.width, model.num_prefix_tokens, None)
    else:
        shape = found.tokens.shape
        views = shape[1] if len(shape) == 4 else 1
        facts = TokenFacts(shape[-2] if len(shape) > 2 else 1, shape[-1], found.num_prefix, found.grid)
    return facts, views * int((fill_splits(found, seed=seed) == "train").sum())


def store_arrays(
    found: ArrayData, path: Path, *, seed: int, overwrite: bool, progress: Progress, dtype: str | None = None
) -> TokenStore:
    """Token arrays as a store with three parts; ``dtype`` is that of the arrays by default."""
    return TokenStore.from_arrays(
        path,
        found.tokens,
        found.labels,
        split=fill_splits(found, seed=seed),
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


def check_classes(found: Found) -> None:
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


def _name(found: Found, code: int) -> str:
    return repr(found.class_names[code]) if found.class_names else str(code)


def three_parts(store: TokenStore, seed: int) -> tuple[Splits, list[str]]:
    """Rows and targets of train, val and test, and the names of the classes."""
    check_classes(store)  # images that could not be read are gone by now
    split = fill_splits(store, seed=seed)
    classes = np.unique(store.labels)
    names = [store.class_names[i] if store.class_names else str(i) for i in classes]
    rows = {part: np.flatnonzero(split == part) for part in ("train", "val", "test")}
    targets = {part: np.searchsorted(classes, store.labels[r]) for part, r in rows.items()}
    return Splits(rows, targets, classes), names


def plain_features(
    samples: ImageSamples | TextSamples | None, store: TokenStore, splits: Splits
) -> PlainFeatures | None:
    """The samples themselves, without a backbone, in the order of the store's rows: small images, or words."""
    if samples is None:
        return None
    where = {name: i for i, name in enumerate(samples.ids)}
    rows = {part: [where[store.ids[row]] for row in rows] for part, rows in splits.rows.items()}
    return _pixels(samples, rows) if isinstance(samples, ImageSamples) else _words(samples, rows)


def _pixels(samples: ImageSamples, rows: dict[str, list[int]]) -> PlainFeatures:
    def vector(index: int) -> NDArray[Any]:
        image = samples.image(index)
        if max(image.size) > PIXEL_SIDE or len({image.size, first}) > 1:
            image = image.resize((PIXEL_SIDE, PIXEL_SIDE))
        return np.asarray(image, dtype=np.float32).ravel() / 255

    first = samples.image(min(min(part) for part in rows.values())).size
    if max(first) > PIXEL_SIDE:
        first = (PIXEL_SIDE, PIXEL_SIDE)
    features = {part: np.stack([vector(i) for i in some]) for part, some in rows.items()}
    return PlainFeatures("raw pixels", "logistic regression on the pixels, no backbone", features, standardize=True)


def _words(samples: TextSamples, rows: dict[str, list[int]]) -> PlainFeatures | None:
    texts = {part: [samples.texts[i] for i in some] for part, some in rows.items()}
    if not any(re.search(WORD, text) for text in texts["train"]):
        return None
    model = TfidfVectorizer(token_pattern=WORD, sublinear_tf=True).fit(texts["train"])
    features = {part: model.transform(some) for part, some in texts.items()}
    return PlainFeatures("words", "logistic regression on the words (tf-idf), no backbone", features)
