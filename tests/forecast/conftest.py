"""Linear teachers with noise planted in Gaussian features, and Gaussian classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest


@dataclass(frozen=True)
class Planted:
    """``y = W x + z`` with W of given singular values; features mixed by a random matrix, as real ones are."""

    d: int = 50
    outputs: int = 20
    strengths: tuple[float, ...] = (1.0, 0.7)
    noise: float = 1.0
    seed: int = 0

    def __post_init__(self):
        rng = np.random.default_rng([self.seed, 0])
        left = np.linalg.qr(rng.normal(size=(self.outputs, len(self.strengths))))[0]
        right = np.linalg.qr(rng.normal(size=(self.d, len(self.strengths))))[0]
        object.__setattr__(self, "teacher", (left * np.array(self.strengths)) @ right.T)
        object.__setattr__(self, "mix", rng.normal(size=(self.d, self.d)))

    @property
    def variance(self):
        return sum(s**2 for s in self.strengths) + self.outputs * self.noise**2

    def draw(self, n, seed=0):
        rng = np.random.default_rng([self.seed, 1, seed])
        x = rng.normal(size=(n, self.d))
        return x @ self.mix + 2, x @ self.teacher.T + self.noise * rng.normal(size=(n, self.outputs))


def draw_clusters(n, d=40, classes=6, spread=1.2, seed=0):
    """Samples of Gaussian classes, and their classes."""
    rng = np.random.default_rng([seed, 7])
    centres = np.random.default_rng(3).normal(size=(classes, d))
    labels = rng.integers(classes, size=n)
    return centres[labels] + spread * rng.normal(size=(n, d)), labels


@pytest.fixture(scope="session")
def planted():
    return Planted


@pytest.fixture(scope="session")
def clusters():
    return draw_clusters
