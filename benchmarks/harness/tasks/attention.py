"""Certified attention heads from tokens: how long they take."""

from __future__ import annotations

from typing import Any

from headwise import PartSpec

from ..context import Context
from ..measure import median
from ..report import Bar, Report, Table, number

__all__ = ["run"]


def run(context: Context) -> Report:
    """64 components to 1e-3 and 1e-4, with rank-one gates, with 128 components."""
    sizes, tokens = context.sizes, context.tokens
    gated = PartSpec("attention", gate="rank_one", num_gates=sizes.gates)
    cases: list[tuple[str, float, float, dict[str, Any]]] = [
        (f"{sizes.components} components", 1e-3, 12, {}),
        (f"{sizes.components} components", 1e-4, 25, {}),
        (f"{sizes.components} components, {sizes.gates} rank-one gates", 1e-3, 90, {"spec": gated}),
        (f"{sizes.wide} components", 1e-3, 45, {"components": sizes.wide}),
    ]
    rows, bars = [], []
    for what, tol, limit, more in cases:
        context.say(f"attention: {what} to {tol:g}")
        fits = context.fits(tokens, tokens.rows(), sizes.beta, tol, **more)
        total, solution = median([fit.seconds for fit in fits]), fits[-1].solution
        rows.append(
            [
                what,
                f"{tol:g}",
                f"{solution.certificate.relative_gap:.1e}",
                solution.rank,
                f"{solution.certificate.primal:.5f}",
                number(median([fit.condition_s for fit in fits])),
                number(median([fit.solution.seconds for fit in fits])),
                number(total),
                f"{number(min(fit.seconds for fit in fits))} to {number(max(fit.seconds for fit in fits))}",
            ]
        )
        met = total if all(fit.solution.certificate.relative_gap <= tol for fit in fits) else None
        bars.append(Bar(f"{what}, certified gap {tol:g}", met, limit))
    header = (
        "head",
        "tolerance",
        "certified gap",
        "rank",
        "objective",
        "condition (s)",
        "solve (s)",
        "total (s)",
        "range",
    )
    said = (
        f"Attention on {tokens.num_train} x {tokens.source.num_tokens - tokens.source.num_prefix} patch tokens, "
        f"{tokens.num_classes} classes, beta {sizes.beta:g}; from a store of tokens to a certified head, median of "
        f"{context.repeats}."
    )
    return Report("attention", said, [Table(header, rows)], bars)
