"""Small problems for the tests of the proximal solvers."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from headwise.blocks.attention import Attention
from headwise.blocks.linear import Linear
from headwise.contracts import TokenShape
from headwise.losses.multinomial import Multinomial
from headwise.losses.squared import Squared
from headwise.penalties.nuclear import Nuclear
from headwise.penalties.ridge import Ridge
from headwise.solvers import HeldPasses, Part, Problem


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
            block = (Attention if kind == "attention" else Linear)(TokenShape(s, d))
            parts.append(Part(block, Ridge() if kind == "ridge" else Nuclear()))
            stats.append(block.statistics(X, pooling))
        made = Squared(Y, c, w) if loss == "squared" else Multinomial(y, c, w)
        problem = Problem(parts, HeldPasses(stats), made, intercept)
        return SimpleNamespace(problem=problem, X=X, y=y, Y=Y, w=w / w.sum())

    return build
