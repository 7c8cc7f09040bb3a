"""The backbone's own attention as gates, for the tokens of a store."""

from __future__ import annotations

from ..backbones import load_backbone
from ..errors import InputError
from ..gates.attention_maps import AttentionMaps
from ..tokens import TokenStore

__all__ = ["attention_gates"]


def attention_gates(store: TokenStore) -> tuple[AttentionMaps, str]:
    """Gates of the attention layer that reads a store's tokens, and a sentence that says which maps these are.

    Only tokens at the input of a layer are what its attention reads; for all others the maps are those of the tokens'
    likeness.

    Raises
    ------
    InputError
        The backbone cannot be loaded, has other weights than the one that made the tokens, or an attention that gates
        do not describe.
    """
    origin = store.manifest.origin
    if origin is None or origin["at"] != "block_input":
        came = "from arrays" if origin is None else f"from the {origin['at']} of a layer"
        return AttentionMaps(), (
            f"the attention maps are the likeness of the tokens, since these come {came}; for maps of the backbone, "
            "extract with --at block_input"
        )
    name, layer = origin["backbone"], origin["layer"]
    hint = "give a gate that needs no backbone (rank_one, cluster, gaussian, window)"
    try:
        model = load_backbone(name)
    except InputError as error:
        raise InputError(f"the backbone of these tokens cannot be loaded: {error}. Or {hint}") from None
    if model.weights_hash != origin["weights_hash"]:
        raise InputError(
            f"backbone {name} has the weights {model.weights_hash[:12]}, and {str(origin['weights_hash'])[:12]} made "
            f"these tokens; extract them again, or {hint}"
        )
    record = next(record for record in model.query_keys() if record.layer == layer)
    return AttentionMaps(record), f"the attention maps are those of {record.name} of {name}, for each attention head"
