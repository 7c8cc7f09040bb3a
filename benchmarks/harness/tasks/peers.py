"""The attention head against other ways of solving the same problem: gap against seconds."""

from __future__ import annotations

from ..context import Context
from ..measure import Curve, Peer, bounded, follow, median
from ..peers.ours import Ours
from ..peers.pooled_adam import PooledAdam
from ..peers.proximal import Proximal
from ..peers.textbook import Textbook
from ..peers.token_adamw import TokenAdamW
from ..report import Bar, Report, Table, number

__all__ = ["run", "standing"]

TARGET = 1e-3


def standing(curve: Curve, target: float, ours: float, budget: float) -> list[str]:
    """One row: seconds to the target, against ours, and the gap that was left."""
    seconds = curve.seconds_to(target)
    left = "-" if curve.best is None else f"{curve.best:.1e}"
    if seconds is None:
        return [curve.name, curve.said or f"cut at {number(budget)}", "-", left]
    return [curve.name, number(seconds), f"{seconds / ours:.1f} x", left]


def repeated(peer: Peer, context: Context, setting: object, budget: float, target: float) -> tuple[Curve, float | None]:
    """The first curve, and the median seconds to the target; a peer that was cut once is not run again.

    Of a peer with restarts only the run that got there is repeated.
    """
    curves = [follow(peer, setting, budget, target)]  # type: ignore[arg-type]
    skip = len(curves[0].points) - 1 if peer.restarts else 0
    while curves[-1].seconds_to(target) is not None and len(curves) < context.repeats:
        curves.append(follow(peer, setting, budget, target, skip))  # type: ignore[arg-type]
    times = [t for t in (curve.seconds_to(target) for curve in curves) if t is not None]
    return curves[0], median(times) if times and len(times) == len(curves) else None


def run(context: Context) -> Report:
    """Solvers on the statistics, which all share; AdamW over tokens against the whole fit from tokens."""
    sizes, tokens = context.sizes, context.tokens
    fit = context.fit(tokens, tokens.rows(), sizes.beta, TARGET)
    context.say("peers: bound of the optimum")
    setting = bounded(fit.prepared.problem, sizes.beta, prepared=fit.prepared)
    ours = follow(Ours(), setting, float("inf"), 0.0)  # the whole curve, down to the last tolerance
    own = median(
        [follow(Ours(tols=(TARGET,)), setting, float("inf"), 0.0).points[0][0] for _ in range(context.repeats)]
    )
    whole, budget = own + fit.condition_s, sizes.cut * own
    curves, rows, bars = [ours], [[ours.name, number(own), "1 x", f"{ours.best:.1e}"]], []

    def compare(peer: Peer, against: float) -> float | None:
        context.say(f"peers: {peer.name}, cut at {sizes.cut * against:.0f} s")
        curve, seconds = repeated(peer, context, setting, sizes.cut * against, TARGET)
        curves.append(curve)
        rows.append(standing(curve, TARGET, against, sizes.cut * against))
        if seconds is not None:
            rows[-1][1:3] = [number(seconds), f"{seconds / against:.1f} x"]
        context.say(", ".join(rows[-1]))  # a run of an hour shows what it has
        return seconds

    compare(Proximal(first=budget / 16), own)
    compare(Textbook(), own)
    pooled = [compare(PooledAdam(lr, sizes.atoms), own) for lr in sizes.learning_rates]
    conditioned = TokenAdamW.conditioned(setting)
    over_tokens = [compare(TokenAdamW(lr, conditioned, sizes.atoms), whole) for lr in sizes.token_learning_rates]
    for what, found, against, limit in (
        ("Adam on the pooled representation, best learning rate, slower by", pooled, own, 2),
        ("AdamW over tokens, best learning rate, slower by", over_tokens, whole, 50),
    ):
        reached = [t for t in found if t is not None]
        slower = min(reached) / against if reached else sizes.cut
        bars.append(Bar(what, slower, limit, "x", at_least=True, lower_bound=not reached))
    header = ("solver", f"seconds to within {TARGET:g} of the proved optimum", "against headwise", "least gap seen")
    said = (
        f"The same objective for all: {tokens.num_train} samples, {sizes.components} components and a constant, "
        f"{tokens.num_classes} classes, beta {sizes.beta:g}, {sizes.atoms} atoms for Adam. Solvers start from the same "
        f"statistics ({number(fit.condition_s)} s, not counted for any of them); AdamW over tokens starts from "
        f"conditioned tokens and is held against our fit from raw tokens ({number(whole)} s). Optimum at least "
        f"{setting.lower:.6f}, proved."
    )
    return Report(
        "peers", said, [Table(header, rows)], bars, curves, {"lower": setting.lower, "own": own, "whole": whole}
    )
