"""The clusters into which the gates of a head sort tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..contracts import GateValues, PairGate, Tokens
from .atoms import Atoms, atoms
from .head import Head

__all__ = ["GateClusters", "clusters"]


@dataclass(frozen=True)
class GateClusters:
    """Labels of all tokens under one gate.

    Attributes
    ----------
    part, gate, group : int, int, int or None
        Index of the part, of its gate and of its channel group; ``block`` is the part in words.
    weight : float
        Sum of the weights of the gate's atoms.
    query, key : ndarray of int, shape (n, s)
        Cluster of each token as one that asks and as one that answers, -1 where the part does not read the token
        (another part's, or hidden by the mask). Under a gate of single tokens both are the same: 1 where it is open
        and 0 where it is closed.
    table : ndarray, shape (query clusters, key clusters), or None
        How much a token of the first cluster sees of a token of the second; None for a gate of single tokens.
    """

    part: int
    gate: int
    group: int | None
    block: str
    weight: float
    query: NDArray[Any] = field(repr=False)
    key: NDArray[Any] = field(repr=False)
    table: NDArray[Any] | None = field(repr=False)


@torch.inference_mode()
def clusters(head: Head, tokens: Tokens, found: Atoms | None = None) -> list[GateClusters]:
    """Clusters under every gate that has atoms, the gate with the heaviest atoms first.

    Gates with a mask of their own for every pair of tokens or every feature ("gaussian" in attention, for example) sort
    nothing into clusters, and are left out.

    Parameters
    ----------
    head : Head
    tokens : Tokens
        Of `Head.batch`.
    found : Atoms, optional
        Those of `headwise.heads.atoms.atoms`, where they are known already.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from headwise.heads import HeadClassifier
    >>> rng = np.random.default_rng(0)
    >>> kinds, y = rng.integers(2, size=(60, 6)), np.arange(60) % 2
    >>> X = np.where(kinds[..., None] == 1, 1.0, -1.0) + 0.1 * rng.normal(size=(60, 6, 2))
    >>> X[..., 0] += 0.3 * kinds * (2 * y[:, None] - 1)
    >>> model = HeadClassifier("attention", beta=0.05, gate="cluster", num_gates=2, condition=False).fit(X, y)
    >>> gate = model.head_.clusters(torch.from_numpy(X))[0]
    >>> gate.table.shape, bool(np.all(gate.key == kinds) or np.all(gate.key != kinds))
    ((2, 2), True)
    """
    found = atoms(head) if found is None else found
    n, s = tokens.values.shape[:2]
    seen = np.ones((n, s), dtype=bool) if tokens.mask is None else tokens.mask.numpy(force=True)
    made = []
    for number, part in enumerate(head._parts()):
        weights: dict[int, float] = {}
        for atom in found:
            if atom.part == number:
                weights[atom.matrix] = weights.get(atom.matrix, 0.0) + atom.weight
        if not weights or all(cell.gates is None for cell in part.fitted.cells):
            continue
        start, stop = {"prefix": (0, tokens.num_prefix), "patch": (tokens.num_prefix, s), "all": (0, s)}[
            part.spec.tokens
        ]
        groups = {id(cell): group for group, cell in enumerate(part.fitted.cells)}
        for matrix, z in enumerate(part.fitted.matrices(tokens)):
            labels = _labels(z.gate)
            if matrix not in weights or z.index is None or labels is None:
                continue
            query, key = (np.full((n, s), -1) for _ in range(2))
            # prefix tokens are joined into one: each of them has its label
            query[:, start:stop], key[:, start:stop] = (x.numpy(force=True) for x in labels[:2])
            query[~seen], key[~seen] = -1, -1
            group = groups[id(z.cell)] if len(groups) > 1 else None
            table = None if labels[2] is None else labels[2].numpy(force=True)
            made.append(GateClusters(number, z.index, group, str(part.spec), weights[matrix], query, key, table))
    return sorted(made, key=lambda gate: -gate.weight)


def _labels(gate: GateValues | None) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """Labels of queries and keys and the table between them, if any; None where there are no clusters."""
    if isinstance(gate, PairGate):
        return gate.query, gate.key, gate.table
    if gate is not None and gate.ndim == 2:
        opened = (gate > 0).long()
        return opened, opened, None
    return None
