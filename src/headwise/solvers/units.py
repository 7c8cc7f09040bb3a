"""Targets far from zero or from unit size, solved for in units of their own spread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from ..contracts import Progress, Rescaled
from . import certificate
from .certificate import Certificate
from .problem import Factors, Problem
from .solution import Solution

__all__ = ["Units", "certify", "own_units"]

FAR = 100.0
"""Targets within this factor of unit spread, and within so many spreads of zero, are solved for as they are."""


@dataclass(frozen=True)
class Units:
    """A problem in units in which its targets have mean 0 and spread 1.

    Outputs of hundreds of millions leave single precision no digits for what differs between samples, and the matrices
    and the intercept, which grow unlike with the targets, would need steps of unlike size.

    Parameters
    ----------
    problem : Problem
        As given; its loss is a `Rescaled`.
    shift : Tensor, shape (c,)
        Taken off the targets.
    scale : float
        What they are divided by then.
    """

    problem: Problem
    shift: Tensor
    scale: float

    @property
    def inside(self) -> Problem:
        """The problem in these units."""
        loss = self.problem.loss
        assert isinstance(loss, Rescaled), "own_units looks at that"
        return replace(self.problem, loss=loss.rescaled(self.shift, self.scale))

    def solver(self, solve: Callable[..., Solution]) -> Callable[..., Solution]:
        """A solver of the problem as given, from one of `inside`.

        ``L(f) + beta |Z|`` is ``scale^2`` times ``L'(f') + (beta / scale) |Z'|`` with ``Z' = Z / scale``, bounds
        included.
        """

        def solved(
            beta: float, *, tol: float = 1e-3, start: Factors | None = None, progress: Progress | None = None
        ) -> Solution:
            first = None if start is None else self.within(start)
            found = solve(beta / self.scale, tol=tol, start=first, progress=progress)
            square = self.scale**2
            return replace(
                found,
                factors=self.without(found.factors),
                certificate=self.stated(found.certificate, beta),
                history=[replace(row, primal=row.primal * square, gap=row.gap * square) for row in found.history],
            )

        return solved

    def within(self, factors: Factors) -> Factors:
        """Factors of the problem as given in these units."""
        root, b = sqrt(self.scale), factors.intercept
        intercept = ((b.double() - self.shift) / self.scale).to(b.dtype)
        return Factors([u / root for u in factors.u], [v / root for v in factors.v], intercept)

    def without(self, factors: Factors) -> Factors:
        """Factors of `inside` in the units given, the intercept in float64."""
        root = sqrt(self.scale)
        intercept = factors.intercept.double() * self.scale + self.shift
        return Factors([u * root for u in factors.u], [v * root for v in factors.v], intercept)

    def stated(self, proof: Certificate, beta: float) -> Certificate:
        """A certificate of `inside` in the units given."""
        square = self.scale**2
        return replace(proof, primal=proof.primal * square, dual=proof.dual * square, gap=proof.gap * square, beta=beta)


def certify(problem: Problem, factors: Factors, beta: float, **options: Any) -> tuple[Certificate, Factors]:
    """`headwise.solvers.certificate.certify`, in the units of the targets where these are far from unit size."""
    units = own_units(problem)
    if units is None:
        return certificate.certify(problem, factors, beta, **options)
    proof, moved = certificate.certify(units.inside, units.within(factors), beta / units.scale, **options)
    return units.stated(proof, beta), units.without(moved)


def own_units(problem: Problem) -> Units | None:
    """Units that a problem is better solved in; None where it is solved as it is.

    Quadratic penalties do not scale as norms do, so that with one of them targets are shifted only.
    """
    loss = problem.loss
    if not isinstance(loss, Rescaled):
        return None
    shift = loss.best_constant().double() if problem.fit_intercept else torch.zeros_like(loss.targets[0])
    spread = float((loss.weights @ (loss.targets - shift).square()).mean().sqrt())
    if spread <= 0:
        return None
    scale = spread if all(part.factored for part in problem.parts) else 1.0
    far = float(shift.abs().max()) > FAR * spread
    if not far and 1 / FAR <= scale <= FAR:
        return None
    return Units(problem, shift, scale)
