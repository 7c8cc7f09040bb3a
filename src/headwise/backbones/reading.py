"""Finding the attention layers of a torch module, by their structure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..contracts import Norm, QueryKey
from ..errors import InputError
from . import READERS

__all__ = ["Place", "as_norm", "query_keys", "read_attention"]

HOW_TO = (
    "to teach it, register a reader with headwise.backbones.READERS (Add a backbone, in CONTRIBUTING.md): one file "
    "with a function from the module to its QueryKey record"
)

_CROSS = re.compile(r"cross|encoder_attn|encdec|enc_dec|multihead_attn$", re.IGNORECASE)
_LOOKS = re.compile(r"attention|attn", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """A module and where it stands in its model.

    Parameters
    ----------
    model : nn.Module
    path : str
        Of the module, "" for the model itself.
    """

    model: nn.Module
    path: str

    @property
    def module(self) -> Any:
        return self.model.get_submodule(self.path)

    @property
    def numbered(self) -> bool:
        """Whether the module is a part of a repeated layer (``layers.3...``), and not of a pooling head."""
        return any(part.isdigit() for part in self.path.split("."))

    def around(self) -> Iterator[tuple[str, Any]]:
        """Path and module of what the module is a part of, nearest first."""
        parts = self.path.split(".") if self.path else []
        for count in range(len(parts) - 1, -1, -1):
            path = ".".join(parts[:count])
            yield path, self.model.get_submodule(path)

    def layer(self) -> tuple[str, Any] | None:
        """The repeated layer around the module; without one, what it is directly a part of."""
        around = list(self.around())
        for path, module in around:
            if path.rpartition(".")[2].isdigit():
                return path, module
        return None if not around or self.numbered else around[0]

    def nearest(self, name: str) -> tuple[str, Any] | None:
        """Path and value of the attribute ``name`` of the nearest module around that has one which is not None."""
        for path, module in self.around():
            value = getattr(module, name, None)
            if value is not None:
                return path, value
        return None


def query_keys(model: nn.Module) -> list[QueryKey]:
    """One record for each self-attention layer of a module, in the order of its modules.

    Attention outside repeated layers (pooling heads) and cross-attention are left out.

    Raises
    ------
    InputError
        A layer that looks like attention and is not understood, by its path and type; or a model without attention.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, batch_first=True)
    >>> [record.name for record in query_keys(torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))]
    ['layers.0.self_attn', 'layers.1.self_attn']
    """
    records: dict[str, QueryKey] = {}
    looks: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        if _inside(path, records) or _CROSS.search(path):
            continue
        record = read_attention(Place(model, path))
        if record is not None:
            records[path] = record
        elif _LOOKS.search(type(module).__name__) and _has_weights(module):
            looks[path] = module
    if any(Place(model, path).numbered for path in (*records, *looks)):
        records = {path: record for path, record in records.items() if Place(model, path).numbered}
        looks = {path: module for path, module in looks.items() if Place(model, path).numbered}
    for path, module in looks.items():
        if not any(_inside(name, [path]) for name in records):  # a frame around attention is not attention
            parts = ", ".join(name for name, _ in module.named_children())
            raise InputError(
                f"{path} is a {type(module).__name__} with {parts or 'no parts'}, attention of a kind that is not "
                f"understood; {HOW_TO}"
            )
    if not records:
        raise InputError(f"{type(model).__name__} has no attention layer that is understood; {HOW_TO}")
    return [replace(record, layer=layer) for layer, record in enumerate(records.values())]


def read_attention(place: Place, layer: int = 0) -> QueryKey | None:
    """The record of a module, as layer number ``layer``, from the first reader that knows it; None where none does."""
    found = (READERS.get(name)(place) for name in READERS.names())
    record = next((record for record in found if record is not None), None)
    if record is None:
        return None
    for weight in (record.query, record.key):
        if not weight.is_floating_point():
            raise InputError(
                f"{place.path} has weights of {weight.dtype}: quantised models are not read; load the model in float32 "
                "or bfloat16"
            )
    return replace(record, layer=layer)


def as_norm(module: Any, name: str) -> Norm | None:
    """Record of a normalisation module; identity is None.

    Raises
    ------
    InputError
        A kind of norm that is not understood.
    """
    if module is None or isinstance(module, nn.Identity):
        return None
    kind = type(module).__name__
    weight: Tensor | None = getattr(module, "weight", None)
    bias: Tensor | None = getattr(module, "bias", None)
    if isinstance(module, nn.LayerNorm):
        return Norm("layer", weight, bias, module.eps)
    eps = getattr(module, "eps", getattr(module, "variance_epsilon", None))
    if isinstance(module, nn.RMSNorm) and eps is None:
        eps = torch.finfo(torch.float32 if weight is None else weight.dtype).eps
    if "rms" in kind.lower() and hasattr(module, "weight") and eps is not None:
        return Norm("rms", weight, bias, float(eps))
    raise InputError(f"{name} is a {kind}; a LayerNorm, an RMSNorm or an identity was expected")


def _inside(path: str, places: Any) -> bool:
    return any(place != path and (not place or path.startswith(f"{place}.")) for place in places)


def _has_weights(module: nn.Module) -> bool:
    """Whether it projects tokens itself, and is not only a frame around modules that do."""
    own = (p for part in (module, *module.children()) for p in part.parameters(recurse=False))
    return any(p.ndim == 2 for p in own)
