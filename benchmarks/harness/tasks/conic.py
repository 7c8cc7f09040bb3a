"""Conic solvers through cvxpy on small attention heads, and on the largest one that they finish."""

from __future__ import annotations

import numpy as np
import torch

from headwise.blocks.attention import Attention
from headwise.contracts import TokenShape
from headwise.losses.multinomial import Multinomial
from headwise.penalties.nuclear import Nuclear
from headwise.solvers import HeldPasses, Part, Problem, beta_max

from ..context import Context
from ..measure import bounded, follow, median
from ..peers.conic import Conic
from ..peers.ours import Ours
from ..report import Bar, Report, Table, number

__all__ = ["run"]

TOKENS = 6
SHARE = 0.1
TARGET = 1e-3


def problem_of(n: int, d: int, c: int) -> Problem:
    """Attention on generated tokens whose first one carries the class."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % c
    values = rng.normal(size=(n, TOKENS, d))
    values[:, 0] += rng.normal(size=(c, d))[y]
    block = Attention(TokenShape(TOKENS, d))
    pooling = torch.full((n, TOKENS), 1 / TOKENS, dtype=torch.float64)
    passes = HeldPasses([block.statistics(torch.from_numpy(values), pooling)])
    return Problem([Part(block, Nuclear())], passes, Multinomial(torch.from_numpy(y), c))


def run(context: Context) -> Report:
    """Larger and larger problems until a solver does not finish in its time."""
    sizes = context.sizes
    lines, bars, curves = [], [], []
    # SCS runs as it comes and with a looser tolerance: first-order digits are cheap
    going = [
        Conic("CLARABEL"),
        Conic("SCS", eps_abs=1e-3, eps_rel=1e-3, max_iters=100_000),
        Conic("SCS", max_iters=100_000),
    ]
    slower: dict[str, tuple[float, str]] = {}
    for n, d, c in sizes.conic:
        if not going:
            break
        problem = problem_of(n, d, c)
        beta = SHARE * beta_max(problem)
        size = f"{n} samples, Z of {d * d} x {d * c}"
        context.say(f"conic: {size}")
        setting = bounded(problem, beta, 1e-7)
        own = median(
            [follow(Ours(tols=(1e-3,)), setting, float("inf"), 0.0).points[0][0] for _ in range(context.repeats)]
        )
        lines.append([size, "headwise, certified 1e-3", number(own), "1 x", "-"])
        left = []
        for peer in going:
            curve = follow(peer, setting, sizes.conic_limit, 0.0)
            if not curve.points:
                lines.append([size, peer.name, curve.said, "-", "-"])
                continue
            seconds, gap = curve.points[0]
            left.append(peer)
            slower[peer.name] = (seconds / own, size)
            lines.append([size, peer.name, number(seconds), f"{seconds / own:.0f} x", f"{gap:.1e}"])
            curve.name += f", {size}"
            curves.append(curve)
        going = left
    for name, (ratio, size) in slower.items():
        bars.append(Bar(f"{name}, largest finished ({size}), slower by", ratio, 100, "x", at_least=True))
    said = (
        f"Attention on {TOKENS} tokens, cross-entropy, {SHARE:g} of the largest beta. A solver that has not finished "
        f"in {sizes.conic_limit:.0f} s is cut and left out of larger problems. Seconds are those that the solver "
        "reports; cvxpy's compilation is not counted."
    )
    return Report(
        "conic", said, [Table(("problem", "solver", "seconds", "against headwise", "gap"), lines)], bars, curves
    )
