"""Curvature between gates: what a quasi-Newton method may know before it has learnt anything."""

from __future__ import annotations

import torch
from torch import Tensor

from .problem import Factors, Problem

__all__ = ["GateMetric"]

REFRESH = 5  # steps for which the decomposed curvature is kept
ATOMS_AT_MOST = 512  # of a part: two decompositions of that size in every refresh


class GateMetric:
    r"""Inverse of an approximate Hessian in the atoms of parts that hold several gates on the same features.

    Parameters
    ----------
    problem : Problem
        Its parts may be merged (`Merged`); those without several gates keep the identity.
    beta : float
    factors : Factors
        With as many atoms as those that the metric is for.

    Notes
    -----
    For atoms i and j under gates with :math:`K_{ij}` the mean of :math:`D_i D_j`, features with second moments C, and H
    the summed curvature of the loss in its outputs,

    .. math:: \frac{\partial^2 L}{\partial u_i \partial u_j} \approx K_{ij} (v_i^T H v_j) C, \qquad
              \frac{\partial^2 L}{\partial v_i \partial v_j} \approx K_{ij} (u_i^T C u_j) H,

    which is exact where gates, features and curvature are independent. Both are Kronecker products, so that with beta
    added they are inverted by decomposing their factors.
    """

    def __init__(self, problem: Problem, beta: float, factors: Factors) -> None:
        self._problem, self._beta = problem, beta
        self._overlaps: dict[int, Tensor] = {}
        self._moments: dict[int, Tensor] = {}
        self._inverse: dict[int, tuple[Tensor, ...]] = {}
        self._age = 0
        self._gather(factors)

    def __bool__(self) -> bool:
        return bool(self._overlaps)

    def _gather(self, factors: Factors) -> None:
        """Overlaps of gates and second moments of features, in one pass."""
        problem, dtype = self._problem, factors.intercept.dtype
        for _, stats in problem.passes.chunks(dtype) if problem.passes.held else ():
            for index, (part, own) in enumerate(zip(problem.parts, stats, strict=True)):
                if not part.factored or "gates" not in own or not 0 < own["gates"].shape[1] <= ATOMS_AT_MOST:
                    continue
                gates, features = own["gates"], own["features"].flatten(0, -2)
                overlap, moment = (gates.T @ gates).double(), (features.T @ features).double()
                if index in self._overlaps:
                    overlap, moment = self._overlaps[index] + overlap, self._moments[index] + moment
                self._overlaps[index], self._moments[index] = overlap, moment
        problem.passes.processes.add(*self._overlaps.values(), *self._moments.values())
        for found in (*self._overlaps.values(), *self._moments.values()):
            found /= problem.passes.num_samples
        self._spectra = {index: torch.linalg.eigh(moment) for index, moment in self._moments.items()}

    def refresh(self, factors: Factors, outputs: Tensor) -> None:
        """Take the curvature at these factors and their outputs, unless what is kept is young enough."""
        self._age -= 1
        if not self or self._age > 0:
            return
        self._age = REFRESH
        curvature = self._curvature(outputs)
        for index, overlap in self._overlaps.items():
            moment, columns = self._moments[index], self._problem.parts[index].columns
            own = curvature[columns, columns]
            u, v = factors.u[index].flatten(1).double(), factors.v[index].flatten(1).double()
            spectra = (
                torch.linalg.eigh(overlap * (v @ own @ v.T)),
                self._spectra[index],
                torch.linalg.eigh(overlap * (u @ moment @ u.T)),
                torch.linalg.eigh(own),
            )
            # decomposed in float64, used in the precision of the descent
            self._inverse[index] = tuple(x.to(factors.intercept.dtype) for pair in spectra for x in pair)

    def _curvature(self, outputs: Tensor) -> Tensor:
        """Second derivatives of the loss in the outputs, summed over samples, ``(c, c)``."""
        eye = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
        rows = [self._problem.loss.hessian_product(outputs, direction.expand_as(outputs)).sum(0) for direction in eye]
        return torch.stack(rows).double()

    def solve(self, gradient: Factors) -> Factors:
        """The inverse times a gradient; atoms of other parts and the intercept are returned as they are."""
        us, vs = list(gradient.u), list(gradient.v)
        for index, (mu, left, lam, right, nu, third, eta, fourth) in self._inverse.items():
            u, v = us[index], vs[index]
            us[index] = _kronecker(u.flatten(1), mu, left, lam, right, self._beta).view_as(u)
            vs[index] = _kronecker(v.flatten(1), nu, third, eta, fourth, self._beta).view_as(v)
        return Factors(us, vs, gradient.intercept)


def _kronecker(x: Tensor, mu: Tensor, left: Tensor, lam: Tensor, right: Tensor, beta: float) -> Tensor:
    """``(A kron B + beta)^-1 x`` for x of shape (A, B), by the eigenvalues and vectors of A (left) and B (right)."""
    turned = left.T @ x @ right
    turned /= mu.clamp(min=0)[:, None] * lam.clamp(min=0) + beta
    return left @ turned @ right.T
