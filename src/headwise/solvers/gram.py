"""Regression on few features: the samples are condensed to second moments once, and then no longer needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..contracts import Loss, Progress
from ..errors import InputError
from .fista import Iterate, Numbers, Point, dual_terms, minimise
from .problem import Factors, Problem
from .solution import Solution

__all__ = ["FEATURE_LIMIT", "CondensedProblem", "check_squared", "condense", "fits_moments"]

FEATURE_LIMIT = 2048
"""Most features (sum of p k over the parts): their second moments are a matrix of this side (32 MiB)."""


@dataclass(frozen=True)
class CondensedProblem:
    """A problem with the squared loss as a quadratic function of Z; nothing in it grows with the samples.

    With features ``Phi_i`` the outputs are ``f_i = Phi_i Z + b``, the matrices Z one under the other as ``(F, c)``,
    alike parts together (`Problem.alike`). Where b is fitted, all moments are about the weighted means, which puts b at
    its best place for every Z.

    Attributes
    ----------
    problem : Problem
        What was condensed.
    moments : Tensor, shape (F, F)
        ``sum_i w_i Phi_i^T Phi_i``.
    cross : Tensor, shape (F, c)
        ``sum_i w_i Phi_i^T y_i``.
    constant : float
        The loss at Z = 0: ``sum_i w_i |y_i|^2 / 2``.
    means, target_means : Tensor, shapes (F,) and (c,)
        Weighted means that were removed; zero without an intercept.
    """

    problem: Problem
    moments: Tensor
    cross: Tensor
    constant: float
    means: Tensor
    target_means: Tensor

    def solve(
        self,
        beta: float,
        *,
        tol: float = 1e-6,
        start: Factors | None = None,
        max_iterations: int = 20_000,
        check_every: int = 25,
        progress: Progress | None = None,
    ) -> Solution:
        """Solution by `solve_proximal`'s loop on the moments, certified once on the samples.

        Parameters
        ----------
        beta, tol, start, max_iterations, check_every, progress
            As in `solve_proximal`; steps are cheap here, so that the gap may be tight.

        Returns
        -------
        Solution
        """
        return minimise(
            self,
            beta,
            tol=tol,
            start=start,
            max_iterations=max_iterations,
            check_every=check_every,
            progress=progress,
        )

    def _column(self, numbers: Numbers) -> Tensor:
        """All matrices Z one under the other, as rows of the features."""
        return torch.cat([z.reshape(-1, self.cross.shape[1]) for z in numbers[:-1]])

    def _stacks(self, column: Tensor) -> Numbers:
        alike = self.problem.alike
        parts = [self.problem.parts[indices[0]] for indices in alike]
        sizes = [len(indices) * part.p * part.k for indices, part in zip(alike, parts, strict=True)]
        pieces = zip(alike, parts, column.split(sizes), strict=True)
        return [z.reshape(len(indices), part.p, -1) for indices, part, z in pieces]

    # What the loop asks of an oracle. The image is Z and moments @ Z, one under the other.

    @property
    def unit(self) -> float:
        return float(self.moments.diagonal().sum()) ** 0.5 / 3 or 1.0

    def image(self, iterate: Iterate) -> Tensor:
        column = self._column(iterate.numbers)
        return torch.cat([column, self.moments @ column])

    def gradient(self, image: Tensor) -> Numbers:
        # the intercept follows Z, so that its own gradient is zero
        return [*self._stacks(image[len(self.means) :] - self.cross), torch.zeros_like(self.target_means)]

    def excess(self, new: Tensor, old: Tensor) -> float:
        z, product = (new - old).split(len(self.means))
        return float((z * product).sum())

    def look(self, point: Point, beta: float) -> tuple[float, float]:
        """Objective and gap, both from the moments: with ``theta_i = w_i (f_i - y_i)`` every term of the dual is."""
        z, product = point.image.split(len(self.means))
        fit = float((z * self.cross).sum())
        loss = float((z * product).sum()) / 2 - fit + self.constant
        bound, ridge = dual_terms(self.problem, self.gradient(point.image)[:-1])
        # D(alpha theta) = alpha slope - alpha^2 curve / 2, largest at slope / curve or at the bound
        slope, curve = 2 * self.constant - fit, 2 * loss + ridge / beta
        scale = max(slope / curve, 0.0) if curve > 0 else 0.0
        if bound > 0:
            scale = min(scale, beta / bound)
        primal = loss + beta * float(self.problem.penalty(point.iterate.factors))
        return primal, primal - (scale * slope - scale * scale * curve / 2)

    def finished(self, point: Point) -> Factors:
        b = self.target_means - self.means @ self._column(point.iterate.numbers)
        return Factors(point.iterate.factors.u, point.iterate.factors.v, b)


def fits_moments(problem: Problem, most: int = FEATURE_LIMIT) -> bool:
    """Whether a problem has the squared loss, whole outputs in every part, and at most ``most`` features."""
    c = problem.loss.num_outputs
    whole = all(part.outputs(c) == c for part in problem.parts)
    return problem.loss.name == "squared" and whole and sum(part.p * part.k for part in problem.parts) <= most


def condense(problem: Problem) -> CondensedProblem:
    """Second moments of the features of a problem with the squared loss, in one pass.

    Parameters
    ----------
    problem : Problem
        With the squared loss and at most `FEATURE_LIMIT` features.

    Returns
    -------
    CondensedProblem

    Raises
    ------
    InputError
        Another loss, more features, or parts for some of the outputs only.

    Notes
    -----
    Sums about a provisional mean, that of the first chunk, keep the digits that plain sums of squares would lose
    (Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance", The American Statistician 1983). The
    solver is FISTA (Beck and Teboulle 2009) with restarts (O'Donoghue and Candès 2015), see `solve_proximal`.

    Examples
    --------
    >>> from headwise.blocks.linear import Linear
    >>> from headwise.contracts import TokenShape
    >>> from headwise.losses.squared import Squared
    >>> from headwise.penalties.ridge import Ridge
    >>> from headwise.solvers import HeldPasses, Part, Problem
    >>> block, tokens = Linear(TokenShape(1, 4)), torch.eye(4, dtype=torch.float64)[:, None]
    >>> passes = HeldPasses([block.statistics(tokens, torch.ones(4, 1, dtype=torch.float64))])
    >>> loss = Squared(torch.ones(4, 2), 2)
    >>> condensed = condense(Problem([Part(block, Ridge())], passes, loss))
    >>> condensed.moments.shape, condensed.target_means.tolist(), condensed.constant
    (torch.Size([4, 4]), [1.0, 1.0], 0.0)
    """
    loss: Any = problem.loss
    check_squared(loss)
    if any(part.outputs(loss.num_outputs) < loss.num_outputs for part in problem.parts):
        raise InputError(
            "parts for some of the outputs only (channel groups) are not condensed to moments; give solver='factored'"
        )
    width = sum(part.p * part.k for part in problem.parts)
    if width > FEATURE_LIMIT:
        raise InputError(
            f"{width:,} features are more than the {FEATURE_LIMIT:,} whose moments are kept; give "
            "solver='factored', or fewer features"
        )
    weights, targets = loss.weights.double()[:, None], loss.targets.double()
    centred = problem.fit_intercept
    target_means = (weights * targets).sum(0) * centred
    targets = targets - target_means
    order = [index for indices in problem.alike for index in indices]
    eyes = [torch.eye(part.p, dtype=torch.float64, device=problem.device) for part in problem.parts]
    moments = targets.new_zeros(width, width)
    cross = targets.new_zeros(width, targets.shape[1])
    means, shift = targets.new_zeros(width), targets.new_zeros(width)
    for number, (rows, stats) in enumerate(problem.passes.chunks(torch.float64)):
        inner = [
            part.block.inner(s, eye.view(-1, *part.u_shape)).flatten(1)
            for part, s, eye in ((problem.parts[i], stats[i], eyes[i]) for i in order)
        ]
        features = torch.cat(inner, dim=1)
        if number == 0 and centred:
            shift = features.mean(0)
            problem.passes.processes.agree(shift)
        features = features - shift
        weighted = features * weights[rows]
        moments += weighted.T @ features
        cross += weighted.T @ targets[rows]  # the targets are centred already, so the features need not be
        means += weighted.sum(0)
    problem.passes.processes.add(moments, cross, means)
    if centred:
        moments -= torch.outer(means, means)
        means = means + shift
    constant = float((weights * targets.square()).sum()) / 2
    return CondensedProblem(problem, moments, cross, constant, means * centred, target_means)


def check_squared(loss: Loss) -> None:
    """Refuse a loss that second moments do not decide."""
    if loss.name != "squared":
        raise InputError(
            f"only the squared loss can be condensed to moments, got {loss.name}; "
            "give solver='factored', which is for every loss"
        )
