"""What goes through a backbone, images or texts, and the tokens that come out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_whole, takes_texts
from ..contracts import Backbone, EncodedText, TextBackbone
from ..errors import InputError
from .augmentation import Augmentation
from .samples import ImageSamples, TextSamples, UnreadableImage, UnreadableSample, UnreadableText

__all__ = ["Feed", "ImageFeed", "TextFeed", "check_fits", "read_samples"]

_AT_ONCE = 1000  # texts that are made tokens in one call


class Feed(Protocol):
    """Samples on their way through a backbone."""

    one: str
    many: str
    """What a sample is, and several of them."""
    samples: Any
    backbone: Any
    num_tokens: int
    """Of a sample, with padding."""
    num_views: int
    masked: bool
    """Whether there is a mask."""
    unreadable: type[UnreadableSample]
    """What `read` raises."""

    def facts(self) -> dict[str, Any]:
        """Fields of the manifest that are about this kind of samples."""
        ...

    def told(self) -> dict[str, Any]:
        """What the manifest says of the source beside what holds for all samples."""
        ...

    def sentence(self) -> str:
        """What is to be said of the samples before the work, behind a full stop; empty where nothing is."""
        ...

    def read(self, index: int) -> Any:
        """One sample; raises ``unreadable`` where it cannot be used."""
        ...

    def tokens(
        self, read: Sequence[tuple[int, Any]], layer: int, at: Any, device: torch.device | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens ``(m, views, s, d)`` of samples that were read, each with its number, and their mask if any.

        Inputs are moved to ``device``, where one is given; tokens are on the processor.
        """
        ...


def check_fits(backbone: Any, samples: ImageSamples | TextSamples, max_tokens: int | None = None) -> None:
    """Refuse images for a backbone that takes texts, the other way round, and ``max_tokens`` that do not suit either.

    Nothing of the samples is read.
    """
    check_whole("max_tokens", max_tokens, least=1, or_none=True)
    name = getattr(backbone, "name", type(backbone).__name__)
    if not hasattr(backbone, "preprocess"):
        raise InputError(
            f"{name} makes no tokens of images or texts: it is a module alone, or a text model whose folder holds no "
            "tokenizer. Give a backbone of headwise.load_backbone(NAME), with a tokenizer beside the weights for texts"
        )
    if isinstance(samples, TextSamples) and not takes_texts(backbone):
        raise InputError(
            f"the data are texts, and {name} takes images; give a text model of Hugging Face: hf/FOLDER or "
            "hf/USER/NAME, with its tokenizer"
        )
    if isinstance(samples, ImageSamples) and takes_texts(backbone):
        raise InputError(f"the data are images, and {name} takes texts; give a backbone of images, such as embedded")
    if isinstance(samples, ImageSamples) and max_tokens is not None:
        raise InputError("max_tokens is asked for, but the data are images, which all have as many; leave it out")
    if isinstance(samples, TextSamples):
        backbone.encode([], max_tokens)  # refuses too few


def read_samples(feed: Feed, rows: Iterable[int], strict: bool) -> tuple[list[tuple[int, Any]], list[tuple[int, str]]]:
    """Rows that can be used, each with what was read, and the others with reasons; where ``strict`` it raises."""
    read: list[tuple[int, Any]] = []
    skipped: list[tuple[int, str]] = []
    for i in rows:
        try:
            read.append((i, feed.read(i)))
        except UnreadableSample as error:
            if strict:
                raise
            skipped.append((i, error.reason))
    return read, skipped


