"""A path of betas against its last point alone."""

from __future__ import annotations

from headwise.solvers import beta_grid, beta_max, solve, solve_path, solver_of

from ..context import Context
from ..measure import median, timed
from ..report import Bar, Report, Table, number

__all__ = ["run"]


def run(context: Context) -> Report:
    """Warm starts down a geometric grid; the last point from nothing."""
    sizes, tokens = context.sizes, context.tokens
    problem = context.prepare(tokens, tokens.rows()).problem
    grid = beta_grid(beta_max(problem), sizes.path + 1, sizes.path_ratio)[1:]
    solver = solver_of(problem, "factored")
    solve(problem, float(grid[0]), tol=1e-3)  # the float32 copy of the statistics is made for both alike
    alone, along, points = [], [], []
    for number_ in range(context.repeats):
        context.say(f"path: repeat {number_ + 1}")
        alone.append(timed(lambda: solve(problem, float(grid[-1]), tol=1e-3))[0])
        seconds, points = timed(lambda: list(solve_path(solver, grid, tol=1e-3)))
        along.append(seconds)
    rows = [
        [f"{p.certificate.beta:.2g}", f"{p.certificate.relative_gap:.1e}", p.rank, number(p.seconds)] for p in points
    ]
    ratio = median([a / b for a, b in zip(along, alone, strict=True)])
    said = (
        f"{sizes.path} betas from the largest down to {sizes.path_ratio:g} of it, tolerance 1e-3 each, "
        f"{number(median(along))} s; the last point alone {number(median(alone))} s. Statistics are shared, median of "
        f"{context.repeats}."
    )
    bars = [Bar(f"a {sizes.path}-point path against its last point alone", ratio, 5, "x")]
    return Report("path", said, [Table(("beta", "certified gap", "rank", "seconds"), rows)], bars)
