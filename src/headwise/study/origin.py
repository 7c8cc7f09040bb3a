"""The backbone, layer and place that a head belongs to; any other is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from ..backbones import load_backbone
from ..checks import check_backbone
from ..contracts import Backbone
from ..errors import InputError
from ..heads import Head
from ..tokens import TokenStore

__all__ = ["backbone_of", "check_store"]

At = Literal["output", "block_input"]


def backbone_of(
    head: Head, backbone: str | Backbone | None = None, layer: int | None = None, device: str = "cpu"
) -> tuple[Backbone, int, At]:
    """The backbone, layer and place in the layer whose tokens a head takes.

    Parameters
    ----------
    head : Head
    backbone : str, Backbone or None
        The head's own by default; another one must have the same weights. Needed where the head does not know its own.
    layer : int or None
        The head's own by default, negative from the end; the last one where the head does not know its own.
    device : str
        Where the backbone runs.

    Raises
    ------
    InputError
        The backbone is not known, cannot be loaded, or does not give the tokens that the head was fitted on.
    """
    origin = head.facts.origin
    model = _load(origin, backbone, device)
    if layer is not None and not -model.depth <= layer < model.depth:
        raise InputError(
            f"layer {layer} is asked for; {model.name} has layers 0 to {model.depth - 1}, or -1 for the last"
        )
    if origin is None:
        head.check(model.num_prefix_tokens + model.grid[0] * model.grid[1], model.width)
        return model, (-1 if layer is None else layer) % model.depth, "output"
    wanted = origin["layer"] if layer is None else layer % model.depth
    told = {
        "backbone": model.name,
        "weights_hash": model.weights_hash,
        "layer": wanted,
        "at": origin["at"],
        "preprocessing": json.loads(json.dumps(asdict(model.preprocessing))),
    }
    differs = _differences(origin, told)
    if differs:
        hint = _hint(origin) if backbone is None else f"leave the backbone out, or {_hint(origin)}"
        if wanted != origin["layer"]:
            hint = f"leave the layer out, or give layer {origin['layer']}"
        raise InputError(f"backbone {model.name} does not give the tokens of this head ({differs}); {hint}")
    return model, wanted, origin["at"]


def check_store(head: Head, store: TokenStore) -> None:
    """Refuse tokens of another backbone or layer; tokens from arrays are of an unknown one and are taken.

    Raises
    ------
    InputError
        Says what differs.
    """
    origin, found = head.facts.origin, store.manifest.origin
    if origin is None or found is None:
        return
    differs = _differences(origin, found)
    if differs:
        raise InputError(
            f"{store.path} does not hold tokens of this head ({differs}); give the images themselves, or tokens of "
            f"{origin['backbone']} at layer {origin['layer']}, {origin['at']}"
        )


def _load(origin: Mapping[str, Any] | None, backbone: str | Backbone | None, device: str) -> Backbone:
    if backbone is not None:
        model = load_backbone(backbone, device) if isinstance(backbone, str) else backbone
        check_backbone(model, "tokens")
        return model
    if origin is None:
        raise InputError(
            "the head does not say which backbone made its tokens (they came from arrays, or it was saved by an older "
            "headwise); give the backbone by its name (--backbone NAME on the command line), and the layer where it is "
            "not the last"
        )
    try:
        return load_backbone(origin["backbone"], device)
    except InputError as error:
        raise InputError(f"the head's own backbone cannot be loaded: {error}. Or {_hint(origin)}") from None


def _differences(origin: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """What differs, in words; empty where nothing does. The same weights may have several names."""
    said = []
    if told["weights_hash"] != origin["weights_hash"]:
        names = [f"{w['backbone']} with weights {str(w['weights_hash'])[:12]}" for w in (told, origin)]
        said.append(f"weights: {names[0]} here, {names[1]} in the head")
    for name in ("layer", "at", "preprocessing"):
        if told[name] != origin[name]:
            said.append(f"{name}: {told[name]} here, {origin[name]} in the head")
    return "; ".join(said)


def _hint(origin: Mapping[str, Any]) -> str:
    family, _, rest = str(origin["backbone"]).partition("/")
    if family == "timm" and "@" not in rest:
        return f"give the weights that the head was fitted on as backbone timm/{rest}@FILE.safetensors"
    return f"give the {origin['backbone']} backbone with weights {str(origin['weights_hash'])[:12]}"
