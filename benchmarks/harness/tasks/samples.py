"""Time against the number of samples, the certificate's fixed cost apart."""

from __future__ import annotations

import numpy as np

from headwise.solvers.bounds import exact_bound

from ..context import Context, Fit
from ..measure import median, timed
from ..report import Bar, Report, Table, number

__all__ = ["run"]


def run(context: Context) -> Report:
    """Fits on the first n samples of one store, and the exponent of a power law through their medians."""
    sizes, tokens = context.sizes, context.many_tokens
    order = np.random.default_rng(0).permutation(tokens.num_train)
    few = context.fit(tokens, np.sort(order[: min(sizes.counts)]), sizes.beta, 1e-3)
    fixed = median([_bound_seconds(few) for _ in range(context.repeats)])
    rows, times, solving = [], [], []
    for n in sizes.counts:
        context.say(f"samples: {n}")
        fits = context.fits(tokens, np.sort(order[:n]), sizes.beta, 1e-3)
        times.append(median([fit.seconds for fit in fits]))
        solving.append(median([fit.solution.seconds for fit in fits]))
        gap = fits[-1].solution.certificate.relative_gap
        rows.append([n, f"{gap:.1e}", fits[-1].solution.rank, number(times[-1] - solving[-1]), number(solving[-1])])
        rows[-1] += [number(times[-1])]

    def exponent(seconds: list[float]) -> float:
        left = np.maximum(np.asarray(seconds) - fixed, 1e-6)
        return float(np.polyfit(np.log(sizes.counts), np.log(left), 1)[0])

    header = ("samples", "certified gap", "rank", "condition (s)", "solve (s)", "total (s)")
    said = (
        f"Attention, {sizes.components} components, beta {sizes.beta:g}, tolerance 1e-3, median of {context.repeats}; "
        f"the certificate's fixed cost is {number(fixed)} s. Exponent of the solver alone: {exponent(solving):.2f}."
    )
    bars = [Bar("exponent of time against n, from tokens", exponent(times), 1.1, "")]
    return Report(
        "samples", said, [Table(header, rows)], bars, numbers={"fixed": fixed, "solve_exponent": exponent(solving)}
    )


def _bound_seconds(fit: Fit) -> float:
    """Seconds of the exact spectral bound of A*(theta), whose size does not depend on the samples."""
    problem = fit.prepared.problem
    theta = problem.loss.gradient(problem.outputs(fit.solution.factors))
    return sum(timed(lambda matrix=matrix: exact_bound(matrix))[0] for matrix in problem.adjoint(theta))
