"""Accelerated proximal gradient on whole matrices Z, singular values thresholded, for any oracle of the loss."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from ..contracts import Progress
from ..errors import InputError
from .certificate import Certificate, certify
from .problem import Factors, Problem
from .solution import Round, Solution, Status

__all__ = ["MATRIX_LIMIT", "Iterate", "Numbers", "Oracle", "Point", "dual_terms", "minimise", "stacked"]

MATRIX_LIMIT = 2_000_000
"""Most numbers in the matrix Z of one part: each iteration takes its singular value decomposition."""

Numbers = list[Tensor]
"""Matrices Z of alike parts, ``(parts, p, k c)`` for each of `Problem.alike`, then the intercept ``(c,)`` in units of
`Oracle.unit`."""


class Iterate:
    """One point of the loop: its numbers, and the same as atoms when asked.

    Parameters
    ----------
    problem : Problem
    numbers : list of Tensor
    atoms : list of (Tensor, Tensor) or None
        Balanced left and right atoms of each stack, ``(parts, p, r)`` and ``(parts, r, k c)``; None for ridge parts.
    unit : float
        That of the intercept.
    """

    def __init__(
        self, problem: Problem, numbers: Numbers, atoms: list[tuple[Tensor, Tensor] | None], unit: float
    ) -> None:
        self.problem, self.numbers, self._atoms, self._unit = problem, numbers, atoms, unit

    @classmethod
    def of(cls, problem: Problem, factors: Factors, unit: float) -> Iterate:
        """Some factors, which have to be balanced."""
        whole = [u.flatten(1).T @ v.flatten(1) for u, v in zip(factors.u, factors.v, strict=True)]
        found = cls(problem, [*stacked(problem, whole), factors.intercept / unit], [], unit)
        found.factors = factors
        return found

    @cached_property
    def factors(self) -> Factors:
        """As the other solvers have them; atoms of size zero are left out."""
        found = self.problem.zero(self.numbers[-1].dtype)
        for indices, whole, atoms in zip(self.problem.alike, self.numbers, self._atoms, strict=False):
            for place, index in enumerate(indices):
                v = found.v[index]
                if atoms is None:
                    found.v[index] = whole[place].view_as(v)
                    continue
                left, right = atoms[0][place], atoms[1][place]
                open_ = right.abs().amax(1) > 0
                found.u[index] = left[:, open_].T.reshape(-1, *self.problem.parts[index].u_shape).contiguous()
                found.v[index] = right[open_].reshape(-1, *v.shape[1:]).contiguous()
        found.intercept = self.numbers[-1] * self._unit
        return found


def stacked(problem: Problem, matrices: list[Tensor]) -> Numbers:
    """Matrices of the parts, alike ones as one tensor."""
    return [torch.stack([matrices[index] for index in indices]) for indices in problem.alike]


@dataclass(frozen=True)
class Point:
    """An iterate with its image under the oracle."""

    iterate: Iterate
    image: Tensor


class Oracle(Protocol):
    """The loss as the loop sees it: a function of an image that is linear in the numbers."""

    @property
    def problem(self) -> Problem: ...

    @property
    def unit(self) -> float:
        """Size of the features. The intercept is the weight of a constant feature of this size."""
        ...

    def image(self, iterate: Iterate) -> Tensor:
        """Image of an iterate, from its numbers or its factors, whichever is cheaper."""
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


def dual_terms(problem: Problem, stacks: Numbers) -> tuple[float, float]:
    """Largest singular value over nuclear parts and the sum of squares over ridge parts of ``A*(theta)``."""
    bound, ridge = 0.0, 0.0
    for indices, stack in zip(problem.alike, stacks, strict=True):
        if problem.parts[indices[0]].factored:
            bound = max(bound, float(torch.linalg.matrix_norm(stack, 2).max()))
        else:
            ridge += float(stack.square().sum())
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
    first = Iterate.of(problem, factors, oracle.unit)
    here = Point(first, oracle.image(first))
    if not bool(torch.isfinite(here.image).all()):
        raise InputError("the outputs at the start are not finite: look for NaN or infinite values in the tokens")
    ahead, ahead_image, momentum = first.numbers, here.image, 1.0
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
                history.append(Round(seconds, number, primal, gap, _rank(problem, here.iterate.factors), "float64"))
                if gap <= target * problem.size(primal):
                    proved = certify(problem, oracle.finished(here), beta)
                    if proved[0].relative_gap <= tol:
                        status = Status.CERTIFIED
                        break
                    proved, target = None, target / 2  # the look was too hopeful: ask it for more
            if number == max_iterations:
                break
            new, size = _step(oracle, ahead, ahead_image, beta, size)
            there = new.iterate.numbers
            change = [a - b for a, b in zip(there, here.iterate.numbers, strict=True)]
            if _dot([a - b for a, b in zip(ahead, there, strict=True)], change) > 0:
                momentum, size = 1.0, size / 2  # a restart is a fresh start, so the step may grow again
            after = (1 + (1 + 4 * momentum * momentum) ** 0.5) / 2
            push, momentum = (momentum - 1) / after, after
            ahead = [a + push * b for a, b in zip(there, change, strict=True)]
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
        iterate = _proximal(oracle, trial, beta / size)
        new = Point(iterate, oracle.image(iterate))
        move = [a - b for a, b in zip(iterate.numbers, ahead, strict=True)]
        moved = _dot(move, move)
        # moves of a few rounding errors have no curvature that could be measured
        if oracle.excess(new.image, image) <= size * moved or moved <= 1e-28 * _dot(ahead, ahead):
            return new, size
        size *= 2
    raise InputError(
        "no proximal step lowers the objective: look for NaN or infinite values in the tokens or the start"
    )


def _proximal(oracle: Oracle, numbers: Numbers, strength: float) -> Iterate:
    """``argmin strength penalty(Z) + |Z - numbers|^2 / 2``, all alike parts at once."""
    problem = oracle.problem
    *stacks, intercept = numbers
    found: Numbers = []
    atoms: list[tuple[Tensor, Tensor] | None] = []
    for indices, stack in zip(problem.alike, stacks, strict=True):
        if not problem.parts[indices[0]].factored:
            found.append(stack / (1 + strength))
            atoms.append(None)
            continue
        left, sigma, right = _svd(stack)
        root = (sigma - strength).clamp(min=0).sqrt()
        left, right = left * root[:, None, :], root[:, :, None] * right
        found.append(left @ right)
        atoms.append((left, right))
    return Iterate(problem, [*found, intercept], atoms, oracle.unit)


def _svd(stack: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin singular value decompositions of ``(parts, p, q)``; one column is its length times a direction."""
    if stack.shape[2] > 1:
        return torch.linalg.svd(stack, full_matrices=False)
    sigma = torch.linalg.vector_norm(stack, dim=1)
    return stack / sigma[:, None].clamp(min=torch.finfo(stack.dtype).tiny), sigma, torch.ones_like(sigma)[:, None]
