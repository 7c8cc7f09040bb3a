"""Sentences of the explorer page: what was compared, what is shown, what was left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..dissect import Examples
from ..tokens.feeds import Feed, TextFeed
from ..tokens.samples import skipped_samples
from .explored_samples import CHECKED_TOKENS
from .mode_evidence import Batches

__all__ = ["compared_words", "left_out_words", "what_words"]


def compared_words(feed: Feed, count: int) -> str:
    kind, first = ("texts", f" (at most their first {CHECKED_TOKENS} tokens)") if feed.masked else ("images", "")
    return (
        "The logits rebuilt from the modes were compared with those that the model computes on "
        f"{min(count, len(feed.samples)):,} of the {kind}{first}."
    )


def what_words(feed: Feed, searched: Sequence[Examples]) -> str:
    seen, left_out = searched[0].num_samples, sum(each.left_out for each in searched)
    high = f" {left_out:,} tokens of high norm (over all layers) did not count." if left_out else ""
    if isinstance(feed, TextFeed):
        return (
            f"Of {seen:,} texts, those that excite the mode most. The upper half of a token is coloured by its "
            "projection on the query side, the lower half by that on the key side, each from nothing to the strongest "
            f"of its text.{high}"
        )
    return (
        f"Of {seen:,} images, those in which both sides of the mode are excited most (the product of their largest "
        f"projections), and where. Maps are clipped at their 30th and 95th percentile.{high}"
    )


def left_out_words(batches: Batches, say: Callable[[str], object]) -> list[str]:
    """What was not used as it is, as sentences, which are said too."""
    notes, feed = [], batches.feed
    samples = feed.samples
    if batches.skipped:
        names = [(samples.ids[i], why) for i, why in batches.skipped]
        notes.append(skipped_samples(names, samples, len(batches.skipped) + len(batches.passed)))
    if isinstance(feed, TextFeed) and feed.cut:
        notes.append(
            f"{feed.cut} of {len(samples)} texts have more than {feed.num_tokens} tokens; what is beyond was cut"
        )
    for note in notes:
        say(note)
    return [f"{note[0].upper()}{note[1:]}." for note in notes]
