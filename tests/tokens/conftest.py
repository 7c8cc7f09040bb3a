from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from headwise.contracts import Preprocessing


@dataclass
class FakeBackbone:
    """A fixed linear map of 2x2 blocks of pixels; counts its calls and can stop after some."""

    name: str = "fake"
    weights_hash: str = "0" * 64
    num_prefix_tokens: int = 1
    grid: tuple[int, int] = (2, 2)
    width: int = 6
    depth: int = 3
    num_heads: int = 2
    num_parameters: int = 0
    preprocessing: Preprocessing = field(
        default_factory=lambda: Preprocessing((4, 4), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    )
    stop_after: int | None = None
    stop_with: type[BaseException] = RuntimeError
    nan_for: str | None = None
    scale: float = 1.0
    calls: int = 0
    images: int = 0

    def preprocess(self, images: Any) -> torch.Tensor:
        arrays = [np.asarray(image.resize((4, 4))) for image in images]
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 255

    def tokens(self, images: torch.Tensor, layers: Any = (-1,), at: str = "output") -> list[torch.Tensor]:
        if self.stop_after is not None and self.calls >= self.stop_after:
            raise self.stop_with("stopped by the test")
        self.calls += 1
        self.images += len(images)
        patches = images.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(len(images), 4, 12)
        weight = torch.randn(12, 6, generator=torch.Generator().manual_seed(int(layers[0])))
        found = patches @ weight * self.scale
        out = torch.cat([found.mean(1, keepdim=True), found], dim=1)
        for i, image in enumerate(images):
            if self.nan_for == hashlib.sha256(image.numpy().tobytes()).hexdigest():
                out[i, 2, 3] = float("nan")
        return [out]

    def query_keys(self) -> list[Any]:
        return []


@pytest.fixture
def make_backbone():
    return FakeBackbone


@pytest.fixture
def tokens() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(23, 5, 3)).astype(np.float32)
