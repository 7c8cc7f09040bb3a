"""The backbone, layer and place that a head belongs to; any other is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..backbones import load_backbone
from ..checks import check_backbone, takes_texts
from ..contracts import Backbone, TextBackbone
from ..errors import InputError
from ..heads import Head
from ..heads.origin import At, differences, place
from ..tokens import TokenStore

__all__ = ["backbone_of", "check_store"]


def backbone_of(
    head: Head, backbone: str | Backbone | TextBackbone | None = None, layer: int | None = None, device: str = "cpu"
) -> tuple[Any, int, At]:
    """The backbone, layer and place in the layer whose tokens a head takes.

    Parameters
    ----------
    head : Head
    backbone : str, Backbone, TextBackbone or None
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
    wanted, at, differs = place(origin, model, layer)
    if origin is None:
        text = takes_texts(model)  # which has as many tokens as it has
        count = head.facts.num_tokens if text else model.num_prefix_tokens + model.grid[0] * model.grid[1]
        head.check(count, model.width)
    elif differs:
        hint = _hint(origin) if backbone is None else f"leave the backbone out, or {_hint(origin)}"
        if wanted != origin["layer"]:
            hint = f"leave the layer out, or give layer {origin['layer']}"
        raise InputError(f"backbone {model.name} does not give the tokens of this head ({differs}); {hint}")
    return model, wanted, at


def check_store(head: Head, store: TokenStore) -> None:
    """Refuse tokens of another layout, backbone or layer; those from arrays are of an unknown one and are taken.

    Raises
    ------
    InputError
        Says what differs.
    """
    head.check_source(store)
    origin, found = head.facts.origin, store.manifest.origin
    if origin is None or found is None:
        return
    differs = differences(origin, found)
    if differs:
        raise InputError(
            f"{store.path} does not hold tokens of this head ({differs}); give the samples themselves, or tokens of "
            f"{origin['backbone']} at layer {origin['layer']}, {origin['at']}"
        )


def _load(origin: Mapping[str, Any] | None, backbone: str | Backbone | TextBackbone | None, device: str) -> Any:
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


def _hint(origin: Mapping[str, Any]) -> str:
    family, _, rest = str(origin["backbone"]).partition("/")
    if family == "timm" and "@" not in rest:
        return f"give the weights that the head was fitted on as backbone timm/{rest}@FILE.safetensors"
    return f"give the {origin['backbone']} backbone with weights {str(origin['weights_hash'])[:12]}"
