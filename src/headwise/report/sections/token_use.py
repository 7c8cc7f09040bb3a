"""Which tokens the head uses: mean map on the token grid, and examples; of texts, examples alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import fmt
from ..answer import used_head
from ..called import called
from ..check import Arrays, Study, map_of, photo_of
from ..figures.grid import grid_map
from ..figures.overlay import cards, example_card, quotation_card

__all__ = ["view"]


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    use = study.get("token_use")
    if not use:
        return None
    key = use.get("map_key")
    values = map_of(arrays, key) if key is not None else None
    grid, reading = None, called(study, _shares(use))
    if values is not None and values.size > 1:
        reading = f"{reading} {_spread(values)}".strip()
        grid = grid_map(
            values,
            f"Use of each patch token, a map of {values.shape[0]} x {values.shape[1]}. {reading}",
            "mean use of a patch token",
        )
    examples = [_example(e, arrays) for e in use.get("examples") or []]
    texts = [_quoted(t) for t in use.get("texts") or []]
    return {
        "grid": grid,
        "reading": reading,
        "bar": [{**part, "name": called(study, part["name"])} for part in _bar(use)],
        "examples": cards(examples, "wide") if examples else None,
        "texts": cards(texts, "texts") if texts else None,
        "note": " ".join(filter(None, [called(study, _whose(study, use)), str(use.get("note") or "")])),
    }


def _whose(study: Study, use: Mapping[str, Any]) -> str:
    """Says so where another head than the one to use is shown."""
    head, shown = used_head(study), use.get("head")
    if head is None or shown is None or head.get("name") == shown:
        return ""
    return f"“{head['name']}” reads only prefix tokens. Shown here is “{shown}”, the best head that reads patch tokens."


def _shares(use: Mapping[str, Any]) -> str:
    prefix, patch = fmt.finite(use.get("prefix_share")), fmt.finite(use.get("patch_share"))
    if prefix is None or patch is None:
        return ""
    if prefix == 0:
        return "The head reads only patch tokens."
    if patch == 0:
        return "The head reads only prefix tokens."
    return (
        f"{fmt.percent(prefix)} of what moves the head's outputs comes from prefix tokens, {fmt.percent(patch)} "
        "from patch tokens."
    )


def _bar(use: Mapping[str, Any]) -> list[dict[str, Any]]:
    shares = [
        (name, fmt.finite(use.get(key)))
        for name, key in (("prefix tokens", "prefix_share"), ("patch tokens", "patch_share"))
    ]
    if any(share is None or not 0 <= share <= 1 for _, share in shares):
        return []
    return [{"name": name, "share": share, "text": fmt.percent(share)} for name, share in shares]


def _spread(values: np.ndarray) -> str:
    weights = np.abs(values)
    if weights.sum() == 0:
        return "No patch token is used."
    weights = weights / weights.sum()
    row, column = np.unravel_index(int(weights.argmax()), weights.shape)
    half = int(np.searchsorted(np.cumsum(np.sort(weights, axis=None)[::-1]), 0.5)) + 1
    said = (
        f"Half of the patches' use lies on {half} of the {weights.size} patches. The strongest is in row "
        f"{row + 1}, column {column + 1} "
        f"(from the top left), with {fmt.percent(weights.max())}; spread evenly, each would have "
        f"{fmt.percent(1 / weights.size)}."
    )
    ring = np.ones(weights.shape, dtype=bool)
    ring[1:-1, 1:-1] = False
    if min(weights.shape) >= 4:
        said += (
            f" The outermost ring holds {fmt.percent(weights[ring].sum(), 0)} of the use and "
            f"{fmt.percent(ring.mean(), 0)} of the patches."
        )
    return said


def _example(example: Mapping[str, Any], arrays: Arrays) -> Any:
    return example_card(photo_of(arrays, example["image_key"]), map_of(arrays, example["map_key"]), *_verdict(example))


def _quoted(text: Mapping[str, Any]) -> Any:
    pieces = [(str(piece), fmt.finite(value)) for piece, value in text.get("pieces") or []]
    title, verdict = _verdict(text)
    others = fmt.finite(text.get("others"))
    added = f"; tokens that are not of the text add {fmt.signed(others, 3)}" if others else ""
    return quotation_card(pieces, title, f"{verdict} ({text.get('name')}){added}")


def _verdict(example: Mapping[str, Any]) -> tuple[str, str]:
    label, predicted = str(example.get("label")), str(example.get("predicted"))
    return f"“{label}”", "right" if label == predicted else f"wrong, taken for “{predicted}”"
