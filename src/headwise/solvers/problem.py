"""The one convex problem that every head is: its parts, its variables, its values."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from ..contracts import Block, Loss, Penalty
from .passes import ADJOINT_TIMES, Passes, Stats

__all__ = ["Factors", "Part", "Problem", "singular_atoms"]


@dataclass(frozen=True)
class Part:
    """One block with its penalty, for all outputs or for a run of them (``columns``)."""

    block: Block
    penalty: Penalty
    columns: slice = field(default_factory=lambda: slice(None))

    @property
    def u_shape(self) -> tuple[int, ...]:
        return self.block.u_shape

    @property
    def p(self) -> int:
        """Rows of Z."""
        return prod(self.u_shape)

    @property
    def k(self) -> int:
        """Inner features of one atom; Z has ``k * c`` columns."""
        return self.block.inner_width

    def outputs(self, c: int) -> int:
        """How many of the problem's ``c`` outputs the part gives."""
        return len(range(c)[self.columns])

    @property
    def factored(self) -> bool:
        return self.penalty.kind == "norm"

    def inner(self, stats: Stats, u: Tensor) -> Tensor:
        """Inner features ``(n, r, k)`` of atoms; those of a whole Z are the features that it is linear in."""
        return self.block.inner(stats, u) if self.factored else stats["features"].flatten(0, -2).unsqueeze(-1)


@dataclass
class Factors:
    """Variables: for each part atoms ``u (r, *u_shape)`` and ``v (r, k, c)``, and the intercept ``(c,)``.

    A part with a quadratic penalty keeps Z whole: its u is the identity (one atom for each row of Z) and never moves.
    """

    u: list[Tensor]
    v: list[Tensor]
    intercept: Tensor

    def to(self, dtype: torch.dtype, device: torch.device | None = None) -> Factors:
        """In a dtype, where they are or on a device."""
        u, v = ([x.to(device, dtype) for x in atoms] for atoms in (self.u, self.v))
        return Factors(u, v, self.intercept.to(device, dtype))

    def clone(self) -> Factors:
        return Factors([x.clone() for x in self.u], [x.clone() for x in self.v], self.intercept.clone())


