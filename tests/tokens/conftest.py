from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from headwise.contracts import EncodedText, Preprocessing, TextPreprocessing
from headwise.errors import InputError


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


@dataclass
class FakeTextBackbone:
    """Numbers that stand for each word and its place, between one number in front and one at the end."""

    name: str = "fake/texts"
    weights_hash: str = "1" * 64
    num_prefix_tokens: int = 1
    width: int = 6
    depth: int = 3
    num_heads: int = 2
    num_parameters: int = 0
    preprocessing: TextPreprocessing = field(default_factory=lambda: TextPreprocessing("2" * 64, 12))
    stop_after: int | None = None
    calls: int = 0
    texts: int = 0

    def encode(self, texts: Any, max_tokens: int | None = None) -> list[EncodedText]:
        most = min(max_tokens or 12, 12)
        if most < 3:
            raise InputError("fake/texts adds 2 tokens to each")
        found = []
        for text in texts:
            words = [2 + sum(word.encode()) % 50 for word in text.replace("?", "").split()]
            ids = [0, *words[: most - 2], 1] if words else []
            found.append(EncodedText(np.array(ids, dtype=np.int64), 2 + len(words)))
        return found

    def batch(self, encoded: Any) -> dict[str, torch.Tensor]:
        size = max(len(text.ids) for text in encoded)
        ids, mask = torch.full((len(encoded), size), 99), torch.zeros(len(encoded), size, dtype=torch.long)
        for i, text in enumerate(encoded):
            ids[i, : len(text.ids)], mask[i, : len(text.ids)] = torch.from_numpy(text.ids), 1
        return {"input_ids": ids, "attention_mask": mask}

    def preprocess(self, texts: Any) -> dict[str, torch.Tensor]:
        return self.batch(self.encode(texts))

    def seen(self, inputs: Any) -> torch.Tensor:
        return inputs["attention_mask"].bool()

    def tokens(self, inputs: Any, layers: Any = (-1,), at: str = "output") -> list[torch.Tensor]:
        if self.stop_after is not None and self.calls >= self.stop_after:
            raise RuntimeError("stopped by the test")
        self.calls += 1
        self.texts += len(inputs["input_ids"])
        ids = inputs["input_ids"]
        table = torch.randn(100, 6, generator=torch.Generator().manual_seed(int(layers[0])))
        table[99] = torch.nan  # padding must never be seen
        return [table[ids] + torch.arange(ids.shape[1])[None, :, None] / 10]


@pytest.fixture
def make_text_backbone():
    return FakeTextBackbone
