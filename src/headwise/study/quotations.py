"""Texts for the report: what each token of some of them says to a head, and the backbone's attention heads on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contracts import Progress, TextBackbone
from ..dissect import dissect
from ..heads.compare import HeadResult, Splits
from ..heads.explain import token_use
from ..tokens import TextSamples, TokenStore
from .pictures import dissection_facts, shown_head, use_facts

__all__ = ["Span", "dissection_texts", "quoted", "token_use_texts"]

MOST_EXAMPLES = 12  # one a class
MOST_WRONG = 4
MOST_TOKENS = 120  # of a text that is shown
CHECKED = (4, 64)  # texts on which the dissection is checked, and tokens of each: it runs in float64

Span = tuple[int, int]
Piece = tuple[str, float | None]


def token_use_texts(
    model: TextBackbone,
    used: HeadResult,
    certified: list[HeadResult],
    store: TokenStore,
    splits: Splits,
    samples: TextSamples,
    names: list[str],
) -> dict[str, Any] | None:
    """As `pictures.token_use_pictures`, with texts: the first of each class, then those that are most wrong."""
    shown = shown_head(used, certified)
    if shown is None or shown.head is None:
        return None
    rows, targets = splits.rows["test"][:500], splits.targets["test"][:500]
    use = token_use(shown.head, store, rows)
    right = shown.probabilities[np.arange(len(rows)), targets]
    wrong = [int(i) for i in np.argsort(right, kind="stable") if use.predicted[i] != targets[i]]
    firsts = [int(np.flatnonzero(targets == k)[0]) for k in range(splits.num_classes) if (targets == k).any()]
    picked = list(dict.fromkeys([*firsts[:MOST_EXAMPLES], *wrong[:MOST_WRONG]]))
    where = {name: i for i, name in enumerate(samples.ids)}
    texts = []
    for position in picked:
        name = store.ids[int(rows[position])]
        text = samples.texts[where[name]]
        spans = model.spans(text, store.num_tokens)
        if spans is None:  # this tokenizer does not say where its tokens stand
            continue
        pieces, others = quoted(text, spans, use.samples[position])
        texts.append(
            {
                "name": name,
                "label": names[int(targets[position])],
                "predicted": names[int(use.predicted[position])],
                "pieces": pieces,
                "others": others,
            }
        )
    return {**use_facts(shown, use, store.num_prefix), "texts": texts}


def quoted(text: str, spans: Sequence[Span], values: NDArray[Any]) -> tuple[list[Piece], float]:
    """A text in pieces, each with the number of its token or None between tokens; and the sum of all other numbers.

    Parameters
    ----------
    text : str
    spans : sequence of (int, int)
        First character of each token, and last plus one; equal where a token is not of the text.
    values : ndarray, shape (s,)
        A number for each token; there may be more than spans (padding).

    Returns
    -------
    pieces : list of (str, float or None)
        The first 120 tokens, and "…" where there are more.
    others : float
        Sum over tokens that the tokenizer adds.

    Examples
    --------
    >>> quoted("win now!", [(0, 0), (0, 3), (4, 7), (7, 8), (0, 0)], np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    ([('win', 2.0), (' ', None), ('now', 3.0), ('!', 4.0)], 6.0)
    """
    pieces: list[Piece] = []
    others, at, shown = 0.0, 0, 0
    for (start, stop), number in zip(spans, values[: len(spans)].tolist(), strict=True):
        if stop <= start:
            others += number
            continue
        shown += 1
        if shown > MOST_TOKENS:
            continue
        if stop <= at and pieces:  # tokens of parts of one character
            before, value = pieces[-1]
            pieces[-1] = (before, (value or 0.0) + number)
            continue
        if start > at:
            pieces.append((text[at:start], None))
        pieces.append((text[max(start, at) : stop], number))
        at = stop
    if shown > MOST_TOKENS:
        pieces.append((" …", None))
    elif at < len(text):
        pieces.append((text[at:], None))
    return pieces, others


def dissection_texts(
    model: TextBackbone, store: TokenStore, splits: Splits, samples: TextSamples, tell: Progress
) -> dict[str, Any]:
    """Numbers of the dissection, checked on a few of the test texts; overlays are of pictures, and there are none."""
    tell("dissect the backbone", 0, 1)
    count, most = CHECKED
    texts = dict(zip(samples.ids, samples.texts, strict=True))
    some = [texts[store.ids[int(row)]] for row in splits.rows["test"][:count]]
    found = dissection_facts(dissect(model, model.batch(model.encode(some, most))))
    found["check"]["what"] = (
        "The logits rebuilt from the modes were compared with those that the backbone computes on "
        f"{len(some)} of the test texts (their first {most} tokens)."
    )
    tell("dissect the backbone", 1, 1)
    return {**found, "overlays": [], "photos": []}