@dataclass(frozen=True)
class Problem:
    """``min L(sum of parts + b) + beta sum penalties``; beta goes to the solver, so that a path shares one problem."""

    parts: list[Part]
    passes: Passes
    loss: Loss
    fit_intercept: bool = True
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def size(self, primal: float) -> float:
        """What a gap is compared with: the objective, or the rounding of the loss where nothing is left of it."""
        return max(abs(primal), self.rounding)

    @cached_property
    def rounding(self) -> float:
        """What the rounding of the loss may hide, however small its value."""
        outputs = torch.zeros(self.passes.num_samples, self.loss.num_outputs, dtype=torch.float64, device=self.device)
        tiny = torch.finfo(torch.float64)
        return max(tiny.eps * abs(float(self.loss.value(outputs))), tiny.tiny)

    @cached_property
    def alike(self) -> list[list[int]]:
        """Parts whose matrices Z have one shape and one kind of penalty (gates of a block), worked on at once."""
        found: dict[tuple[int, int, bool], list[int]] = {}
        for index, part in enumerate(self.parts):
            shape = part.p, part.k * part.outputs(self.loss.num_outputs), part.factored
            found.setdefault(shape, []).append(index)
        return list(found.values())

    @cached_property
    def shared(self) -> list[list[int]]:
        """Parts with gates on the same features and for the same outputs: a hundred gates cost one product.

        None share where statistics come from disk.
        """
        if not self.passes.held:
            return [[index] for index in range(len(self.parts))]
        _, stats = next(iter(self.passes.chunks(torch.float64)))
        found: dict[tuple[object, ...], list[int]] = {}
        for index, (part, own) in enumerate(zip(self.parts, stats, strict=True)):
            key: tuple[object, ...] = (index,)
            if part.factored and "gate" in own and hasattr(part.block, "merged"):
                key = (type(part.block), part.u_shape, part.columns.start, part.columns.stop, id(own["features"]))
            found.setdefault(key, []).append(index)
        return list(found.values())

    def merged(self, group: list[int], stats: list[Stats], counts: list[int]) -> Stats:
        """Statistics of parts that share features as those of one, for so many atoms of each, one after the other."""
        if len(group) == 1:
            return stats[group[0]]
        merge = self.parts[group[0]].block.merged  # type: ignore[attr-defined]
        return merge([stats[index] for index in group], counts)

    def zero(self, dtype: torch.dtype = torch.float64) -> Factors:
        """No atoms, and the best constant output."""
        c = self.loss.num_outputs
        u, v = [], []
        for part in self.parts:
            atoms = 0 if part.factored else part.p
            eye = torch.eye(atoms, part.p if atoms else 0, dtype=dtype, device=self.device)
            u.append(eye.view(atoms, *part.u_shape))
            v.append(torch.zeros(atoms, part.k, part.outputs(c), dtype=dtype, device=self.device))
        b = self.loss.best_constant() if self.fit_intercept else torch.zeros(c, device=self.device)
        return Factors(u, v, b.to(dtype=dtype, device=self.device))

    def outputs(self, factors: Factors) -> Tensor:
        """Outputs of all samples, ``(n, c)``, in the factors' dtype."""
        b = factors.intercept
        out = b.new_zeros(self.passes.num_samples, len(b))
        atoms = []
        for group in self.shared:
            u, v = (torch.cat([own[index] for index in group]) for own in (factors.u, factors.v))
            atoms.append((group, [len(factors.u[index]) for index in group], u, v.flatten(0, 1)))
        for rows, stats in self.passes.chunks(b.dtype):
            for group, counts, u, v in atoms:
                if len(u):
                    part = self.parts[group[0]]
                    out[rows, part.columns] += part.inner(self.merged(group, stats, counts), u).flatten(1) @ v
        self.passes.processes.add(out)
        return out.add_(b)

    def adjoint(self, theta: Tensor) -> list[Tensor]:
        """``A*(theta)`` of each part, ``(p, k c)``, in theta's dtype."""
        found = self.adjoints(theta, self.shared)
        return [found[index] for index in range(len(self.parts))]

    def adjoints(self, theta: Tensor, groups: list[list[int]]) -> dict[int, Tensor]:
        """`adjoint` of the parts in some groups of `shared` alone."""
        total: dict[int, Tensor] = {}
        for rows, stats in self.passes.chunks(theta.dtype, ADJOINT_TIMES) if groups else ():
            for group in groups:
                part = self.parts[group[0]]
                own = theta[rows, part.columns]
                if len(group) == 1:
                    found = [part.block.adjoint(stats[group[0]], own)]
                else:
                    found = part.block.adjoints([stats[i] for i in group], own)  # type: ignore[attr-defined]
                for index, matrix in zip(group, found, strict=True):
                    total[index] = total[index].add_(matrix) if index in total else matrix
        self.passes.processes.add(*total.values())
        return total

    def penalty(self, factors: Factors) -> Tensor:
        """Sum of the penalties without beta. For norms half the squared factors: an upper bound, tight if balanced."""
        moving = [u for part, u in zip(self.parts, factors.u, strict=True) if part.factored] + factors.v
        return torch.cat([x.flatten() for x in moving]).square().sum() / 2

    def balanced(self, factors: Factors, drop: float = 1e-7) -> Factors:
        """The same Z with orthogonal, balanced atoms (its singular value decomposition); negligible atoms dropped."""
        us, vs = list(factors.u), list(factors.v)
        for group in self.alike:
            part = self.parts[group[0]]
            if not part.factored:
                continue
            if part.k * part.outputs(self.loss.num_outputs) == 1:
                own_u, own_v = _single_atoms([us[index] for index in group], [vs[index] for index in group])
            else:
                balanced = [singular_atoms(us[index], vs[index], drop) for index in group]
                own_u, own_v = ([atoms[side] for atoms in balanced] for side in (0, 1))
            for index, u, v in zip(group, own_u, own_v, strict=True):
                us[index], vs[index] = u.contiguous(), v.contiguous()
        return Factors(us, vs, factors.intercept)


def singular_atoms(u: Tensor, v: Tensor, drop: float = 1e-7) -> tuple[Tensor, Tensor]:
    """Atoms of the same Z = sum_j u_j v_j^T from its singular value decomposition, the heaviest first.

    Those with a singular value below ``drop`` of the largest are left out; u_j and v_j have the same norm.
    """
    if not len(u):
        return u, v
    qu, ru = torch.linalg.qr(u.flatten(1).T.double())
    qv, rv = torch.linalg.qr(v.flatten(1).T.double())
    left, sigma, right = torch.linalg.svd(ru @ rv.T)
    keep = sigma > drop * sigma.max().clamp(min=torch.finfo(torch.float64).tiny)
    root = sigma[keep].sqrt()
    rank = min(len(root), left.shape[1])
    first = ((qu @ left[:, :rank]) * root[:rank]).T.to(u.dtype).reshape(-1, *u.shape[1:])
    second = ((qv @ right.T[:, :rank]) * root[:rank]).T.to(v.dtype).reshape(-1, *v.shape[1:])
    return first, second


def _single_atoms(us: list[Tensor], vs: list[Tensor]) -> tuple[list[Tensor], ...]:
    """`singular_atoms` of matrices with one column, all at once: each is one atom, or none where it is zero."""
    u, v = torch.cat(us), torch.cat(vs)
    owner = torch.repeat_interleave(torch.tensor([len(own) for own in us], device="cpu")).to(u.device)
    moved = u.flatten(1).double() * v.flatten(1).double()
    z = moved.new_zeros(len(us), moved.shape[1]).index_add_(0, owner, moved)
    root = z.norm(dim=1).sqrt()
    first = (z / root.clamp(min=torch.finfo(torch.float64).tiny)[:, None]).to(u.dtype).view(len(us), *u.shape[1:])
    second = root.to(v.dtype).view(len(us), *v.shape[1:])
    ends = [index + kept for index, kept in enumerate((root > 0).tolist())]
    return tuple([atoms[start:end] for start, end in enumerate(ends)] for atoms in (first, second))
