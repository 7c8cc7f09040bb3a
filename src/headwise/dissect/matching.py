"""Two attention heads beside each other, mode by mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.linalg import subspace_angles
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .metrics import subspaces
from .modes import Modes

__all__ = ["MatchedHeads", "match_heads"]

_NOTHING = 1e-12
"""Modes with a smaller share of the largest singular value are rounding: they have no directions."""


@dataclass(frozen=True, repr=False)
class MatchedHeads:
    """One attention head beside its match, mode by mode.

    Attributes
    ----------
    heads : (int, int)
    modes : Tensor of int64, shape (pairs, 2)
        Modes that go together, those of the first head in order.
    sigma : Tensor, shape (pairs, 2)
        Their singular values.
    query_cosines, key_cosines : Tensor, shape (pairs,)
        ``u . u'`` and ``v . v'``. The sign of a pair of directions is free, so that ``u . u'`` is made positive; a
        negative ``v . v'`` says that what one mode looks for, the other avoids.
    query_angles, key_angles : Tensor
        Principal angles between the spans of the leading query directions, and of the leading key directions, in
        radians, largest first.
    dimensions : (int, int)
        How many modes lead, in each head: as many as were asked for, or as the nearest end of a subspace of nearly
        equal singular values asks for, since single modes within one are arbitrary.
    """

    heads: tuple[int, int]
    modes: Tensor
    sigma: Tensor
    query_cosines: Tensor
    key_cosines: Tensor
    query_angles: Tensor
    key_angles: Tensor
    dimensions: tuple[int, int]

    def __repr__(self) -> str:
        return f"MatchedHeads(attention heads {self.heads[0]} and {self.heads[1]}, {len(self.modes)} modes)"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row of plain numbers for each pair of modes."""
        names = ("mode", "other_mode", "sigma", "other_sigma", "query_cosine", "key_cosine")
        cosines = (self.query_cosines.tolist(), self.key_cosines.tolist())
        columns = (*self.modes.T.tolist(), *self.sigma.T.tolist(), *cosines)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def match_heads(one: Modes, two: Modes, pair: tuple[int, int], leading: int) -> MatchedHeads:
    head, other = pair
    queries, keys = one.u[head] @ two.u[other].mT, one.v[head] @ two.v[other].mT
    strength = (one.sigma[head][:, None] * two.sigma[other]).sqrt()
    rows, columns = linear_sum_assignment((strength * (queries * keys).abs()).cpu().numpy(), maximize=True)
    sign = torch.where(queries[rows, columns] < 0, -1.0, 1.0).to(queries)
    spans = _span(one, head, leading), _span(two, other, leading)
    angles = []
    for name in ("u", "v"):
        left, right = (
            getattr(each, name)[number, :count].mT.cpu().numpy()
            for each, number, count in ((one, head, spans[0]), (two, other, spans[1]))
        )
        angles.append(torch.from_numpy(np.ascontiguousarray(subspace_angles(left, right))))
    return MatchedHeads(
        pair,
        torch.from_numpy(np.stack((rows, columns), 1)),
        torch.stack((one.sigma[head][rows], two.sigma[other][columns]), 1),
        sign * queries[rows, columns],
        sign * keys[rows, columns],
        angles[0],
        angles[1],
        spans,
    )


def _span(found: Modes, head: int, leading: int) -> int:
    """How many modes lead: the end of a subspace nearest to ``leading``, the larger of two."""
    sigma = found.sigma[head]
    rank = max(int((sigma > _NOTHING * sigma[0]).sum()), 1)
    starts = subspaces(found)[head].unique().tolist()
    ends = [end for end in (*starts[1:], len(sigma)) if end <= rank] or [rank]
    return min(ends, key=lambda end: (abs(end - leading), -end))
