"""Dissections on disk: safetensors for modes and measurements, JSON for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError
from ..files import claim_folder, read_json, write_json, write_tensors
from ..version import __version__
from .dissection import Dissection, Evidence
from .faithful import Faithful
from .modes import Modes
from .sinks import Served, Sinks
from .turning import Turn

__all__ = ["FORMAT_VERSION", "NUMBERS", "TENSORS", "load", "save"]

FORMAT_VERSION = 1
NUMBERS, TENSORS = "dissection.json", "dissection.safetensors"

_TABLES = ("weighted_cosine", "effective_rank", "symmetric_share", "weighted_chance", "weighted_band")
_MODES = ("sigma", "u", "v")


def save(found: Dissection, path: Path) -> None:
    """Write a dissection into a folder; one that is there is replaced."""
    claim_folder(path, "dissection", {}, overwrite=True)
    tensors: dict[str, Tensor] = {name: getattr(found, name) for name in _TABLES}
    layers: list[dict[str, Any]] = []
    for i, each in enumerate(found.modes):
        at = f"layers.{i}"
        tensors |= {f"{at}.{name}": getattr(each, name) for name in _MODES}
        told: dict[str, Any] = {
            "layer": each.layer,
            "norm_folded": each.norm_folded,
            "leaves_out": each.leaves_out,
        }
        if each.turn is not None:
            tensors |= {f"{at}.turn.cos": each.turn.cos, f"{at}.turn.sin": each.turn.sin}
            told["layout"] = each.turn.layout
        if found.check is not None:
            tensors[f"{at}.difference"] = found.check.differences[i]
            told["outputs"] = found.check.outputs[i]
        if found.evidence is not None:
            tensors |= _packed(found.evidence[i], at)
            told["places"] = [list(places.items()) for places in found.evidence[i].sinks.places]
        layers.append(told)
    write_tensors(path / TENSORS, {name: value.contiguous().clone() for name, value in tensors.items()})
    numbers = {"format_version": FORMAT_VERSION, "headwise_version": __version__, "layers": layers}
    write_json(path / NUMBERS, numbers | {"dissection": found.to_dict()})


def load(path: Path) -> Dissection:
    """Read what `save` has written."""
    numbers = read_json(path / NUMBERS)
    version = numbers.get("format_version") if isinstance(numbers, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{path} holds no dissection; give a folder that Dissection.save has written")
    if version > FORMAT_VERSION:
        made_by = numbers["headwise_version"]
        raise InputError(f"{path} was written by headwise {made_by}, which is newer; upgrade this one")
    try:
        tensors: dict[str, Tensor] = load_file(path / TENSORS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path / TENSORS} cannot be read: {error}") from None
    told, layers = numbers["dissection"], numbers["layers"]
    modes, evidence, differences = [], [], []
    for i, (layer, about) in enumerate(zip(layers, told["about"], strict=True)):
        own = {k.removeprefix(f"layers.{i}."): v for k, v in tensors.items() if k.startswith(f"layers.{i}.")}
        turn = Turn(own["turn.cos"], own["turn.sin"], layer["layout"]) if "layout" in layer else None
        sigma, u, v = (own[name] for name in _MODES)
        modes.append(Modes(layer["layer"], sigma, u, v, layer["norm_folded"], layer["leaves_out"], about, turn))
        if "difference" in own:
            differences.append(own["difference"])
        if "places" in layer:
            evidence.append(_unpacked(own, layer["places"]))
    names = tuple(told["names"])
    check = None
    if told["check"] is not None:
        outputs = tuple(layer["outputs"] for layer in layers)
        check = Faithful(names, tuple(differences), tuple(told["check"]["left_out"]), outputs)
    return Dissection(
        modes,
        check=check,
        chance=told["chance"],
        names=names,
        evidence=evidence or None,
        **{name: tensors[name] for name in _TABLES},
    )


def _packed(evidence: Evidence, at: str) -> dict[str, Tensor]:
    tensors = {f"{at}.shares.{name}": value for name, value in evidence.shares.items()}
    for kind, served in evidence.sinks.served.items():
        tensors |= {f"{at}.served.{kind}.mass": served.mass, f"{at}.served.{kind}.modes": served.modes}
        tensors |= {f"{at}.served.{kind}.apart.{name}": value for name, value in served.apart.items()}
    return tensors | {f"{at}.high_norm": evidence.sinks.high_norm}


def _unpacked(own: dict[str, Tensor], places: list[list[list[float]]]) -> Evidence:
    def under(start: str) -> dict[str, Tensor]:
        return {name.removeprefix(start): value for name, value in own.items() if name.startswith(start)}

    kinds = dict.fromkeys(name.split(".")[0] for name in under("served."))
    served = {
        kind: Served(own[f"served.{kind}.mass"], own[f"served.{kind}.modes"], under(f"served.{kind}.apart."))
        for kind in kinds
    }
    at = tuple({int(place): float(share) for place, share in pairs} for pairs in places)
    return Evidence(under("shares."), Sinks(served, at, own["high_norm"]))
