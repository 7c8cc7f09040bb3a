"""How gates sort the tokens of the samples that are shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..heads import Atoms, Head
from ..heads.clusters import GateClusters, clusters
from ..tokens.rows import spread
from .pictures import placed
from .shown_samples import ShownSamples

__all__ = ["gate_facts"]

MOST_GATES = 6
GATE_SAMPLES = 4  # samples on which each gate is shown
LIGHT = 0.001  # share of the weight of all atoms below which a gate is not shown


def gate_facts(
    head: Head, shown: ShownSamples, found: Atoms, arrays: dict[str, NDArray[Any]]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Gates with their labels on some of the samples, and how many are not shown, by the reason."""
    tokens = shown.tokens
    prefix, total = tokens.num_prefix, sum(atom.weight for atom in found)
    active: dict[tuple[int, int, int | None], float] = {}
    for atom in found:
        if atom.gate is not None:
            place = (atom.part, atom.gate, atom.group)
            active[place] = active.get(place, 0.0) + atom.weight
    heavy = {place for place, weight in active.items() if weight >= LIGHT * total}
    sorting = [
        gate for gate in clusters(head, tokens, found) if (gate.part, gate.gate, gate.group) in heavy and _sorts(gate)
    ]
    told = []
    picked = spread(len(shown.names), GATE_SAMPLES)
    for number, gate in enumerate(sorting[:MOST_GATES]):
        labels = []
        same = bool((gate.query == gate.key).all())
        for i in picked:
            entry = {"sample": i, "query_key": f"gate/{number}/{i}/query", "key_key": None}
            arrays[f"gate/{number}/{i}/query"] = placed(gate.query[i, prefix:], tokens.grid, -1)
            if not same:
                entry["key_key"] = f"gate/{number}/{i}/key"
                arrays[f"gate/{number}/{i}/key"] = placed(gate.key[i, prefix:], tokens.grid, -1)
            labels.append(entry)
        sizes = np.bincount(gate.key[:, prefix:][gate.key[:, prefix:] >= 0])
        told.append(
            {
                "gate": gate.gate,
                "group": gate.group,
                "block": gate.block,
                "weight": gate.weight,
                "share": gate.weight / total,
                "kind": "token" if gate.table is None else "pair",
                "sizes": sizes.tolist(),
                "labels": labels,
            }
        )
    return told, {
        "without_clusters": len(heavy) - len(sorting),
        "light": len(active) - len(heavy),
        "more": len(sorting) - len(told),
    }


def _sorts(gate: GateClusters) -> bool:
    """Whether patch tokens share clusters: in a window gate every place is a cluster of its own."""
    read = gate.key[0] >= 0
    return int(read.sum()) > 1 and (gate.table is None or len(gate.table) < gate.key.shape[1] - (~read).sum())
