"""Accelerated proximal gradient on whole matrices Z, singular values thresholded, for any oracle of the loss."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..contracts import Progress
from ..errors import InputError
from .certificate import Certificate, certify
from .problem import Factors, Problem
from .solution import Round, Solution, Status

__all__ = ["MATRIX_LIMIT", "Numbers", "Oracle", "Point", "dual_terms", "minimise"]

MATRIX_LIMIT = 2_000_000
"""Most numbers in the matrix Z of one part: each iteration takes its singular value decomposition."""

Numbers = list[Tensor]
"""Z of each part, ``(p, k c)``, then the intercept ``(c,)`` in units of `Oracle.unit`."""


@dataclass(frozen=True)
class Point:
    """One iterate: its numbers, the same as factors, and its image under the oracle."""

    numbers: Numbers
    factors: Factors
    image: Tensor


class Oracle(Protocol):
    """The loss as the loop sees it: a function of an image that is linear in the numbers."""

    @property
    def problem(self) -> Problem: ...

    @property
    def unit(self) -> float:
        """Size of the features. The intercept is the weight of a constant feature of this size."""
        ...

    def image(self, numbers: Numbers, factors: Factors) -> Tensor:
        """Image of a point, given in both forms (an oracle takes the cheaper one)."""
        ...

    def gradient(self, image: Tensor) -> Numbers:
        """Gradient of the loss in the numbers; zero for an intercept that does not move."""
        ...

    def excess(self, new: Tensor, old: Tensor) -> float:
        """``2 (L(new) - L(old) - <L'(old), new - old>)``, the curvature between two images."""
        ...

    def look(self, point: Point, beta: float) -> tuple[float, float]:
        """Objective and estimated gap. Not a proof."""
        ...

    def finished(self, point: Point) -> Factors:
        """The point's factors, with the intercept in place."""
        ...


def dual_terms(problem: Problem, matrices: list[Tensor]) -> tuple[float, float]:
    """Largest singular value over nuclear parts and the sum of squares over ridge parts of ``A*(theta)``."""
    bound, ridge = 0.0, 0.0
    for part, matrix in zip(problem.parts, matrices, strict=True):
        if part.factored:
            bound = max(bound, float(torch.linalg.matrix_norm(matrix, 2)))
        else:
            ridge += float(matrix.square().sum())
    return bound, ridge


def minimise(
    oracle: Oracle,
    beta: float,
    *,
    tol: float,
    start: Factors | None,
    max_iterations: int,
    check_every: int,
    progress: Progress | None,
) -> Solution:
    """The loop of `solve_proximal`, for any oracle; the certificate is always that of ``oracle.problem``."""
    began = time.perf_counter()
    problem = oracle.problem
    factors = problem.zero() if start is None else problem.balanced(start.to(torch.float64, problem.device), drop=0.0)
    _check_size(problem, factors)
    numbers = [u.flatten(1).T @ v.flatten(1) for u, v in zip(factors.u, factors.v, strict=True)]
    numbers.append(factors.intercept / oracle.unit)
    here = Point(numbers, factors, oracle.image(numbers, factors))
    if not bool(torch.isfinite(here.image).all()):
        raise InputError("the outputs at the start are not finite: look for NaN or infinite values in the tokens")
    ahead, ahead_image, momentum = here.numbers, here.image, 1.0
    size = oracle.unit**2 / 64  # likely too bold a step; the first search finds the right one
    history: list[Round] = []
    proved: tuple[Certificate, Factors] | None = None
    status, target = Status.ROUND_LIMIT, 0.98 * tol
    try:
        for number in range(max_iterations + 1):
            if number % check_every == 0 or number == max_iterations:
                if progress:
                    progress("fit", number, max_iterations)
                primal, gap = oracle.look(here, beta)
                seconds = time.perf_counter() - began
                history.append(Round(seconds, number, primal, gap, _rank(problem, here.factors), "float64"))
                if gap <= target * problem.size(primal):
                    proved = certify(problem, oracle.finished(here), beta)
                    if proved[0].relative_gap <= tol:
                        status = Status.CERTIFIED
                        break
                    proved, target = None, target / 2  # the look was too hopeful: ask it for more
            if number == max_iterations:
                break
            new, size = _step(oracle, ahead, ahead_image, beta, size)
            change = [a - b for a, b in zip(new.numbers, here.numbers, strict=True)]
            if _dot([a - b for a, b in zip(ahead, new.numbers, strict=True)], change) > 0:
                momentum, size = 1.0, size / 2  # a restart is a fresh start, so the step may grow again
            after = (1 + (1 + 4 * momentum * momentum) ** 0.5) / 2
            push, momentum = (momentum - 1) / after, after
            ahead = [a + push * b for a, b in zip(new.numbers, change, strict=True)]
            ahead_image = new.image + push * (new.image - here.image)  # linear, so no pass
            here = new
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    if proved is None:
        proved = certify(problem, oracle.finished(here), beta)
        if proved[0].relative_gap <= tol:
            status = Status.CERTIFIED
    if progress and status is Status.CERTIFIED:
        progress("fit", max_iterations, max_iterations)
    certificate, final = proved
    return Solution(final, certificate, history, status, _rank(problem, final), time.perf_counter() - began)


def _check_size(problem: Problem, factors: Factors) -> None:
    for part, v in zip(problem.parts, factors.v, strict=True):
        numbers = part.p * v.shape[1] * v.shape[2]
        if numbers > MATRIX_LIMIT:
            raise InputError(
                f"the matrix of the {part.block.name} part has {numbers:,} numbers, more than the {MATRIX_LIMIT:,} "
                "that the proximal solver keeps whole: use the factored solver (solve), fewer features or fewer outputs"
            )


def _rank(problem: Problem, factors: Factors) -> int:
    return sum(len(u) for part, u in zip(problem.parts, factors.u, strict=True) if part.factored)


def _dot(a: Numbers, b: Numbers) -> float:
    return sum(float((x * y).sum()) for x, y in zip(a, b, strict=True))


def _step(oracle: Oracle, ahead: Numbers, image: Tensor, beta: float, size: float) -> tuple[Point, float]:
    """Proximal step from ``ahead`` with the first ``size, 2 size, ...`` that bounds the curvature on its way."""
    gradient = oracle.gradient(image)
    for _ in range(200):
        trial = [a - g / size for a, g in zip(ahead, gradient, strict=True)]
        numbers, factors = _proximal(oracle, trial, beta / size)
        new = Point(numbers, factors, oracle.image(numbers, factors))
        move = [a - b for a, b in zip(numbers, ahead, strict=True)]
        moved = _dot(move, move)
        # moves of a few rounding errors have no curvature that could be measured
        if oracle.excess(new.image, image) <= size * moved or moved <= 1e-28 * _dot(ahead, ahead):
            return new, size
        size *= 2
    raise InputError(
        "no proximal step lowers the objective: look for NaN or infinite values in the tokens or the start"
    )


def _proximal(oracle: Oracle, numbers: Numbers, strength: float) -> tuple[Numbers, Factors]:
    """``argmin strength penalty(Z) + |Z - numbers|^2 / 2`` part by part, whole and as factors."""
    problem = oracle.problem
    *matrices, intercept = numbers
    found: Numbers = []
    factors = problem.zero(intercept.dtype)
    for index, (part, matrix) in enumerate(zip(problem.parts, matrices, strict=True)):
        v = factors.v[index]
        if not part.factored:
            found.append(matrix / (1 + strength))
            factors.v[index] = found[-1].view_as(v)
            continue
        left, sigma, right = torch.linalg.svd(matrix, full_matrices=False)
        root = (sigma[sigma > strength] - strength).sqrt()
        left, right = left[:, : len(root)] * root, root[:, None] * right[: len(root)]
        found.append(left @ right)
        factors.u[index] = left.T.reshape(-1, *part.u_shape).contiguous()
        factors.v[index] = right.reshape(-1, *v.shape[1:]).contiguous()
    factors.intercept = intercept * oracle.unit
    return [*found, intercept], factors
