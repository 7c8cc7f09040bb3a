"""Dissections on disk: safetensors for modes and measurements, JSON for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..checks import as_list
from ..contracts import QueryKey
from ..errors import InputError
from ..files import claim_folder, read_json, write_json, write_tensors
from ..version import __version__
from .dissection import Dissection, Evidence
from .faithful import Faithful
from .formats import check_version
from .metrics import mode_cosines
from .modes import Modes, folded_weights
from .projections import check_fits
from .sinks import Served, Sinks
from .turning import Turn

__all__ = ["FORMAT_VERSION", "NUMBERS", "TENSORS", "kept_modes", "load", "save", "write"]

FORMAT_VERSION = 1
NUMBERS, TENSORS = "dissection.json", "dissection.safetensors"

_TABLES = ("weighted_cosine", "effective_rank", "symmetric_share", "weighted_chance", "weighted_band")
_DIRECTIONS = ("u", "v")


def save(found: Dissection, path: Path, records: Sequence[QueryKey] = (), **options: Any) -> None:
    """Write a dissection into a folder; one that is there is replaced. Options are those of `write`."""
    records = as_list("records", records, QueryKey, "records, as model.query_keys() gives them")
    if records and len(records) != len(found.modes):
        raise InputError(
            f"{len(records)} records are given, and the dissection has {len(found.modes)} layers; give "
            "model.query_keys() of the model that was dissected"
        )
    for each, record in zip(found.modes, records, strict=False):
        check_fits(each, record)
    claim_folder(path, "dissection", {}, overwrite=True)
    write(found, path, records=records, **options)


def write(
    found: Dissection,
    path: Path,
    modes: int | None = None,
    max_bytes: int | None = None,
    records: Sequence[QueryKey] = (),
) -> str:
    """Write a dissection into a folder that is ours.

    Parameters
    ----------
    found : Dissection
    path : Path
    modes : int, optional
        The leading modes of each attention head whose directions are written; all, or as many as fit, by default. The
        singular values and cosines of all of them always are.
    max_bytes : int, optional
        What directions and factors may take.
    records : sequence of QueryKey
        Those of the layers: the two factors of each query-key matrix are written in float32, where they fit.

    Returns
    -------
    left_out : str
        What was left out, as a sentence; empty where nothing was.
    """
    most, each_takes = _sizes(found)
    kept = kept_modes(found, modes, max_bytes)
    factors = sum(4 * (record.query.numel() + record.key.numel()) for record in records)
    holds = bool(records) and (max_bytes is None or factors <= max_bytes - kept * each_takes)
    said = []
    if kept < most:
        said.append(f"the directions of modes {kept} to {most - 1} of each attention head")
    if records and not holds:
        said.append("the factors of the query-key matrices")
    left_out = f"{TENSORS} leaves out {' and '.join(said)}: {_bound(modes, max_bytes)}" if said else ""
    tensors: dict[str, Tensor] = {name: getattr(found, name) for name in _TABLES}
    layers: list[dict[str, Any]] = []
    for i, each in enumerate(found.modes):
        at = f"layers.{i}"
        tensors[f"{at}.sigma"] = each.sigma
        tensors |= {f"{at}.{name}": getattr(each, name)[:, :kept] for name in _DIRECTIONS}
        if kept < each.sigma.shape[1]:
            tensors[f"{at}.cosines"] = mode_cosines(each)
        if holds:
            query, key = folded_weights(records[i], each.norm_folded, turn=each.turn)
            # grouped keys once
            tensors |= {f"{at}.query": query.float(), f"{at}.key": key[:: records[i].groups].float()}
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
    numbers = {"format_version": FORMAT_VERSION, "headwise_version": __version__, "left_out": left_out}
    write_json(path / NUMBERS, numbers | {"layers": layers, "dissection": found.to_dict()})
    return left_out


def kept_modes(found: Dissection, modes: int | None = None, max_bytes: int | None = None) -> int:
    """Leading modes of each attention head whose directions `write` keeps; at least one."""
    most, each_takes = _sizes(found)
    kept = most if modes is None else min(modes, most)
    return kept if max_bytes is None else max(1, min(kept, max_bytes // each_takes))


def _sizes(found: Dissection) -> tuple[int, int]:
    """Modes with directions, and bytes that those of one mode of all attention heads take."""
    takes = sum(2 * m.u.shape[0] * m.u.shape[2] * m.u.element_size() for m in found.modes)
    return max(m.u.shape[1] for m in found.modes), takes


def _bound(modes: int | None, max_bytes: int | None) -> str:
    said = [] if modes is None else [f"{modes} modes were asked for"]
    return ", ".join([*said, *([] if max_bytes is None else [f"they may take {max_bytes / 2**20:.0f} MiB"])])


def load(path: Path) -> Dissection:
    """Read what `save` has written."""
    numbers = read_json(path / NUMBERS)
    check_version(path, numbers, FORMAT_VERSION, "dissection; give a folder that Dissection.save has written")
    try:
        tensors: dict[str, Tensor] = load_file(path / TENSORS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path / TENSORS} cannot be read: {error}") from None
    try:
        return _assembled(numbers, tensors)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is damaged, or its files are of two dissections ({type(error).__name__}: {error}); save it again"
        ) from None


def _assembled(numbers: dict[str, Any], tensors: dict[str, Tensor]) -> Dissection:
    """The dissection that two files hold; raises what comes where they do not fit."""
    told, layers = numbers["dissection"], numbers["layers"]
    modes, evidence, differences = [], [], []
    for i, (layer, about) in enumerate(zip(layers, told["about"], strict=True)):
        own = {k.removeprefix(f"layers.{i}."): v for k, v in tensors.items() if k.startswith(f"layers.{i}.")}
        turn = Turn(own["turn.cos"], own["turn.sin"], layer["layout"]) if "layout" in layer else None
        directions = own["sigma"], own["u"], own["v"]
        sigma, u, v = directions  # of the directions there may be fewer
        if u.shape != v.shape or len(sigma) != len(u) or u.shape[1] > sigma.shape[1]:
            raise ValueError(f"the modes of layer {i} have shapes that do not fit")
        if not all(bool(part.isfinite().all()) for part in directions):
            raise ValueError(f"the modes of layer {i} are not finite")
        said = layer["norm_folded"], layer["leaves_out"], about
        modes.append(Modes(layer["layer"], *directions, *said, turn, own.get("cosines")))
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
