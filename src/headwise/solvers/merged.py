"""Parts that share their features, worked on as one: a hundred gates cost one product instead of a hundred."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .descent import HOLD_BYTES
from .passes import Stats
from .problem import Factors, Problem

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
        groups, counts = problem.shared, [len(u) for u in factors.u]
        if len(groups) == len(problem.parts):
            return cls(problem, factors, groups, counts)
        passes = _MergedPasses(problem, counts)
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

    def __init__(self, problem: Problem, counts: list[int]) -> None:
        passes = problem.passes
        self.num_samples, self.processes, self.held = passes.num_samples, passes.processes, passes.held
        self.parts = [problem.parts[group[0]] for group in problem.shared]
        self._problem, self._counts = problem, counts
        self._keeps = 8 * passes.num_samples * sum(counts) <= HOLD_BYTES
        self._kept: dict[torch.dtype, list[tuple[slice, list[Stats]]]] = {}

    def chunks(self, dtype: torch.dtype, times: int = 1) -> Iterator[tuple[slice, list[Stats]]]:
        if dtype in self._kept:
            yield from self._kept[dtype]
            return
        done = []
        problem = self._problem
        counts = [[self._counts[index] for index in group] for group in problem.shared]
        for rows, stats in problem.passes.chunks(dtype):
            found = [problem.merged(group, stats, own) for group, own in zip(problem.shared, counts, strict=True)]
            if self._keeps:
                done.append((rows, found))
            yield rows, found
        if self._keeps:
            self._kept[dtype] = done
