"""Quasi-Newton descent on the factors, with an exact line search.

Outputs are bilinear in (u, v), so along a direction they are exactly ``f0 + t f1 + t^2 f2``: one pass over the
statistics
gives the whole line, and every trial step costs only a loss evaluation. Outputs and losses are float64 even where the
passes are float32: they are small, and the rounding of the objective is what stops a line search early.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .metric import GateMetric
from .passes import Stats
from .problem import Factors, Problem

__all__ = ["FactorDescent"]

LEAST_PAIRS, MOST_PAIRS, PAIRS_BYTES = 20, 60, 128 * 2**20
"""Pairs of L-BFGS, the most that take no more than these bytes: heads with gates take up to half as many steps with
60 as with 20, and more gain little."""
HOLD_BYTES = 512 * 2**20  # inner features of the current atoms are kept between passes up to this size


class FactorDescent:
    """L-BFGS on u, v and the intercept of a factored problem.

    Parameters
    ----------
    problem : Problem
    beta : float
    factors : Factors
        Start, in the dtype of the work. Atoms of quadratic parts stay where they are.
    """

    def __init__(self, problem: Problem, beta: float, factors: Factors) -> None:
        self.problem, self.beta = problem, beta
        self.factors = factors.clone()
        self.dtype = factors.intercept.dtype
        width = sum(u.shape[0] * part.k for part, u in zip(problem.parts, factors.u, strict=True))
        size = problem.passes.num_samples * width * factors.intercept.element_size()
        self._inner: list[list[Tensor]] | None = [] if problem.passes.held and 2 * size <= HOLD_BYTES else None
        self.outputs = self._first_pass()
        self.iterations = 0
        self.bound = float("inf")
        """Where every part is quadratic: how far the last step began above the optimum, at most, with b at its best."""
        flat = self._pack(self.factors)
        pair = 2 * flat.numel() * flat.element_size()
        self._most_pairs = min(max(PAIRS_BYTES // max(pair, 1), LEAST_PAIRS), MOST_PAIRS)
        self._metric = GateMetric(problem, beta, self.factors)
        self._pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        self._last: tuple[Tensor, Tensor] | None = None
        self._exact = self.outputs
        """Gradient in the outputs, in float64, that the last step began with."""
        self.value = self._objective(self.outputs, flat)

    # The variables as one flat vector; atoms of quadratic parts are left out.

    def _pack(self, factors: Factors) -> Tensor:
        pieces = [u.flatten() for part, u in zip(self.problem.parts, factors.u, strict=True) if part.factored]
        pieces += [v.flatten() for v in factors.v]
        if self.problem.fit_intercept:
            pieces.append(factors.intercept)
        return torch.cat(pieces)

    def _unpack(self, flat: Tensor, moving: bool = False) -> Factors:
        """Factors of a flat vector; fixed atoms are zero in a direction (``moving``), themselves otherwise."""
        at = 0

        def take(like: Tensor) -> Tensor:
            nonlocal at
            at += like.numel()
            return flat[at - like.numel() : at].view_as(like)

        fixed = torch.zeros_like if moving else torch.Tensor.clone
        u = [take(x) if part.factored else fixed(x) for part, x in zip(self.problem.parts, self.factors.u, strict=True)]
        v = [take(x) for x in self.factors.v]
        b = take(self.factors.intercept) if self.problem.fit_intercept else fixed(self.factors.intercept)
        return Factors(u, v, b)

    def _weights(self, flat: Tensor) -> Tensor:
        """A flat vector without its intercept."""
        return flat[: -self.problem.loss.num_outputs] if self.problem.fit_intercept else flat

    def _objective(self, outputs: Tensor, flat: Tensor) -> float:
        return float(self.problem.loss.value(outputs)) + self.beta / 2 * float(
            self._weights(flat).double().square().sum()
        )

    def _first_pass(self) -> Tensor:
        factors = self.factors
        b = factors.intercept.double()
        out = b.new_zeros(self.problem.passes.num_samples, len(b))
        for rows, stats in self.problem.passes.chunks(self.dtype):
            inner = [part.inner(s, u) for part, s, u in zip(self.problem.parts, stats, factors.u, strict=True)]
            for part, h, v in zip(self.problem.parts, inner, factors.v, strict=True):
                out[rows, part.columns] += h.flatten(1) @ v.flatten(0, 1)
            if self._inner is not None:
                self._inner.append(inner)
        self.problem.passes.processes.add(out)
        return out.add_(b)

    def _inner_of(self, chunk: int, stats: Sequence[Stats]) -> list[Tensor]:
        if self._inner is not None:
            return self._inner[chunk]
        return [part.inner(s, u) for part, s, u in zip(self.problem.parts, stats, self.factors.u, strict=True)]

    def gradient(self) -> Tensor:
        """Gradient at the current point, flat; one pass."""
        self._exact = exact = self.problem.loss.gradient(self.outputs)
        theta = exact.to(self.dtype)
        gu = [torch.zeros_like(u) for u in self.factors.u]
        gv = [torch.zeros_like(v) for v in self.factors.v]
        for chunk, (rows, stats) in enumerate(self.problem.passes.chunks(self.dtype)):
            for index, (part, h) in enumerate(zip(self.problem.parts, self._inner_of(chunk, stats), strict=True)):
                v, own = self.factors.v[index], theta[rows, part.columns]
                gv[index] += (h.flatten(1).T @ own).view_as(v)
                if part.factored and len(v):
                    back = (own @ v.flatten(0, 1).T).view_as(h)
                    gu[index] += part.block.inner_adjoint(stats[index], back)
        self.problem.passes.processes.add(*gu, *gv)
        found = self._pack(Factors(gu, gv, torch.zeros_like(self.factors.intercept)))
        found += self.beta * self._pack(self.factors)
        if self.problem.fit_intercept:
            found[-self.problem.loss.num_outputs :] = exact.sum(0).to(self.dtype)
        return found

    def _direction(self, gradient: Tensor) -> Tensor:
        """L-BFGS two-loop recursion (Nocedal and Wright, algorithm 7.4) from the metric of the gates."""
        q = gradient.clone()
        self._metric.refresh(self.factors, self.outputs)
        alphas = []
        for s, y, rho in reversed(self._pairs):
            alpha = rho * (s @ q)
            q -= alpha * y
            alphas.append(alpha)
        q = self._scaled(q)
        if self._pairs:
            s, y, rho = self._pairs[-1]
            q *= 1 / (rho * (y @ self._scaled(y)))
        for (s, y, rho), alpha in zip(self._pairs, reversed(alphas), strict=True):
            q += (alpha - rho * (y @ q)) * s
        return -q

    def _scaled(self, flat: Tensor) -> Tensor:
        return self._pack(self._metric.solve(self._unpack(flat, moving=True))) if self._metric else flat

    def _line(self, step: Factors) -> tuple[Tensor, Tensor, list[list[Tensor]] | None]:
        """First and second coefficients of the outputs along ``step``, and the inner features of its atoms."""
        problem = self.problem
        first = torch.zeros_like(self.outputs)
        second = torch.zeros_like(self.outputs)
        kept: list[list[Tensor]] | None = [] if self._inner is not None else None
        for chunk, (rows, stats) in enumerate(problem.passes.chunks(self.dtype)):
            moved = []
            for index, (part, h) in enumerate(zip(problem.parts, self._inner_of(chunk, stats), strict=True)):
                v, dv = self.factors.v[index].flatten(0, 1), step.v[index].flatten(0, 1)
                first[rows, part.columns] += h.flatten(1) @ dv
                dh = h
                if part.factored and len(v):
                    dh = part.block.inner(stats[index], step.u[index])
                    both = dh.flatten(1) @ torch.cat([v, dv], dim=1)
                    first[rows, part.columns] += both[:, : v.shape[1]]
                    second[rows, part.columns] += both[:, v.shape[1] :]
                moved.append(dh)
            if kept is not None:
                kept.append(moved)
        problem.passes.processes.add(first, second)
        return first.add_(step.intercept), second, kept

    def step(self, enough: float = 0.0) -> float:
        """One iteration. Returns the decrease of the objective, 0 where none was found or `bound` is ``enough``."""
        gradient = self.gradient()
        flat = self._pack(self.factors)
        if not any(part.factored for part in self.problem.parts):  # strongly convex, with modulus beta
            self.bound = float(self._weights(gradient).double().square().sum()) / (2 * self.beta)
            if self.bound <= enough:
                return 0.0
        if self._last is not None:
            s, y = flat - self._last[0], gradient - self._last[1]
            if float(s @ y) > 1e-10 * float(s.norm() * y.norm()):
                self._pairs = [*self._pairs[1 - self._most_pairs :], (s, y, 1 / (s @ y))]
        direction = self._direction(gradient)
        if float(direction @ gradient) >= 0:
            self._pairs, direction = [], -gradient
        self._last = (flat, gradient)
        step = self._unpack(direction, moving=True)
        first, second, kept = self._line(step)
        t, value = self._search(flat, direction, first, second)
        decrease = self.value - value
        if t == 0 or decrease <= 0:
            self._pairs = []  # the same pairs would give the same direction: go on with the gradient alone
            return 0.0
        self.factors = self._unpack(flat + t * direction)
        self.outputs = self.outputs + t * first + t * t * second
        if self._inner is not None and kept is not None:
            for inner, moved in zip(self._inner, kept, strict=True):
                for part, h, dh in zip(self.problem.parts, inner, moved, strict=True):
                    if part.factored:
                        h.add_(dh, alpha=t)
        self.value = value
        self.iterations += 1
        return decrease

    def _search(self, flat: Tensor, direction: Tensor, first: Tensor, second: Tensor) -> tuple[float, float]:
        """Minimum along the line by safeguarded Newton steps on the exact one-dimensional objective."""
        loss = self.problem.loss
        flat, direction = self._weights(flat).double(), self._weights(direction).double()
        xx, xd, dd = float(flat @ flat), float(flat @ direction), float(direction @ direction)

        def at(t: float) -> tuple[float, float]:
            outputs = self.outputs + t * first + t * t * second
            velocity = first + 2 * t * second
            slope = float((loss.gradient(outputs) * velocity).sum()) + self.beta * (xd + t * dd)
            return float(loss.value(outputs)) + self.beta / 2 * (xx + 2 * t * xd + t * t * dd), slope

        low, high, t = 0.0, float("inf"), 1.0
        value0, slope0 = self.value, float((self._exact * first).sum()) + self.beta * xd
        best = (0.0, value0)
        if slope0 >= 0:  # descent in float32 only: rounding decides, there is nothing to gain
            return best
        if not self._pairs:  # the direction has no scale yet: a Newton step along the line
            bent = loss.hessian_product(self.outputs, first) * first + 2 * self._exact * second
            curve = float(bent.sum()) + self.beta * dd
            t = -slope0 / curve if curve > 0 else t
        slope_low, higher = slope0, value0 + 4 * self.problem.rounding  # up to there it may be rounding: slopes decide
        for _ in range(12):
            value, slope = at(t)
            if value < best[1]:
                best = (t, value)
            if abs(slope) <= 0.1 * abs(slope0):
                if value <= value0 + 1e-4 * t * slope0:
                    break
                if value <= higher:  # approximate Wolfe conditions (Hager and Zhang 2005): less than a value can show
                    return t, value0 + t * (slope0 + slope) / 2
            if slope > 0 or value > higher:
                high = t
                # secant on the slopes, kept inside the bracket
                guess = low + (t - low) * slope_low / (slope_low - slope) if slope > 0 else (low + t) / 2
                t = min(max(guess, low + 0.1 * (high - low)), high - 0.1 * (high - low))
            else:
                guess = t - slope * (t - low) / (slope - slope_low) if slope > slope_low else 2 * t
                low, slope_low = t, slope
                t = min(max(guess, 1.2 * t), 4 * t) if high == float("inf") else (low + high) / 2
            if high - low < 1e-3 * max(high, 1e-12):
                break
        return best
