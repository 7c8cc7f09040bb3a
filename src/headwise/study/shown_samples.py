"""Some samples of the data, as tokens that fit a head, with their pictures or texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..contracts import Backbone, TextBackbone, Tokens
from ..heads import Head
from ..heads.content import array_source
from ..tokens import ArrayData, TextSamples, TokenStore, open_samples
from ..tokens.feeds import read_samples
from ..tokens.rows import spread
from ..tokens.table import no_labels
from .origin import backbone_of, check_store
from .pictures import as_seen
from .prediction import feed_of, none_left, tell_left_out
from .quotations import Span

__all__ = ["ShownSamples", "shown_samples"]


@dataclass(frozen=True)
class ShownSamples:
    """Names, tokens and, where there are any, the pictures that the backbone saw, or the texts with their spans."""

    names: list[str]
    tokens: Tokens
    pictures: list[NDArray[Any]] | None = None
    texts: list[tuple[str, list[Span]]] | None = None
    of_texts: bool = False


def shown_samples(
    head: Head,
    data: Any,
    count: int,
    backbone: str | Backbone | TextBackbone | None,
    layer: int | None,
    columns: tuple[str, str] | None,
    device: str,
    strict: bool,
    announce: Callable[[str], object] | None,
) -> ShownSamples:
    """Some samples of the data, as tokens that fit the head."""
    if isinstance(data, (np.ndarray, Tensor)):
        values: Any = data
        data = ArrayData(values, no_labels(len(values)), (), "arrays")
    found = open_samples(data, columns)
    rows = np.asarray(spread(len(found), count))
    if isinstance(found, TokenStore):
        check_store(head, found)
        tokens = found.read(rows)
        of_texts = found.manifest.source.get("cut") is not None
        return ShownSamples([found.ids[i] for i in rows], head.batch(tokens.values, tokens.mask), of_texts=of_texts)
    if isinstance(found, ArrayData):
        mask = None if found.mask is None else found.mask[rows]
        source = array_source(head.facts, replace(found, tokens=found.tokens[rows], mask=mask))
        head.check_source(source)
        _, tokens = next(iter(source.chunks(size=len(rows))))
        names = [found.ids[i] if found.ids else str(i) for i in rows]
        return ShownSamples(names, head.batch(tokens.values, tokens.mask))
    model, layer, at = backbone_of(head, backbone, layer, device)
    feed = feed_of(head, model, found)
    read, skipped = read_samples(feed, rows.tolist(), strict)
    if not read:
        raise none_left(feed, skipped)
    if announce:
        tell_left_out(feed, skipped, len(rows), announce)
    values, mask = feed.tokens(read, layer, at)
    names = [found.ids[i] for i, _ in read]
    batch = head.batch(values[:, 0], None if mask is None else mask[:, 0])
    if isinstance(found, TextSamples):
        spans = [model.spans(found.texts[i], head.facts.num_tokens) for i, _ in read]
        known = None if None in spans else [(found.texts[i], each) for (i, _), each in zip(read, spans, strict=True)]
        return ShownSamples(names, batch, texts=known, of_texts=True)
    return ShownSamples(names, batch, as_seen(model.preprocess([image for _, image in read]), model.preprocessing))
