"""The certificate: a proved upper bound of how far a solution is from the global optimum."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from ..contracts import Loss
from ..errors import InputError
from .bounds import EXACT_LIMIT, exact_bound, lanczos_bound, stacks
from .problem import Factors, Problem

__all__ = ["Certificate", "best_scale", "centre_intercept", "certify"]

Kind = Literal["exact", "probabilistic"]

ROUNDING = 1e-13
"""Share of a loss that its rounding may hide."""


@dataclass(frozen=True)
class Certificate:
    """A proved bound: the objective of the head is at most ``gap`` above the global optimum of its problem.

    Attributes
    ----------
    primal, dual : float
        Objective of the head and a proved lower bound of the optimum.
    gap, relative_gap : float
        ``primal - dual``, and its share of ``|primal|`` (of the rounding of the loss, where a fit is perfect).
    beta : float
        Strength of the penalty.
    kind : {"exact", "probabilistic"}
        How the spectral norm was bounded.
    failure_probability : float
        Chance that a probabilistic bound is wrong, 0 for exact.
    num_samples : int
        Training samples.
    context : mapping
        What the bound is about: hashes of rows, tokens and conditioning, gates, versions.
    """

    primal: float
    dual: float
    gap: float
    relative_gap: float
    beta: float
    kind: Kind
    failure_probability: float
    num_samples: int
    context: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __repr__(self) -> str:
        return f"Certificate({self})"

    def __str__(self) -> str:
        how = self.kind if self.kind == "exact" else f"holds with probability 1 - {self.failure_probability:.0e}"
        values = f"objective {self.primal:.6g}, optimum at least {self.dual:.6g}"
        return f"relative gap {self.relative_gap:.2e} ({how}), {values}"


def best_scale(
    problem: Problem, theta: Tensor, bound: float, ridge: float, beta: float, enough: float = float("inf")
) -> float:
    """Largest dual value over ``alpha * theta``: concave in alpha, on ``[0, min(beta / bound, domain)]``.

    ``bound`` is an upper bound of the spectral norms, ``ridge`` the sum of ``||A*(theta)||_F^2`` over quadratic parts.
    A first value of at least ``enough`` is returned at once.
    """
    limit = problem.loss.max_scale(theta)
    if bound > 0:
        limit = min(limit, beta / bound)

    def dual(alpha: float) -> float:
        return float(problem.loss.dual_value(alpha * theta)) - alpha * alpha * ridge / (2 * beta)

    # near the optimum the best scale is near one (or the limit): the vertex of a parabola finds it
    at, h = min(1.0, limit), 1e-3 * min(1.0, limit)
    first = dual(at)
    if first >= enough:
        return first
    values = [first, dual(at - h), dual(at - 2 * h)]
    slope = (3 * values[0] - 4 * values[1] + values[2]) / 2
    bend = values[0] - 2 * values[1] + values[2]
    if at == limit and slope >= 0 > bend:
        return values[0]  # still rising at the limit: concave, so the limit is best
    if bend < 0 and abs(slope / bend) < 50:
        return max(*values, dual(min(at - h * slope / bend, limit)))
    if limit == float("inf"):  # nothing bounds alpha; the dual is concave, so beyond a few doublings it only falls
        limit = 2.0
        while dual(2 * limit) > dual(limit):
            limit *= 2
        limit *= 2
    at_limit = dual(limit)
    if limit <= 0 or at_limit >= dual(limit * (1 - 1e-6)):
        return max(at_limit, dual(0.0))  # still rising at the limit: concave, so the limit is best
    found = minimize_scalar(
        lambda alpha: -dual(alpha), bounds=(0.0, limit), method="bounded", options={"xatol": 1e-9 * limit}
    )
    return max(-float(found.fun), at_limit, dual(0.0))


def centre_intercept(
    problem: Problem, outputs: Tensor, enough: float = 1e-14, steps: int = 20, gain: float = ROUNDING
) -> Tensor:
    """Shift of the intercept that makes the gradient's columns sum to zero, by damped Newton on the intercept alone.

    ``enough`` is the largest sum that may be left; `Loss.repair` removes it at a cost of the same order. A step that
    promises no more than the share ``gain`` of the loss is the last: what it leaves is far less.
    """
    shift = outputs.new_zeros(outputs.shape[1])
    loss = problem.loss
    for _ in range(steps):
        here = outputs + shift
        each = loss.gradient(here)
        gradient, rounding = each.sum(0), torch.finfo(each.dtype).eps * float(each.abs().sum(0).max())
        # a step from rounding alone may be long where the loss has no curvature (a common shift under softmax)
        if float(gradient.abs().max()) < max(enough, rounding):
            break
        step = _newton_step(loss, here, gradient)
        size, value = 1.0, float(loss.value(here))
        if float(step @ gradient) <= gain * abs(value):
            return shift - step
        while float(loss.value(here - size * step)) > value and size > 1e-4:
            size /= 2
        if size <= 1e-4:
            break
        shift = shift - size * step
    return shift


def _newton_step(loss: Loss, outputs: Tensor, gradient: Tensor, accuracy: float = 1e-4) -> Tensor:
    """Newton step of the intercept by conjugate gradients: far fewer passes over the outputs than there are outputs.

    Softmax does not see a common shift of all outputs: that direction has no curvature, and the iterates stay out of
    it.
    """
    step, residual = torch.zeros_like(gradient), gradient
    direction, size = residual, float(residual @ residual)
    goal = accuracy**2 * size
    for _ in range(len(gradient)):
        bent = loss.hessian_product(outputs, direction.expand_as(outputs)).sum(0)
        curvature = float(direction @ bent)
        if curvature <= 0:
            break
        step = step + size / curvature * direction
        residual = residual - size / curvature * bent
        left = float(residual @ residual)
        if left <= goal:
            break
        direction, size = residual + left / size * direction, left
    return step


def dual_point(problem: Problem, outputs: Tensor) -> Tensor:
    """A dual point near the gradient at ``outputs``, in the domain, with columns that sum to zero if b is free."""
    theta = problem.loss.gradient(outputs)
    return problem.loss.repair(theta) if problem.fit_intercept else theta


def certify(
    problem: Problem,
    factors: Factors,
    beta: float,
    *,
    kind: Kind | None = None,
    epsilon: float = 1e-3,
    probability: float = 1e-9,
    seed: int | None = None,
    centre: bool = True,
    content: float = 0.0,
    context: Mapping[str, Any] | None = None,
) -> tuple[Certificate, Factors]:
    """Certificate of ``factors``, in float64 from the statistics alone.

    Parameters
    ----------
    problem : Problem
    factors : Factors
        What is certified.
    beta : float
        Strength of the penalty.
    kind : {"exact", "probabilistic"}, optional
        By default exact where the smaller side of A*(theta) is at most 8192.
    epsilon, probability : float
        Looseness of the squared bound and allowed failure probability of a probabilistic bound.
    seed : int, optional
        Seed of its random start; drawn from the system by default, so that no start depends on an earlier run.
    centre : bool
        Move the intercept to its best place first (the moved factors are returned). Off for checking a stored claim.
    content : float
        Relative gap that is small enough: no time is spent on proving a smaller one.
    context : mapping, optional
        Stored in the certificate.

    Returns
    -------
    certificate, factors

    Notes
    -----
    For every ``theta`` in the domain of L* with ``||A*(theta)||_2 <= beta`` and columns that sum to zero,
    ``P* >= -L*(theta)``. The point is the repaired gradient, scaled by ``beta`` over an upper bound of its spectral
    norm.
    """
    factors = factors.to(torch.float64, problem.device).clone()
    problem.passes.processes.agree(*factors.u, *factors.v, factors.intercept)
    outputs = problem.outputs(factors)
    if problem.fit_intercept and centre:
        shift = centre_intercept(problem, outputs, gain=max(ROUNDING, 1e-3 * content))
        factors.intercept += shift
        outputs = outputs + shift
    primal = float(problem.loss.value(outputs) + beta * problem.penalty(factors))
    if not math.isfinite(primal):
        raise InputError(f"the objective is {primal}; targets or tokens are too large, divide them by a common factor")
    theta = dual_point(problem, outputs)
    bounds, ridge, failure, kinds = [], 0.0, 0.0, set()
    sizes = [min(part.p, part.k * part.outputs(problem.loss.num_outputs)) for part in problem.parts]
    matrix_free = [
        part.factored and (kind or _default_kind(n)) != "exact" for part, n in zip(problem.parts, sizes, strict=True)
    ]
    # parts of one group have one size, so that none is matrix-free or all are
    adjoints = problem.adjoints(theta, [group for group in problem.shared if not matrix_free[group[0]]])
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    for group in problem.alike:
        at_hand = [adjoints[index] for index in group if index in adjoints]
        if not problem.parts[group[0]].factored:
            ridge += sum(float(matrix.square().sum()) for matrix in at_hand)
            continue
        if at_hand:
            kinds.add("exact")
            bounds += [exact_bound(stack) for stack in stacks(at_hand)]
            continue
        for index in group:
            kinds.add("probabilistic")
            bound, missed = lanczos_bound(
                problem, index, theta, epsilon=epsilon, probability=probability, generator=generator
            )
            bounds.append(bound)
            failure += missed
    enough = primal - content * problem.size(primal) if content else float("inf")
    dual = best_scale(problem, theta, max(bounds, default=0.0), ridge, beta, enough)
    said: Kind = "probabilistic" if "probabilistic" in kinds else "exact"
    gap = primal - dual
    if gap < -1e-9 * max(problem.size(primal), 1.0):
        raise RuntimeError(
            f"the dual value {dual} exceeds the primal {primal}: a bug in the loss or block, please report it"
        )
    gap = max(gap, 0.0)  # what is left below zero is rounding
    relative = gap / problem.size(primal)
    found = Certificate(primal, dual, gap, relative, beta, said, failure, problem.loss.num_samples, dict(context or {}))
    return found, factors


def _default_kind(size: int) -> Kind:
    return "exact" if size <= EXACT_LIMIT else "probabilistic"
