"""What excites each mode, for the explorer page: maps of the samples that were found, with pictures or texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..checks import takes_texts
from ..contracts import Progress
from ..dissect import Examples, Modes
from ..dissect.projections import layer_tokens
from ..dissect.texts import Lexicon, Vocabulary
from ..report.packing import ENOUGH, NOTHING, as_levels
from ..tokens.feeds import Feed, TextFeed, read_samples
from .pictures import as_seen

__all__ = ["Batches", "mode_evidence", "mode_words", "modes_that_fit"]

SIDE = 128  # pixels of the longer side of a picture
WINDOW = 48  # tokens of a text that are shown around both sides
AROUND = 24  # around one side
BEFORE = 8  # of these in front
PERCENTILES = (30, 95)  # of a map, as in Pan et al. 2024 (arXiv 2405.14880)
WORDS, WORDED = 8, 8  # along each direction, of so many leading modes
SIGN = np.array([1.0, -1.0], dtype=np.float32)


class Batches:
    """Samples as batches for the backbone, read when they are asked for; any number of times.

    Parameters
    ----------
    feed : Feed
    rows : sequence of int
    size : int
        Samples in a batch, before those that cannot be used are left out.
    strict : bool
        Stop at the first sample that cannot be used.

    Attributes
    ----------
    passed : list of int
        Row of each sample that went through, in order.
    skipped : list of (int, str)
        Rows that could not be used, and why.
    """

    def __init__(self, feed: Feed, rows: Sequence[int], size: int, strict: bool) -> None:
        self.feed, self._rows, self.size, self._strict = feed, list(rows), size, strict
        self.passed: list[int] = []
        self.skipped: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return -(-len(self._rows) // self.size)

    def __iter__(self) -> Iterator[Any]:
        self.passed, self.skipped = [], []
        for start in range(0, len(self._rows), self.size):
            read, bad = read_samples(self.feed, self._rows[start : start + self.size], self._strict)
            self.skipped += bad
            self.passed += [row for row, _ in read]
            if read:
                yield self._inputs([sample for _, sample in read])

    def of(self, numbers: Sequence[int]) -> Any:
        """A batch of samples by their numbers in the order of the pass."""
        return self._inputs([self.feed.read(self.passed[n]) for n in numbers])

    def _inputs(self, read: Sequence[Any]) -> Any:
        return (
            self.feed.backbone.batch(read) if isinstance(self.feed, TextFeed) else self.feed.backbone.preprocess(read)
        )


def modes_that_fit(examples: Sequence[Examples], orders: int, tokens: int, room: int) -> int:
    """Leading modes of each attention head whose evidence may find room on a page; what is beyond is not drawn."""
    each = 2 * tokens + 16
    slots = sum(2 * orders * e.scores.shape[1] * min(ENOUGH, e.scores.shape[4]) for e in examples)
    most = max(e.scores.shape[2] for e in examples)
    return max(1, min(most, room // max(1, slots * each)))


@torch.no_grad()
def mode_evidence(
    model: Any,
    batches: Batches,
    examples: Sequence[Examples],
    modes: Sequence[Modes],
    room: int,
    arrays: dict[str, NDArray[Any]],
    tell: Progress,
) -> dict[str, Any]:
    """Evidence as `headwise.report.render_explorer` takes it, with its arrays.

    Parameters
    ----------
    model : Backbone or TextBackbone
    batches : Batches
        Those in which the examples were found.
    examples, modes : sequence
        Of the same layers.
    room : int
        Bytes of the page.
    arrays : dict
        Gets pictures, and the examples of each layer.
    tell : Progress
    """
    texts = takes_texts(model)
    orders = [0, 1, 2] if texts else [0]  # texts show each side in its own context, images both
    tokens = WINDOW if texts else model.grid[0] * model.grid[1]
    kept = modes_that_fit(examples, len(orders), tokens, room)
    for each in examples:
        at = f"layer/{each.layer}"
        found = {name: getattr(each, name)[orders, :, :kept].numpy() for name in ("samples", "scores")}
        arrays |= {f"{at}/{name}": values for name, values in found.items()}
        arrays[f"{at}/starts"] = np.zeros(found["samples"].shape, dtype=np.int64)
        for side in ("queries", "keys"):
            arrays[f"{at}/{side}"] = np.full((*found["samples"].shape, tokens), NOTHING, dtype=np.uint8)
    used = sorted({int(n) for e in examples for n in np.unique(arrays[f"layer/{e.layer}/samples"]) if n >= 0})
    records = model.query_keys()
    for start in range(0, len(used), batches.size):
        numbers = used[start : start + batches.size]
        inputs = batches.of(numbers)
        if not texts:
            pictures = as_seen(inputs, model.preprocessing)
            arrays |= {f"sample/{n}": _small(picture) for n, picture in zip(numbers, pictures, strict=True)}
        entered = model.tokens(inputs, [each.layer for each in examples], at="block_input")
        own = _own(model, inputs) if texts else None
        for each, layer, values in zip(examples, modes, entered, strict=True):
            x = layer_tokens(values.to(torch.promote_types(values.dtype, torch.float32)), records[each.layer], layer)
            sides = [
                torch.einsum("bsd,hnd->bhns", x, side[:, :kept].to(x)).float().cpu().numpy()
                for side in (layer.u, layer.v)
            ]
            if own is None:
                _draw(arrays, each, numbers, [side[..., model.num_prefix_tokens :] for side in sides])
            else:
                _quote(arrays, each, numbers, sides, own)
        tell("draw what excites each mode", min(start + batches.size, len(used)), len(used))
    feed = batches.feed
    pieces = {str(n): _pieces(feed, batches.passed[n]) for n in used} if isinstance(feed, TextFeed) else {}
    return {
        "kind": "texts" if texts else "images",
        "layers": [each.layer for each in examples],
        "by": ["both", "query", "key"] if texts else ["both"],
        "modes": max(each.samples.shape[2] for each in examples),
        "examples": sum(int((each.samples[orders] >= 0).sum()) for each in examples),
        "names": {str(n): feed.samples.ids[batches.passed[n]] for n in used},
        "grid": None if texts else list(model.grid),
        "tokens": pieces,
    }


Slots = tuple[NDArray[Any], ...]


def _slots(arrays: dict[str, NDArray[Any]], layer: int, numbers: Sequence[int]) -> tuple[Slots, NDArray[Any]]:
    """Places (order, head, mode, sign, rank) whose sample is among these, and which of them it is."""
    samples = arrays[f"layer/{layer}/samples"]
    places = np.nonzero(np.isin(samples, numbers))
    return places, np.searchsorted(np.asarray(numbers), samples[places])


def _draw(
    arrays: dict[str, NDArray[Any]], each: Examples, numbers: Sequence[int], sides: Sequence[NDArray[Any]]
) -> None:
    """Maps of patch tokens ``(B, heads, modes, s)`` between their percentiles."""
    places, row = _slots(arrays, each.layer, numbers)
    if not len(row):
        return
    _, head, mode, sign, _ = places
    for name, side in zip(("queries", "keys"), sides, strict=True):
        values = SIGN[sign][:, None] * side[row, head, mode]
        low, high = np.percentile(values, PERCENTILES, axis=-1)
        arrays[f"layer/{each.layer}/{name}"][places] = as_levels(values, low, high)


def _quote(
    arrays: dict[str, NDArray[Any]],
    each: Examples,
    numbers: Sequence[int],
    sides: Sequence[NDArray[Any]],
    own: NDArray[np.bool_],
) -> None:
    """Tokens around what excites a side, from 0 to the strongest of the text; one side alone has a shorter context."""
    places, row = _slots(arrays, each.layer, numbers)
    if not len(row):
        return
    order, head, mode, sign, rank = places
    at = [found.numpy()[order, head, mode, sign, rank] for found in (each.query_places, each.key_places)]
    query, key = (np.where(place < 0, other, place) for place, other in zip(at, at[::-1], strict=True))
    first, last = np.minimum(query, key), np.maximum(query, key)
    alone = np.where(order == 2, key, query)
    apart = (order > 0) | (last - first >= WINDOW - BEFORE)  # what does not fit together shows what asks
    start = np.maximum(0, np.where(apart, alone, first) - BEFORE)
    length = np.where(order > 0, AROUND, WINDOW)
    inside = start[:, None] + np.arange(WINDOW)
    there = (np.arange(WINDOW) < length[:, None]) & (inside < own.shape[1])
    inside = np.minimum(inside, own.shape[1] - 1)
    arrays[f"layer/{each.layer}/starts"][places] = start
    real = np.cumsum(own[:, ::-1], axis=1)[:, ::-1] > 0  # up to the last token of the text
    there &= real[row[:, None], inside]
    for other, (name, side) in enumerate(zip(("queries", "keys"), sides, strict=True), 1):
        values = np.where(own[row], SIGN[sign][:, None] * side[row, head, mode], 0)
        levels = as_levels(np.take_along_axis(values, inside, 1), np.zeros(len(row)), values.max(1))
        shown = there & ((order == 0) | (order == other))[:, None]
        arrays[f"layer/{each.layer}/{name}"][places] = np.where(shown, levels, NOTHING)


def _own(model: Any, inputs: Any) -> NDArray[np.bool_]:
    """Which tokens are of a text itself, and not padding or added by the tokenizer, ``(B, s)``."""
    seen: Tensor = model.seen(inputs).cpu()
    from_end = seen.flip(1).cumsum(1).flip(1)
    own = (seen & (from_end > model.num_suffix_tokens)).numpy()
    own[:, : model.num_prefix_tokens] = False
    return own


def _pieces(feed: TextFeed, row: int) -> list[str]:
    """A text as the tokens that the model reads, each with the space in front of it; empty where one is not of it."""
    text: str = feed.samples.text(row)
    count = len(feed.read(row).ids)
    spans = feed.backbone.spans(text, feed.num_tokens)
    if spans is None:
        return [f" token {i}" for i in range(count)]
    pieces, at = [], 0
    for start, stop in spans[:count]:
        pieces.append(text[at:stop] if stop > max(at, start) else "")
        at = max(at, stop)
    return pieces


def _small(picture: NDArray[Any]) -> NDArray[Any]:
    height, width = picture.shape[:2]
    factor = min(1.0, SIDE / max(height, width))
    if factor == 1.0:
        return picture
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


@torch.no_grad()
def mode_words(
    model: Any, modes: Sequence[Modes], layers: int, tell: Progress
) -> list[list[list[dict[str, list[tuple[str, float]]]]] | None]:
    """Words along the leading modes of each attention head, as `headwise.report.render_explorer` takes them.

    Empty where the embedding has another width than the layers: then its rows are no directions of theirs.
    """
    lexicon = Lexicon(model)
    found: list[list[list[dict[str, list[tuple[str, float]]]]] | None] = [None] * layers
    if lexicon.width != modes[0].u.shape[-1]:
        return found
    for done, each in enumerate(modes, 1):
        heads, count = each.sigma.shape
        leading = range(min(WORDED, count))
        found[each.layer] = [[_worded(v) for v in lexicon.along(each, h, leading, WORDS)] for h in range(heads)]
        tell("look for words along each mode", done, len(modes))
    return found


def _worded(words: Vocabulary) -> dict[str, list[tuple[str, float]]]:
    return {
        f"{side}{sign}": [(token, round(cosine, 3)) for token, cosine in told]
        for side, signs in (("query", words.query), ("key", words.key))
        for sign, told in signs.items()
    }
