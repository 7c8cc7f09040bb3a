"""The images or texts that a model is explored with: opened, spread, a batch of them for the check."""

from __future__ import annotations

from typing import Any

from ..checks import takes_texts
from ..errors import InputError
from ..tokens import Augmentation, ImageSamples, TextSamples, open_samples, read_photographs
from ..tokens.feeds import Feed, ImageFeed, TextFeed, check_fits, read_samples
from ..tokens.rows import spread
from .prediction import none_left

__all__ = ["CHECKED_TOKENS", "batch_to_check", "feed_for", "samples_for"]

CHECKED_TOKENS = 64  # of each text of the check, which runs in float64


def samples_for(model: Any, data: Any, columns: tuple[str, str] | None) -> ImageSamples | TextSamples | None:
    """What to look at: the data, the photographs of the package, or nothing for a model of texts without data."""
    if data is None:
        return read_photographs() if hasattr(model, "preprocess") and not takes_texts(model) else None
    found = open_samples(data, columns)
    if not isinstance(found, (ImageSamples, TextSamples)):
        raise InputError(f"{data} holds tokens; give images or texts, which {model.name} makes tokens of")
    return found


def feed_for(model: Any, samples: ImageSamples | TextSamples, max_tokens: int | None) -> Feed:
    """The samples on their way into the model; images as they are, without views."""
    check_fits(model, samples, max_tokens)
    if isinstance(samples, TextSamples):
        return TextFeed(model, samples, max_tokens)
    return ImageFeed(model, samples, 1, 0, Augmentation())


def batch_to_check(feed: Feed, count: int, strict: bool) -> Any:
    """Some of the samples as the model takes them; texts are cut short."""
    read, skipped = read_samples(feed, spread(len(feed.samples), count), strict)
    if not read:
        raise none_left(feed, skipped)
    if isinstance(feed, TextFeed):
        texts = [feed.samples.text(row) for row, _ in read]
        return feed.backbone.batch(feed.backbone.encode(texts, min(CHECKED_TOKENS, feed.num_tokens)))
    return feed.backbone.preprocess([image for _, image in read])
