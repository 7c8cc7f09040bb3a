"""Adam on the pooled representation: the factored network on the same statistics, mini-batches, a cosine schedule."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch

from headwise.solvers import Factors

from ..measure import Moment, Setting

__all__ = ["PooledAdam", "warm_up"]


def warm_up() -> None:
    """One step of an optimiser: the first one imports half of torch, which is nobody's time."""
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)]).step()


class PooledAdam:
    """The non-convex network with weight decay in its loss, float32; every moment is a run with twice the epochs of the
    one before, so that each has a whole schedule."""

    restarts = True

    def __init__(self, lr: float, atoms: int = 16, batch: int = 250) -> None:
        warm_up()
        self.name = f"Adam on the pooled representation, learning rate {lr:g}"
        self.lr, self.atoms, self.batch = lr, atoms, batch

    def run(self, setting: Setting, budget: float, skip: int = 0) -> Iterator[Moment]:
        epochs = 2**skip
        while True:
            began = time.perf_counter()
            yield Moment(self._train(setting, epochs, budget))
            if time.perf_counter() - began >= budget:
                return
            epochs *= 2

    def _train(self, setting: Setting, epochs: int, budget: float) -> Factors:
        began = time.perf_counter()
        problem, beta = setting.problem, setting.beta
        chunks = list(problem.passes.chunks(torch.float32))
        stats = [
            {k: torch.cat([c[1][i][k] for c in chunks]) for k in chunks[0][1][i]} for i in range(len(problem.parts))
        ]
        labels, n, c = problem.loss.targets, problem.passes.num_samples, problem.loss.num_outputs
        torch.manual_seed(0)
        us = [(0.3 * torch.randn(self.atoms, *part.u_shape) / part.p**0.5).requires_grad_() for part in problem.parts]
        vs = [(0.3 * torch.randn(self.atoms, part.k, c) / part.k**0.5).requires_grad_() for part in problem.parts]
        b = torch.zeros(c, requires_grad=True)
        optimiser = torch.optim.Adam([*us, *vs, b], lr=self.lr)
        steps = epochs * math.ceil(n / self.batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        batches = (which for _ in range(epochs) for which in torch.randperm(n).split(self.batch))
        for which in batches:
            optimiser.zero_grad()
            out = b
            for part, s, u, v in zip(problem.parts, stats, us, vs, strict=True):
                inner = part.block.inner({k: x[which] for k, x in s.items()}, u)
                out = out + inner.flatten(1) @ v.flatten(0, 1)
            decay = sum(x.square().sum() for x in (*us, *vs))
            (torch.nn.functional.cross_entropy(out, labels[which]) + beta / 2 * decay).backward()
            optimiser.step()
            schedule.step()
            if time.perf_counter() - began > budget:
                break
        return Factors([u.detach() for u in us], [v.detach() for v in vs], b.detach())