class ImageFeed:
    """Images through a backbone, each in some views."""

    one, many, masked = "image", "images", False
    unreadable: type[UnreadableSample] = UnreadableImage

    def __init__(
        self, backbone: Backbone, samples: ImageSamples, views: int, view_seed: int, augmentation: Augmentation
    ) -> None:
        self.backbone, self.samples = backbone, samples
        self.num_views, self._seed, self._augmentation = views, view_seed, augmentation
        self.num_tokens = backbone.num_prefix_tokens + backbone.grid[0] * backbone.grid[1]

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = {"grid": tuple(self.backbone.grid)}
        if self.num_views > 1:
            found |= {"augmentation": dataclasses.asdict(self._augmentation), "seed": self._seed}
        return found

    def told(self) -> dict[str, Any]:
        return {}

    def sentence(self) -> str:
        return ""

    def read(self, index: int) -> Image.Image:
        return self.samples.image(index)

    def tokens(
        self, read: Sequence[tuple[int, Image.Image]], layer: int, at: Any, device: torch.device | None = None
    ) -> tuple[Tensor, Tensor | None]:
        copies, shape = [], (len(read), self.num_tokens, self.backbone.width)
        for view in range(self.num_views):
            images = [self._augmentation(image, self._seed, i, view) for i, image in read]
            with torch.inference_mode():
                batch = self.backbone.preprocess(images)
                batch = batch if device is None else batch.to(device)
                tokens = self.backbone.tokens(batch, layers=[layer], at=at)[0]
            if tuple(tokens.shape) != shape:
                raise InputError(
                    f"{self.backbone.name} gives tokens of shape {tuple(tokens.shape)} at layer {layer}; "
                    f"{shape} is expected from its grid {self.backbone.grid}, prefix tokens and width. Take another "
                    "layer"
                )
            copies.append(tokens.cpu())
        return torch.stack(copies, dim=1), None


class TextFeed:
    """Texts through a backbone, padded to the longest of them; all are made numbers of tokens at the start.

    Parameters
    ----------
    backbone : TextBackbone
    samples : TextSamples
    max_tokens : int or None
        Longer texts are cut; by default as many as the backbone takes.
    padded : bool
        Pad to ``max_tokens``, and not to the longest text.

    Raises
    ------
    InputError
        No text has a token.
    """

    one, many, masked, num_views = "text", "texts", True, 1
    unreadable: type[UnreadableSample] = UnreadableText

    def __init__(
        self, backbone: TextBackbone, samples: TextSamples, max_tokens: int | None = None, padded: bool = False
    ) -> None:
        self.backbone, self.samples = backbone, samples
        usable = [i for i in range(len(samples)) if i not in samples.faults]
        self._encoded: dict[int, EncodedText] = {}
        for start in range(0, len(usable), _AT_ONCE):
            some = usable[start : start + _AT_ONCE]
            found = backbone.encode([samples.texts[i] for i in some], max_tokens)
            self._encoded.update(zip(some, found, strict=True))
        lengths = [len(text.ids) for text in self._encoded.values() if len(text.ids)]
        if not lengths:
            raise InputError(f"no text of {samples.description} has a token of {backbone.name}")
        self.num_tokens = max_tokens if padded and max_tokens is not None else max(lengths)
        self._median = int(np.median(lengths))
        self.cut = sum(text.whole > len(text.ids) > 0 for text in self._encoded.values())

    def facts(self) -> dict[str, Any]:
        return {"grid": None}

    def told(self) -> dict[str, Any]:
        return {"cut": self.cut}

    def sentence(self) -> str:
        said = f". Half of the texts have at most {self._median} tokens, and all are padded to {self.num_tokens}"
        return f"{said}; {self.cut} were longer and are cut" if self.cut else said

    def read(self, index: int) -> EncodedText:
        self.samples.text(index)
        encoded = self._encoded[index]
        if not len(encoded.ids):
            raise UnreadableText(self.samples.ids[index], "no token")
        return encoded

    def tokens(
        self, read: Sequence[tuple[int, EncodedText]], layer: int, at: Any, device: torch.device | None = None
    ) -> tuple[Tensor, Tensor | None]:
        inputs = self.backbone.batch([text for _, text in read])
        if device is not None:
            inputs = {name: value.to(device) for name, value in inputs.items()}
        with torch.inference_mode():
            tokens = self.backbone.tokens(inputs, layers=[layer], at=at)[0].cpu()
            seen = self.backbone.seen(inputs).cpu()
        if tuple(tokens.shape) != (*seen.shape, self.backbone.width):
            raise InputError(
                f"{self.backbone.name} gives tokens of shape {tuple(tokens.shape)} at layer {layer}; "
                f"{(*seen.shape, self.backbone.width)} is expected. Take another layer"
            )
        more = self.num_tokens - seen.shape[1]
        # behind the mask may be anything; zero is what stores hold there
        values = F.pad(torch.where(seen[..., None], tokens, 0), (0, 0, 0, more))
        return values[:, None], F.pad(seen, (0, more))[:, None]
