"""A dissection as rows of plain numbers."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..checks import check_whole
from ..errors import InputError
from .metrics import chance_band, mode_cosines, subspace_cosines, subspaces
from .sinks import KINDS, SINK, Served

if TYPE_CHECKING:
    from .dissection import Dissection, Evidence

__all__ = ["head_rows", "layer_rows", "lists", "mode_rows"]


def lists(values: Tensor) -> list[list[float | None]]:
    """A table for JSON, None for what is no number."""
    return [[v if isfinite(v) else None for v in row] for row in values.tolist()]


def head_rows(found: Dissection) -> list[dict[str, Any]]:
    """One row for each attention head; see `Dissection.heads`."""
    rows = []
    for layer, each in enumerate(found.modes):
        means = mode_cosines(each).mean(-1)
        for head in range(len(each.sigma)):
            row: dict[str, Any] = {
                "layer": layer,
                "head": head,
                "name": found.names[layer],
                "sigma": float(each.sigma[head, 0]),
                "weighted_cosine": float(found.weighted_cosine[layer, head]),
                "mean_cosine": float(means[head]),
                "chance": chance_band(each.u.shape[-1]),
                "weighted_chance": float(found.weighted_chance[layer, head]),
                "weighted_band": float(found.weighted_band[layer, head]),
                "effective_rank": float(found.effective_rank[layer, head]),
                "symmetric_share": float(found.symmetric_share[layer, head]),
            }
            if found.evidence is not None:
                row |= _evidence(found.evidence[layer], head)
            rows.append(row)
    return rows


def _evidence(evidence: Evidence, head: int) -> dict[str, Any]:
    sinks = evidence.sinks
    served = {kind: sinks.served[kind] for kind in KINDS if kind in sinks.served}
    masses = {kind: float(served[kind].mass[head]) if kind in served else 0.0 for kind in KINDS}
    serves = [kind for kind in KINDS if masses[kind] >= SINK]
    by, share = _leading(served, serves, masses, head)
    return {
        **{f"{name}_share": float(values[head]) for name, values in evidence.shares.items()},
        **{f"{kind}_mass": mass for kind, mass in masses.items()},
        "sink_places": list(sinks.places[head]),
        "serves": serves,
        "served_by": by,
        "served_share": share,
    }


def _leading(
    served: dict[str, Served], serves: list[str], masses: dict[str, float], head: int
) -> tuple[str | None, float | None]:
    if not serves:
        return None, None
    return served[max(serves, key=lambda kind: masses[kind])].leading(head)


def layer_rows(found: Dissection) -> list[dict[str, Any]]:
    """One row for each layer; see `Dissection.layers`."""
    heads = found.heads
    rows = []
    for layer, each in enumerate(found.modes):
        own = [row for row in heads if row["layer"] == layer]
        numbers = [name for name, value in own[0].items() if isinstance(value, float)]
        row: dict[str, Any] = {"layer": layer, "name": found.names[layer], "heads": len(own), "about": each.about}
        row |= {name: sum(r[name] for r in own) / len(own) for name in numbers if name != "served_share"}
        if found.evidence is not None:
            row["high_norm_tokens"] = float(found.evidence[layer].sinks.high_norm.double().sum(1).mean())
        rows.append(row)
    return rows


def mode_rows(found: Dissection, layer: int, head: int) -> list[dict[str, Any]]:
    """One row for each mode of an attention head; see `Dissection.modes_of`."""
    check_whole("layer", layer)
    check_whole("head", head)
    if layer >= len(found.modes):
        raise InputError(f"layers are 0 to {len(found.modes) - 1}, got {layer}")
    each = found.modes[layer]
    if head >= len(each.sigma):
        raise InputError(f"layer {layer} has attention heads 0 to {len(each.sigma) - 1}, got {head}")
    sigma, of = each.sigma[head].tolist(), subspaces(each)[head].tolist()
    cosines, together = mode_cosines(each)[head].tolist(), subspace_cosines(each)[head].tolist()
    total = sum(sigma) or 1.0
    served = {} if found.evidence is None else found.evidence[layer].sinks.served
    return [
        {
            "mode": n,
            "sigma": sigma[n],
            "share": sigma[n] / total,
            "cosine": cosines[n],
            "subspace": of[n],
            "dimension": of.count(of[n]),
            "subspace_cosine": together[n],
            **{f"{kind}_advantage": float(by.modes[head, n]) for kind, by in served.items()},
        }
        for n in range(len(sigma))
    ]
