"""The linear block with a ridge penalty, against scikit-learn."""

from __future__ import annotations

from headwise import PartSpec

from ..context import Context
from ..measure import bounded, follow
from ..peers.ours import Ours
from ..peers.scikit import Scikit
from ..report import Bar, Report, Table
from .peers import repeated, standing

__all__ = ["run"]

TARGETS = (1e-3, 1e-5)
BETAS = (1e-1, 1e-2, 1e-3)


def run(context: Context) -> Report:
    """From the same features to the same objective."""
    tokens = context.tokens
    lines, bars, curves = [], [], []
    for beta in BETAS:
        context.say(f"linear: beta {beta:g}")
        problem = context.prepare(tokens, tokens.rows(), PartSpec("linear", penalty="ridge")).problem
        setting = bounded(problem, beta, 1e-8)
        for target in TARGETS:
            # the tolerance that ours is asked for is the target: its proof has to hold, not only its objective
            ours, own = repeated(Ours(tols=(target,)), context, setting, float("inf"), target)
            assert own is not None
            budget = context.sizes.cut * max(own, 0.1)
            theirs, seconds = repeated(Scikit(), context, setting, budget, target)
            case = [f"{beta:g}", f"{target:g}"]
            lines += [[*case, *standing(ours, target, own, 0)], [*case, *standing(theirs, target, own, budget)]]
            ratio = None if seconds is None else own / seconds
            bars.append(Bar(f"against scikit-learn, beta {beta:g}, to within {target:g}", ratio, 1.2, "x"))
        for peer in (Ours(tols=(0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)), Scikit()):
            curve = follow(peer, setting, context.sizes.cut, 1e-7)
            curve.name += f", beta {beta:g}"
            curves.append(curve)
    said = (
        f"Multinomial, {tokens.num_train} mean patch tokens with {tokens.source.width} features, ridge penalty; from "
        f"the same features in memory. Ours contains the certificate. Median of {context.repeats}."
    )
    header = ("beta", "to within", "solver", "seconds", "against headwise", "least gap seen")
    return Report("linear", said, [Table(header, lines)], bars, curves)
