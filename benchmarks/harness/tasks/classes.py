"""Time against the number of classes."""

from __future__ import annotations

from headwise.solvers import beta_max

from ..context import Context
from ..data import pseudo_classes
from ..measure import median
from ..report import Bar, Report, Table, number

__all__ = ["run"]


def run(context: Context) -> Report:
    """Many pseudo-classes against the few real ones, at the same share of the largest beta, from tokens."""
    sizes, tokens = context.sizes, context.tokens
    rows = tokens.rows()
    top = beta_max(context.prepare(tokens, rows).problem)
    share = sizes.beta / top
    many = pseudo_classes(tokens, sizes.classes)
    many_top = beta_max(context.prepare(tokens, rows, labels=many).problem)
    lines, seconds, solving = [], [], []
    for what, labels, beta in (
        (f"{tokens.num_classes}, real", tokens.labels, sizes.beta),
        (f"{sizes.classes}, nearest centroid", many, share * many_top),
    ):
        context.say(f"classes: {what}")
        fits = context.fits(tokens, rows, beta, 1e-3, labels=labels)
        seconds.append(median([fit.seconds for fit in fits]))
        solving.append(median([fit.solution.seconds for fit in fits]))
        certificate = fits[-1].solution.certificate
        lines.append(
            [
                what,
                f"{beta:.2g}",
                f"{certificate.relative_gap:.1e}",
                fits[-1].solution.rank,
                number(solving[-1]),
                number(seconds[-1]),
            ]
        )
    header = ("classes", "beta", "certified gap", "rank", "solve (s)", "total (s)")
    said = (
        f"Tolerance 1e-3, both at {share:.2f} of their largest beta; certificate included. Median of {context.repeats}."
    )
    bars = [
        Bar(f"{sizes.classes} classes against {tokens.num_classes}, from tokens", seconds[1] / seconds[0], 6, "x"),
        Bar("the same, without conditioning", solving[1] / solving[0], 6, "x"),
    ]
    return Report("classes", said, [Table(header, lines)], bars)
