"""Where the tokens of a head came from: backbone, weights, layer, place in the layer, preprocessing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from ..contracts import Backbone, TextBackbone
from ..errors import InputError

__all__ = ["At", "differences", "place"]

At = Literal["output", "block_input"]


def place(
    origin: Mapping[str, Any] | None, backbone: Backbone | TextBackbone, layer: int | None = None
) -> tuple[int, At, str]:
    """Layer from 0 and place in it whose tokens a head takes, and what differs from its origin, in words.

    Without an origin these are the layer asked for (the last by default) and its output, and nothing differs.
    """
    if layer is not None and not -backbone.depth <= layer < backbone.depth:
        raise InputError(
            f"layer {layer} is asked for; {backbone.name} has layers 0 to {backbone.depth - 1}, or -1 for the last"
        )
    if origin is None:
        return (-1 if layer is None else layer) % backbone.depth, "output", ""
    told = {
        "backbone": backbone.name,
        "weights_hash": backbone.weights_hash,
        "layer": origin["layer"] if layer is None else layer % backbone.depth,
        "at": origin["at"],
        "preprocessing": json.loads(json.dumps(asdict(backbone.preprocessing))),
    }
    return told["layer"], told["at"], differences(origin, told)


def differences(origin: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """What differs, in words; empty where nothing does. The same weights may have several names."""
    said = []
    if told["weights_hash"] != origin["weights_hash"]:
        names = [f"{w['backbone']} with weights {str(w['weights_hash'])[:12]}" for w in (told, origin)]
        said.append(f"weights: {names[0]} here, {names[1]} in the head")
    for name in ("layer", "at", "preprocessing"):
        if told[name] != origin[name]:
            said.append(f"{name}: {told[name]} here, {origin[name]} in the head")
    return "; ".join(said)
