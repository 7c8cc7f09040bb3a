"""FISTA as the textbook has it: backtracking, no restart, whole matrices Z, nothing taken from the package's loop."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from headwise.solvers import Factors, Problem

from ..measure import Moment, Setting

__all__ = ["Textbook", "factors_of"]


def factors_of(problem: Problem, matrices: list[Tensor], intercept: Tensor) -> Factors:
    """Whole matrices Z as factors, by singular value decomposition."""
    factors = problem.zero()
    for index, (part, z) in enumerate(zip(problem.parts, matrices, strict=True)):
        v = factors.v[index]
        if not part.factored:
            factors.v[index] = z.view_as(v)
            continue
        left, sigma, right = torch.linalg.svd(z, full_matrices=False)
        keep = sigma > 1e-12 * sigma.max().clamp(min=1e-300)
        root = sigma[keep].sqrt()
        factors.u[index] = (left[:, keep] * root).T.reshape(-1, *part.u_shape).contiguous()
        factors.v[index] = (right[keep] * root[:, None]).reshape(-1, *v.shape[1:]).contiguous()
    factors.intercept = intercept.clone()
    return factors


class Textbook:
    """Beck and Teboulle 2009, algorithm with backtracking; moments are stations of one run."""

    name, restarts = "FISTA on Z, textbook", False

    def run(self, setting: Setting, budget: float, skip: int = 0) -> Iterator[Moment]:
        problem, beta = setting.problem, setting.beta
        loss = problem.loss
        start = problem.zero()
        z = [u.flatten(1).T @ v.flatten(1) for u, v in zip(start.u, start.v, strict=True)]
        b, image = start.intercept, problem.outputs(start)
        y, yb, y_image, t, lipschitz = z, b, image, 1.0, 1.0
        spent = shown = 0.0
        while True:
            began = time.perf_counter()
            theta = loss.gradient(y_image)
            gradients, value = problem.adjoint(theta), float(loss.value(y_image))
            slope_b = theta.sum(0) if problem.fit_intercept else torch.zeros_like(b)
            while True:
                new, factors = self._prox(problem, y, gradients, lipschitz, beta, yb - slope_b / lipschitz)
                new_b, new_image = factors.intercept, problem.outputs(factors)
                moves = [a - c for a, c in zip(new, y, strict=True)]
                square = sum(float(m.square().sum()) for m in moves) + float((new_b - yb).square().sum())
                slope = sum(float((g * m).sum()) for g, m in zip(gradients, moves, strict=True))
                slope += float(slope_b @ (new_b - yb))
                if float(loss.value(new_image)) <= value + slope + lipschitz / 2 * square + 1e-12 * abs(value):
                    break
                lipschitz *= 2
            after = (1 + (1 + 4 * t * t) ** 0.5) / 2
            push = (t - 1) / after
            y = [a + push * (a - c) for a, c in zip(new, z, strict=True)]
            yb, y_image = new_b + push * (new_b - b), new_image + push * (new_image - image)
            z, b, image, t = new, new_b, new_image, after
            spent += time.perf_counter() - began
            if spent - shown > max(0.05, 0.1 * shown):
                shown = spent
                yield Moment(factors)

    @staticmethod
    def _prox(
        problem: Problem, y: list[Tensor], gradients: list[Tensor], lipschitz: float, beta: float, b: Tensor
    ) -> tuple[list[Tensor], Factors]:
        found = []
        factors = problem.zero()
        for index, (part, a, g) in enumerate(zip(problem.parts, y, gradients, strict=True)):
            step, v = a - g / lipschitz, factors.v[index]
            if not part.factored:
                found.append(step / (1 + beta / lipschitz))
                factors.v[index] = found[-1].view_as(v)
                continue
            left, sigma, right = torch.linalg.svd(step, full_matrices=False)
            root = (sigma[sigma > beta / lipschitz] - beta / lipschitz).sqrt()
            left, right = left[:, : len(root)] * root, root[:, None] * right[: len(root)]
            found.append(left @ right)
            factors.u[index] = left.T.reshape(-1, *part.u_shape).contiguous()
            factors.v[index] = right.reshape(-1, *v.shape[1:]).contiguous()
        factors.intercept = b
        return found, factors
