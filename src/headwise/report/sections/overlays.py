"""Top modes of attention heads projected on photographs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import fmt
from ..check import Arrays, Study, map_of, photo_of
from ..figures.overlay import cards, mode_card, photo_card

__all__ = ["view"]


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    dissection = study.get("dissection") or {}
    overlays = dissection.get("overlays") or []
    if not overlays:
        return None
    names = {p["key"]: str(p.get("name") or "") for p in dissection.get("photos") or []}
    photos: dict[str, list[Mapping[str, Any]]] = {}
    for overlay in overlays:
        photos.setdefault(overlay["photo_key"], []).append(overlay)
    groups = []
    for key, members in photos.items():
        photo = photo_of(arrays, key)
        drawn = [photo_card(photo, names.get(key) or "photograph")]
        drawn += [_card(o, photo, arrays) for o in members]
        groups.append(
            {"name": names.get(key, ""), "cards": cards(drawn, "modes"), "reading": _reading(members, arrays)}
        )
    return {"groups": groups}


def _maps(overlay: Mapping[str, Any], arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    return map_of(arrays, overlay["query_key"]), map_of(arrays, overlay["key_key"])


def _title(overlay: Mapping[str, Any]) -> str:
    return f"layer {overlay.get('layer')}, head {overlay.get('head')}, mode {overlay.get('mode')}"


def _card(overlay: Mapping[str, Any], photo: np.ndarray, arrays: Arrays) -> Any:
    caption = f"cosine {fmt.signed(overlay.get('cosine'))}"
    if fmt.finite(overlay.get("share")) is not None:
        caption += f", {fmt.percent(overlay['share'], 0)} of the logits"
    return mode_card(photo, *_maps(overlay, arrays), _title(overlay), caption)


def _reading(members: list[Mapping[str, Any]], arrays: Arrays) -> str:
    """Names the mode whose two maps agree most and the one where they agree least."""
    agreed = []
    for overlay in members:
        query, key = _maps(overlay, arrays)
        if query.shape == key.shape and query.std() > 0 and key.std() > 0:
            agreed.append((float(np.corrcoef(query.ravel(), key.ravel())[0, 1]), _title(overlay)))
    if len(agreed) < 2:
        return ""
    (high, same), (low, other) = max(agreed), min(agreed)
    return (
        f"Here {same} is the closest to grouping: where it asks is where it is answered (correlation of the two "
        f"maps {fmt.signed(high)}). "
        f"{other[0].upper()}{other[1:]} is the farthest from it (correlation {fmt.signed(low)}): what asks and "
        "what answers are " + ("different places." if low < 0.3 else "still much the same places.")
    )
