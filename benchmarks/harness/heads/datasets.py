"""The data sets of the table, each with training, validation and test rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwise import Conditioner, TokenStore
from headwise.contracts import TokenSource

from ..data import CACHE, cifar_store, data_folder, synthetic

__all__ = ["DATASETS", "Dataset", "duplicate_motifs"]


@dataclass(frozen=True)
class Dataset:
    """Tokens, classes, and rows of the three parts."""

    name: str
    said: str
    source: TokenSource
    labels: np.ndarray
    rows: dict[str, np.ndarray]
    conditioner: Conditioner
    components: tuple[int | None, ...]
    """Components to keep, the first that is feasible for a head."""

    @property
    def num_classes(self) -> int:
        return int(self.labels.max()) + 1

    def targets(self, part: str) -> np.ndarray:
        return self.labels[self.rows[part]]


def duplicate_motifs(train: int, val: int, test: int, s: int = 6, d: int = 8, noise: float = 0.15) -> Dataset:
    """Six tokens, each one of eight orthonormal motifs with noise; class 1 where exactly one motif stands twice.

    Every token has the same distribution in both classes, so a head that looks at tokens one by one learns nothing.
    """
    from headwise.tokens import ArrayTokens

    rng = np.random.default_rng(0)
    motifs = np.linalg.qr(rng.normal(size=(d, d)))[0]
    n = train + val + test
    labels = rng.permutation(np.arange(n) % 2)
    choice = np.argsort(rng.random((n, d)), axis=1)[:, :s]  # distinct motifs, in random order
    for row in np.flatnonzero(labels):
        first, second = rng.choice(s, size=2, replace=False)
        choice[row, second] = choice[row, first]
    values = motifs[choice] + noise * rng.normal(size=(n, s, d))
    source = ArrayTokens(values, grid=(2, 3))
    parts = np.split(np.arange(n), [train, train + val])
    rows = dict(zip(("train", "val", "test"), parts, strict=True))
    said = f"{s} tokens, each one of {d} motifs; is one of them there twice?"
    return Dataset("motifs", said, source, labels, rows, Conditioner(layer_norm=False), (None,))


def _motifs(data: Path, quick: bool) -> Dataset:
    return duplicate_motifs(80, 40, 40) if quick else duplicate_motifs(1500, 500, 2000)


def _vit(data: Path, quick: bool) -> Dataset:
    if quick:
        made = synthetic(150)
        rows = {"train": np.arange(90), "val": np.arange(90, 120), "test": np.arange(120, 150)}
        said = "generated tokens in place of real ones"
        return Dataset("vit_tiny", said, made.source, made.labels, rows, Conditioner(), (4, 2))
    store = TokenStore.open(cifar_store(data_folder(data), 5000))
    source, labels = _halved(store, store.rows("train")[:4000])
    rows = {"train": np.arange(1000), "val": np.arange(1000, 2000), "test": np.arange(2000, 4000)}
    said = "ViT-Ti/16 tokens of training images of the CIFAR-10 subset, patch tokens averaged in squares of 2 x 2 to 49"
    return Dataset("vit_tiny", said, source, labels, rows, Conditioner(), (32, 16, 8))


def _halved(store: TokenStore, rows: np.ndarray) -> tuple[TokenSource, np.ndarray]:
    """Rows of a store with means of 2 x 2 patches: what a gate keeps grows with the square of the number of tokens."""
    from headwise.tokens import ArrayTokens

    prefix, (height, width) = store.num_prefix, store.grid
    parts = []
    for _, found in store.chunks(rows):
        n = len(found.values)
        patches = found.values[:, prefix:].view(n, height // 2, 2, width // 2, 2, -1).mean((2, 4)).flatten(1, 2)
        parts.append(np.concatenate((found.values[:, :prefix].numpy(), patches.numpy()), 1))
    values = np.concatenate(parts)
    return ArrayTokens(values, num_prefix=prefix, grid=(height // 2, width // 2)), store.labels[rows]


def _digits(data: Path, quick: bool) -> Dataset:
    if quick:
        made = synthetic(120, s=4, seed=1)
        rows = {"train": np.arange(70), "val": np.arange(70, 95), "test": np.arange(95, 120)}
        said = "generated tokens in place of digits"
        return Dataset("digits", said, made.source, made.labels, rows, Conditioner(), (4,))
    from headwise import extract, load_backbone
    from headwise.tokens import make_splits
    from headwise.tokens.readers.digits import read_digits

    path = CACHE / "digits_embedded"
    try:
        store = TokenStore.open(path)
    except ValueError:
        extract(load_backbone("embedded"), read_digits(), path, announce=print)
        store = TokenStore.open(path)
    names = make_splits(store.labels, None, fractions=(0.5, 0.2, 0.3), seed=0)
    rows = {part: np.flatnonzero(names == part) for part in ("train", "val", "test")}
    said = "scikit-learn's digits through the embedded backbone, 64 patch tokens"
    return Dataset("digits", said, store, store.labels, rows, Conditioner(), (64, 32, 16))


DATASETS: dict[str, Callable[[Path, bool], Dataset]] = {"motifs": _motifs, "digits": _digits, "vit_tiny": _vit}
