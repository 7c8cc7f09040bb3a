"""Parts that share their features, worked on as one: a hundred gates cost one product instead of a hundred."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .descent import HOLD_BYTES
from .passes import Passes, Stats
from .problem import Factors, Part, Problem

__all__ = ["Merged"]


@dataclass(frozen=True)
class Merged:
    """A problem with the atoms of parts that share features in one part each.

    The atoms of a merged part are those of its members one after the other, so it holds for factors with the same
    numbers of atoms, as those of one descent.

    Attributes
    ----------
    problem : Problem
        Of the merged parts, for passes alone: its penalty and adjoint are not those of the whole.
    factors : Factors
    """

    problem: Problem
    factors: Factors
    groups: list[list[int]]
    counts: list[int]

    @classmethod
    def of(cls, problem: Problem, factors: Factors) -> Merged:
        """Merged where parts share features, else the problem as it is."""
        groups, counts = _groups(problem, factors), [len(u) for u in factors.u]
        if len(groups) == len(problem.parts):
            return cls(problem, factors, groups, counts)
        passes = _MergedPasses(problem.passes, groups, counts, [problem.parts[group[0]] for group in groups])
        u = [torch.cat([factors.u[index] for index in group]) for group in groups]
        v = [torch.cat([factors.v[index] for index in group]) for group in groups]
        return cls(replace(problem, parts=passes.parts, passes=passes), replace(factors, u=u, v=v), groups, counts)

    def split(self, factors: Factors) -> Factors:
        """Factors of the whole problem from merged ones."""
        u: dict[int, Tensor] = {}
        v: dict[int, Tensor] = {}
        for group, own_u, own_v in zip(self.groups, factors.u, factors.v, strict=True):
            sizes = [self.counts[index] for index in group]
            u |= zip(group, own_u.split(sizes), strict=True)
            v |= zip(group, own_v.split(sizes), strict=True)
        order = range(len(self.counts))
        return Factors([u[index] for index in order], [v[index] for index in order], factors.intercept)


class _MergedPasses:
    """Passes with the statistics of each group merged, kept from pass to pass where they are small."""

    def __init__(self, passes: Passes, groups: list[list[int]], counts: list[int], parts: list[Part]) -> None:
        self.num_samples, self.processes, self.held = passes.num_samples, passes.processes, passes.held
        self.parts, self._passes, self._groups, self._counts = parts, passes, groups, counts
        self._keeps = 8 * passes.num_samples * sum(counts) <= HOLD_BYTES
        self._kept: dict[torch.dtype, list[tuple[slice, list[Stats]]]] = {}

    def chunks(self, dtype: torch.dtype, times: int = 1) -> Iterator[tuple[slice, list[Stats]]]:
        if dtype in self._kept:
            yield from self._kept[dtype]
            return
        done = []
        for rows, stats in self._passes.chunks(dtype):
            found = [self._merge(part, group, stats) for part, group in zip(self.parts, self._groups, strict=True)]
            if self._keeps:
                done.append((rows, found))
            yield rows, found
        if self._keeps:
            self._kept[dtype] = done

    def _merge(self, part: Part, group: list[int], stats: Sequence[Stats]) -> Stats:
        if len(group) == 1:
            return stats[group[0]]
        merge = part.block.merged  # type: ignore[attr-defined]
        return merge([stats[index] for index in group], [self._counts[index] for index in group])


def _groups(problem: Problem, factors: Factors) -> list[list[int]]:
    """Parts that share features, under one block and for the same outputs; none do where they come from disk."""
    if not problem.passes.held:
        return [[index] for index in range(len(problem.parts))]
    _, stats = next(iter(problem.passes.chunks(factors.intercept.dtype)))
    found: dict[tuple[object, ...], list[int]] = {}
    for index, (part, own) in enumerate(zip(problem.parts, stats, strict=True)):
        shares = part.factored and "gate" in own and hasattr(part.block, "merged")
        key: tuple[object, ...] = (index,)
        if shares:
            key = (type(part.block), part.u_shape, part.columns.start, part.columns.stop, id(own["features"]))
        found.setdefault(key, []).append(index)
    return list(found.values())
