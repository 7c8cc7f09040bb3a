"""Backbones of images and of texts, and how these become their inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

from .attention import QueryKey

__all__ = ["Backbone", "EncodedText", "Preprocessing", "TextBackbone", "TextPreprocessing"]


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a backbone's input: resize, crop, scale to [0, 1], subtract mean, divide by std.

    Parameters
    ----------
    image_size : (int, int)
        Height and width of the input.
    mean, std : (float, float, float)
        Of the channels, after scaling to [0, 1].
    interpolation : str
        Filter of the resize.
    crop_fraction : float
        Share of the resized side that the centre crop keeps: pictures are resized to ``floor(size / crop_fraction)``.
    crop_mode : {"center", "squash", "border"}
        What fits that size: the shorter side, with the aspect kept (parts of the longer side are lost); both sides,
        whatever the aspect; or the longer side, with a border of the mean colour around the picture.
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    crop_fraction: float = 1.0
    crop_mode: Literal["center", "squash", "border"] = "center"


@dataclass(frozen=True)
class TextPreprocessing:
    """How a text becomes a backbone's input: its tokenizer cuts it into tokens, the first of which are taken.

    Parameters
    ----------
    tokenizer : str
        Hash of the vocabulary and of what the tokenizer makes of a sentence.
    max_tokens : int
        Tokens that the network takes, those that the tokenizer adds included.
    """

    tokenizer: str
    max_tokens: int


@dataclass(frozen=True)
class EncodedText:
    """A text as the numbers of its tokens, those that the tokenizer adds included.

    Parameters
    ----------
    ids : ndarray of int64, shape (length,)
        Empty for a text without a token of its own.
    whole : int
        Tokens of the whole text; more than there are ``ids`` where it was cut.
    """

    ids: np.ndarray
    whole: int


@runtime_checkable
class Backbone(Protocol):
    """A frozen network that turns images into tokens."""

    name: str
    model: nn.Module
    """The network itself, whose parameters `tokens` uses."""
    weights_hash: str
    num_prefix_tokens: int
    grid: tuple[int, int]
    width: int
    depth: int
    num_heads: int
    num_parameters: int
    preprocessing: Preprocessing

    def preprocess(self, images: Sequence[Any]) -> Tensor:
        """Batch ``(B, 3, H, W)`` ready for `tokens` from PIL images or uint8 arrays ``(H, W)`` or ``(H, W, 3)``."""
        ...

    def tokens(
        self, images: Tensor, layers: Sequence[int] = (-1,), at: Literal["output", "block_input"] = "output"
    ) -> list[Tensor]:
        """One ``(B, prefix + patches, d)`` tensor for each layer asked for.

        ``"output"`` is the layer's output (after the last norm for the last layer), ``"block_input"`` the residual
        stream that enters the layer, before its norm.
        """
        ...

    def query_keys(self) -> list[QueryKey]:
        """One record for each attention layer, in order."""
        ...


@runtime_checkable
class TextBackbone(Protocol):
    """A frozen network that turns texts into tokens, as many as each text has; they have no grid."""

    name: str
    model: nn.Module
    """The network itself, whose parameters `tokens` uses."""
    weights_hash: str
    num_prefix_tokens: int
    num_suffix_tokens: int
    """Tokens that the tokenizer adds at the end of each text; `seen` has them."""
    width: int
    depth: int
    num_heads: int
    num_parameters: int
    preprocessing: TextPreprocessing

    def encode(self, texts: Sequence[str], max_tokens: int | None = None) -> list[EncodedText]:
        """Numbers of the tokens of each text, at most ``max_tokens`` (all that the network takes by default)."""
        ...

    def batch(self, encoded: Sequence[EncodedText]) -> dict[str, Tensor]:
        """Input of `tokens`, padded to the longest: ``input_ids`` and ``attention_mask``, each ``(B, s)``."""
        ...

    def preprocess(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """``batch(encode(texts))``."""
        ...

    def seen(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Mask of a batch, bool ``(B, s)``: True for tokens that are of the text, and not padding."""
        ...

    def vocabulary(self) -> tuple[list[str], Tensor]:
        """All tokens that there are, as the tokenizer writes them, and their rows ``(V, width)`` of the embedding."""
        ...

    def spans(self, text: str, max_tokens: int | None = None) -> list[tuple[int, int]] | None:
        """Where each token stands in a text, first and last character plus one; None where that is not known."""
        ...

    def tokens(
        self,
        inputs: Mapping[str, Tensor],
        /,
        layers: Sequence[int] = (-1,),
        at: Literal["output", "block_input"] = "output",
    ) -> list[Tensor]:
        """One ``(B, s, d)`` tensor for each layer asked for, as `Backbone.tokens`; behind the mask may be anything."""
        ...

    def query_keys(self) -> list[QueryKey]:
        """One record for each attention layer, in order."""
        ...
