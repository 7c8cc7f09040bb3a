"""Tokens that the benchmarks run on: stores of real images, made once in ``benchmarks/.cache``, and generated ones."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwise.contracts import TokenSource

from .machine import declare_torchvision_operators

__all__ = [
    "CACHE",
    "Labelled",
    "add_data_option",
    "cifar_store",
    "data_folder",
    "large_store",
    "pseudo_classes",
    "synthetic",
]

CACHE = Path(__file__).resolve().parents[1] / ".cache"
HELD_OUT = 1000
WEIGHTS = "vit_tiny_patch16_224_in1k/model.safetensors"


@dataclass(frozen=True)
class Labelled:
    """Tokens with the class of every sample; training samples come first."""

    source: TokenSource
    labels: np.ndarray
    num_classes: int
    num_train: int

    def rows(self, n: int | None = None) -> np.ndarray:
        """The first n training samples, all by default."""
        return np.arange(self.num_train if n is None else min(n, self.num_train))


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """``--data FOLDER``, with HEADWISE_DATA as default."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HEADWISE_DATA") or beside))


def data_folder(path: Path) -> Path:
    """``path``, or an end with a message where it is not there."""
    if not path.is_dir():
        sys.exit(f"{path} is not there; name the folder with real weights and data with --data or HEADWISE_DATA")
    return path


def cifar_store(data: Path, n: int) -> Path:
    """Token store of ViT-Ti/16 on the first n training images, and on held-out ones after them."""
    from headwise import open_data

    samples = open_data(data / "cifar10_subset" / "train_10k.npz").select(np.arange(n + HELD_OUT))
    samples = samples.with_split(np.where(np.arange(n + HELD_OUT) < n, "train", "test"))
    return _extracted(data, samples, CACHE / f"vit_tiny_{n}")


def large_store(data: Path) -> Path:
    """Tokens of 10,000 training images (split "train"), mirror images of the first half (no part), 5,000 test images
    ("test"): 20,000 samples, extracted in about twenty minutes on two cores.
    """
    from headwise.tokens.readers.arrays import image_array_samples

    train, test = (np.load(data / "cifar10_subset" / f"{name}.npz") for name in ("train_10k", "test_5k"))
    images, labels = train["images"], train["labels"].astype(np.int64)
    half = 5000
    samples = image_array_samples(
        np.concatenate([images, images[:half, :, ::-1], test["images"]]),
        np.concatenate([labels, labels[:half], test["labels"].astype(np.int64)]),
        class_names=tuple(str(name) for name in train["class_names"]),
        description="CIFAR-10 subset with mirror images of the first 5,000",
    )
    split = np.repeat(["train", "", "test"], [len(images), half, len(test["images"])])
    return _extracted(data, samples.with_split(split), CACHE / "vit_tiny_20000")


def _extracted(data: Path, samples: object, path: Path) -> Path:
    from headwise import TokenStore, extract, load_backbone

    try:
        TokenStore.open(path)
    except ValueError:
        keep = declare_torchvision_operators()
        model = load_backbone(f"timm/vit_tiny_patch16_224@{data / WEIGHTS}")
        extract(model, samples, path, announce=print)
        del keep
    return path


def synthetic(n: int = 160, s: int = 9, d: int = 12, c: int = 3, seed: int = 0) -> Labelled:
    """Generated tokens with one prefix token, a square grid, a decaying spectrum, and class means: for smoke runs."""
    from headwise.tokens import ArrayTokens

    rng = np.random.default_rng(seed)
    labels = np.arange(n) % c
    values = rng.normal(size=(n, s + 1, d)) / np.sqrt(1 + np.arange(d))
    values += 0.5 * rng.normal(size=(c, 1, d))[labels]
    side = round(s**0.5)
    source = ArrayTokens(values.astype(np.float32), num_prefix=1, grid=(side, side))
    return Labelled(source, labels, c, n)


def pseudo_classes(tokens: Labelled, count: int, seed: int = 0) -> np.ndarray:
    """Nearest of ``count`` centroids (k-means on the mean patch token) of every sample."""
    from sklearn.cluster import KMeans

    prefix = tokens.source.num_prefix
    pooled = np.concatenate([chunk.values[:, prefix:].mean(1).numpy() for _, chunk in tokens.source.chunks()])
    found: np.ndarray = KMeans(count, n_init=1, max_iter=20, random_state=seed).fit_predict(pooled)
    return found.astype(np.int64)
