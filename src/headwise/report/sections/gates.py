"""The clusters into which the gates of a head sort the tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import fmt
from ..check import Arrays, Study, map_of, photo_of
from ..figures.overlay import cards, cluster_card

__all__ = ["view"]


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    gates, left_out = study.get("gates") or [], _left_out(study.get("gates_left_out") or {})
    if not gates and not left_out:
        return None
    return {"groups": [_group(gate, study, arrays) for gate in gates], "left_out": left_out}


def _group(gate: Mapping[str, Any], study: Study, arrays: Arrays) -> dict[str, Any]:
    drawn, samples = [], study.get("samples") or []
    for label in gate.get("labels") or []:
        sample = samples[label["sample"]]
        photo = photo_of(arrays, sample["image_key"]) if sample.get("image_key") else None
        query = map_of(arrays, label["query_key"]).astype(int)
        if gate["kind"] == "token":
            query = np.where(query > 0, 0, -1)  # coloured where open
        key = map_of(arrays, label["key_key"]).astype(int) if label.get("key_key") else None
        drawn.append(cluster_card(photo, query, key, str(sample["name"])))
    title = f"Gate {gate['gate']} of {gate['block']}"
    if gate.get("group") is not None:
        title += f", channel group {gate['group']}"
    paired = any(label.get("key_key") for label in gate.get("labels") or [])
    return {"title": title, "cards": cards(drawn, "samples"), "reading": _reading(gate, paired)}


def _reading(gate: Mapping[str, Any], paired: bool) -> str:
    said = f"Its atoms have {fmt.percent(gate.get('share'), 0)} of the weight of all atoms. "
    sizes = [int(n) for n in gate.get("sizes") or []]
    total = sum(sizes) or 1
    if gate["kind"] == "token":
        opened = sizes[1] if len(sizes) > 1 else 0
        return said + (
            f"It is open on the coloured tokens, {fmt.percent(opened / total, 0)} of those of all samples on this page."
        )
    filled = sum(n > 0 for n in sizes)
    if paired:
        return said + (
            "Left: clusters of the tokens as they ask. Right: as they answer. A token on the left sees the tokens of "
            "its colour on the right."
        )
    return said + (
        f"Tokens see the tokens of their own colour: {filled} clusters, the largest with "
        f"{fmt.percent(max(sizes, default=0) / total, 0)} of the tokens of the samples on this page."
    )


REASONS = {
    "without_clusters": "whose mask has no clusters (one of its own for every pair or feature, or a window)",
    "light": "whose atoms have less than 0.1\u202f% of the weight",
    "more": "with less weight than these",
}


def _left_out(counts: Mapping[str, int]) -> str:
    said = [f"{fmt.count(counts[key])} {why}" for key, why in REASONS.items() if counts.get(key)]
    return f"Not drawn: gates {'; '.join(said)}." if said else ""
