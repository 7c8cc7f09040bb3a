"""Small problems for the tests of the proximal solvers."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from headwise.blocks.attention import Attention
from headwise.blocks.linear import Linear
from headwise.losses.multinomial import Multinomial
from headwise.penalties.nuclear import Nuclear
from headwise.penalties.ridge import Ridge
from headwise.solvers import HeldPasses, Part, Problem


class Squared:
    """``L(f) = sum_i w_i |f_i - y_i|^2 / 2``, no more than the solvers need."""

    name = "squared"

    def __init__(self, targets: torch.Tensor, weights: torch.Tensor) -> None:
        self.targets, self.weights = targets, weights / weights.sum()
        self.num_samples, self.num_outputs = targets.shape

    def value(self, outputs):
        return (self.weights[:, None] * (outputs - self.targets).square()).sum() / 2

    def gradient(self, outputs):
        return self.weights[:, None] * (outputs - self.targets)

    def hessian_product(self, outputs, direction):
        return self.weights[:, None] * direction

    def best_constant(self):
        return self.weights @ self.targets

    def dual_value(self, theta):
        return -(theta.square() / (2 * self.weights[:, None]) + theta * self.targets).sum()

    def repair(self, theta):
        return theta - self.weights[:, None] * theta.sum(0)

    def max_scale(self, theta):
        return 4.0  # the domain has no end; the certificate asks for a number

    def state(self):
        return {"name": self.name}


@pytest.fixture
def make() -> Callable[..., SimpleNamespace]:
    """Problem, tokens X, labels y, targets Y and weights w for parts like ``"linear+attention"``."""

    def build(kinds="attention", loss="multinomial", intercept=True, weighted=True, n=24, s=4, d=3, c=3):
        generator = torch.Generator().manual_seed(0)
        X = torch.randn(n, s, d, generator=generator, dtype=torch.float64)
        y = torch.arange(n) % c
        X[:, 0] += 0.5 * y[:, None]
        Y = X.mean(1) @ torch.randn(d, c, generator=generator, dtype=torch.float64) + y[:, None] + 3
        w = torch.rand(n, generator=generator, dtype=torch.float64) + 0.5 if weighted else torch.ones(n).double()
        pooling = torch.full((n, s), 1 / s, dtype=torch.float64)
        parts, stats = [], []
        for kind in kinds.split("+"):
            block = Attention() if kind == "attention" else Linear()
            parts.append(Part(block, Ridge() if kind == "ridge" else Nuclear(), d))
            stats.append(block.statistics(X, pooling))
        made = Squared(Y, w) if loss == "squared" else Multinomial(y, c, w)
        problem = Problem(parts, HeldPasses(stats), made, intercept)
        return SimpleNamespace(problem=problem, X=X, y=y, Y=Y, w=w / w.sum())

    return build
