"""Gated MLP with the squared loss and one output, against pyscnn."""

from __future__ import annotations

import numpy as np
import torch

from headwise.blocks.mlp import Mlp
from headwise.contracts import TokenShape
from headwise.gates.gaussian import Gaussian
from headwise.losses.squared import Squared
from headwise.penalties.nuclear import Nuclear
from headwise.solvers import HeldPasses, Part, Problem, beta_max
from headwise.solvers.gram import fits_moments

from ..context import Context
from ..measure import Curve, bounded
from ..peers import scnn
from ..peers.ours import Ours
from ..report import Bar, Report, Table
from .peers import repeated, standing

__all__ = ["run"]

SHARE = 0.05
"""beta over the smallest beta that closes every gate."""
TARGETS = (1e-3, 1e-5)


def problem_of(context: Context, width: int, gates: int) -> tuple[Problem, np.ndarray, np.ndarray, np.ndarray]:
    """Leading whitened features of the mean token, and whether the class is an even one, as plus or minus one."""
    tokens = context.tokens
    rows, prefix = tokens.rows(), tokens.source.num_prefix
    pooled = np.concatenate([c.values[:, prefix:].double().mean(1).numpy() for _, c in tokens.source.chunks(rows)])
    pooled -= pooled.mean(0)
    left, _, _ = np.linalg.svd(pooled, full_matrices=False)
    x = left[:, :width] * len(pooled) ** 0.5
    y = np.where(tokens.labels[rows] % 2 == 0, 1.0, -1.0)[:, None]
    shape = TokenShape(1, x.shape[1])
    values = torch.from_numpy(x)[:, None]
    block = Mlp(shape, gated=True)
    fitted = Gaussian().fit(block, shape, [values], gates, seed=0)
    pooling = torch.ones(len(x), 1, dtype=torch.float64)
    stats = [block.statistics(values, pooling, fitted.values(values, g)) for g in range(fitted.count)]
    parts = [Part(block, Nuclear()) for _ in stats]
    return Problem(parts, HeldPasses(stats), Squared(torch.from_numpy(y), 1), False), x, y, fitted.atoms.numpy()


def run(context: Context) -> Report:
    """To the same objective, without an intercept, which pyscnn does not leave free of the penalty."""
    lines, bars, curves = [], [], []
    reason = scnn.missing()
    for width, gates in context.sizes.mlp:
        problem, x, y, atoms = problem_of(context, width, gates)
        beta = SHARE * beta_max(problem)
        context.say(f"gated_mlp: {width} features, {gates} gates")
        setting = bounded(problem, beta, 1e-7, x=x, y=y, gates=atoms)
        names = ["factored", *(["moments"] if fits_moments(problem) else [])]
        tols = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
        own: dict[float, float] = {}
        for name in names:
            peer = Ours(name, tols)
            for target in TARGETS:
                curve, seconds = repeated(peer, context, setting, float("inf"), target)
                if seconds is not None:
                    own[target] = min(seconds, own.get(target, seconds))
            curves.append(_named(curve, width, gates))
            lines.append([f"{width} x {gates}", f"{TARGETS[-1]:g}", *standing(curve, TARGETS[-1], own[TARGETS[-1]], 0)])
        if reason is not None:
            continue
        for target in TARGETS:
            best: list[float] = []
            budget = context.sizes.cut * max(own[target], 0.2)
            for dtype in ("float32", "float64"):
                curve, seconds = repeated(scnn.Scnn(dtype), context, setting, budget, target)
                curves.append(_named(curve, width, gates))
                lines.append([f"{width} x {gates}", f"{target:g}", *standing(curve, target, own[target], budget)])
                best += [seconds] if seconds is not None else []
            slower = min(best) / own[target] if best else context.sizes.cut
            what = f"pyscnn to {target:g}, {width} features and {gates} gates, slower by"
            bars.append(Bar(what, slower, 5, "x", at_least=True, lower_bound=not best))
    n = context.tokens.num_train
    said = reason or (
        f"{n} samples (mean tokens), one output, Gaussian gates shared by all, {SHARE:g} of the largest beta; ours is "
        f"the faster of its solvers, and its seconds contain the certificate. Median of {context.repeats}."
    )
    header = ("features x gates", "to within", "solver", "seconds", "against headwise", "least gap seen")
    return Report("gated_mlp", said, [Table(header, lines)], bars, curves)


def _named(curve: Curve, width: int, gates: int) -> Curve:
    return Curve(f"{curve.name}, {width} x {gates}", curve.points, curve.said)
