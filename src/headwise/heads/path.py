"""A beta path scored on held-out samples: the table that users read, and how a beta is chosen from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..contracts import Loss, Progress
from ..solvers import Record, Solution, beta_grid, beta_max, solve_path
from ..solvers.path import STEPS
from .fitting import Prepared
from .metric_table import METRICS

__all__ = ["BetaPath", "PathPoint", "choose", "follow_path"]

Rule = Literal["best", "one_standard_error"]

SCORES = {
    "classes": "accuracy",
    "labels": "auroc",
    "numbers": "r2",
    "counts": "poisson_deviance",
    "survival": "concordance",
}
"""What is shown beside the held-out loss, for each kind of target."""


@dataclass(frozen=True)
class PathPoint:
    """One solution of a path and its quality on held-out samples (mean over folds where there are several).

    ``loss`` is the held-out loss, ``loss_error`` its standard error over folds (over samples where there is one fold),
    ``score`` accuracy, area under the curve, R2, deviance or concordance, by the kind of target.
    """

    beta: float
    relative_gap: float
    rank: float
    score: float
    loss: float
    loss_error: float
    seconds: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


class BetaPath(Sequence[PathPoint]):
    """The points of a path, from large to small beta, and the chosen one.

    Examples
    --------
    >>> path = BetaPath([PathPoint(0.1, 1e-4, 2, 0.8, 0.5, 0.01, 0.2)], chosen=0, score_name="accuracy")
    >>> path.chosen.beta
    0.1
    >>> path
         beta  relative gap  rank  accuracy  held-out loss  seconds
    *     0.1        0.0001     2       0.8            0.5      0.2
    * chosen
    """

    def __init__(self, points: Sequence[PathPoint], chosen: int, score_name: str) -> None:
        self.points, self.best, self.score_name = tuple(points), chosen, score_name

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: Any) -> Any:
        return self.points[index]

    @property
    def chosen(self) -> PathPoint:
        return self.points[self.best]

    def to_dict(self) -> list[dict[str, Any]]:
        """One dict for each point, as JSON."""
        return [{**p.to_dict(), "chosen": i == self.best} for i, p in enumerate(self.points)]

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Names of the columns, and the rows as text."""
        names = ["beta", "relative gap", "rank", self.score_name, "held-out loss", "seconds"]
        values = [(p.beta, p.relative_gap, p.rank, p.score, p.loss, p.seconds) for p in self.points]
        return names, [[f"{value:.3g}" for value in row] for row in values]

    def __repr__(self) -> str:
        names, rows = self._table()
        widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
        widths[0] = max(widths[0], 7)
        lines = [
            mark + "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
            for mark, row in zip(
                ["  ", *("* " if i == self.best else "  " for i in range(len(rows)))], [names, *rows], strict=True
            )
        ]
        return "\n".join([*lines, "* chosen"])

    def _repr_html_(self) -> str:
        names, table = self._table()
        rows = [
            f"<tr{' style=font-weight:bold' if i == self.best else ''}>"
            + "".join(f"<td>{text}</td>" for text in row)
            + "</tr>"
            for i, row in enumerate(table)
        ]
        return f"<table><tr>{''.join(f'<th>{n}</th>' for n in names)}</tr>{''.join(rows)}</table>"

    def plot(self, axes: Any = None) -> Any:
        """Held-out loss with its standard error, and rank, against beta; returns the matplotlib axes."""
        import matplotlib.pyplot as plt
        from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

        axes = axes or plt.subplots(figsize=(6, 3.5), layout="constrained")[1]
        beta = [p.beta for p in self.points]
        loss, error = np.array([p.loss for p in self.points]), np.array([p.loss_error for p in self.points])
        axes.plot(beta, loss, "o-", color="#0072B2", label="held-out loss")
        axes.fill_between(beta, loss - error, loss + error, color="#0072B2", alpha=0.2, linewidth=0)
        axes.axvline(self.chosen.beta, color="0.5", linestyle=":", label="chosen")
        axes.set(xscale="log", xlabel="beta (strength of the penalty)", ylabel="held-out loss")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())  # matplotlib's own labels run into each other on short paths
        axes.invert_xaxis()
        ranks = axes.twinx()
        ranks.step(beta, [p.rank for p in self.points], where="mid", color="#D55E00", label="rank")
        ranks.set_ylabel("rank (atoms)")
        ranks.yaxis.set_major_locator(MaxNLocator(integer=True))
        handles = [h for a in (axes, ranks) for h in a.get_legend_handles_labels()[0]]
        axes.legend(handles=handles, loc="best", frameon=False)
        return axes


def held_out_quality(
    loss: Loss, outputs: Tensor, targets: Tensor, labelled: NDArray[np.bool_] | None = None
) -> tuple[float, float, float]:
    """Held-out loss, its standard error over the samples, and the score of the kind of target.

    Where tokens have labels, ``labelled`` ``(n, s)`` says which, and ``targets`` are theirs.
    """
    sample = np.arange(len(outputs))
    if labelled is not None:
        outputs, sample = outputs[torch.from_numpy(labelled.reshape(-1))], np.nonzero(labelled)[0]
    value = float(loss.held_out(outputs, targets))
    error = float("nan")
    ends = [*np.unique(sample, return_index=True)[1].tolist(), len(sample)]
    count = len(ends) - 1
    if loss.kind != "survival" and count > 1:  # a sum over samples; the tokens of one are no independent draws
        spread = np.linspace(0, count - 1, min(count, 500)).astype(int)
        pieces = [slice(ends[i], ends[i + 1]) for i in spread]
        each = torch.stack([loss.held_out(outputs[piece], targets[piece]) for piece in pieces])
        error = float(each.std() / count**0.5)
    metric = METRICS[loss.kind][SCORES[loss.kind]]
    try:
        score = metric.value(loss.link(outputs).numpy(force=True), targets.numpy(force=True))
    except ValueError:
        score = float("nan")
    return value, error, score


def follow_path(
    prepared: Prepared,
    rows: NDArray[Any],
    targets: Tensor,
    *,
    betas: NDArray[Any] | None = None,
    num: int = 12,
    ratio: float = 1e-3,
    tol: float = 1e-3,
    patience: int | None = 2,
    progress: Progress | None = None,
    record: Record | None = None,
    labelled: NDArray[np.bool_] | None = None,
) -> Iterator[tuple[PathPoint, Solution]]:
    """Solve along a grid of betas and score each solution on held-out rows of the same source.

    ``targets`` are those of the rows, or of their tokens that are ``labelled`` ``(n, s)``, one after the other.
    Solutions that ``record`` holds are not solved again. The path ends early once the held-out loss has not improved
    for ``patience`` betas (never where it is None).
    """
    held_out = prepared.on(rows)
    problem = prepared.problem
    grid = beta_grid(beta_max(problem), num + 1, ratio)[1:] if betas is None else np.asarray(betas, dtype=float)
    best, waited = float("inf"), 0
    for solution in solve_path(prepared.solver, grid, tol=tol, record=record, progress=progress):
        loss, error, score = held_out_quality(problem.loss, held_out(solution.factors), targets, labelled)
        certificate = solution.certificate
        point = PathPoint(
            certificate.beta, certificate.relative_gap, solution.rank, score, loss, error, solution.seconds
        )
        yield point, solution
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if patience is not None and waited >= patience:
            break
    if progress:
        progress("path", STEPS * len(grid), STEPS * len(grid))


def choose(points: Sequence[PathPoint], rule: Rule = "best") -> int:
    """Position of the least held-out loss, or of the largest beta within one standard error of it."""
    best = int(np.argmin([p.loss for p in points]))
    if rule == "best" or not np.isfinite(points[best].loss_error):
        return best
    limit = points[best].loss + points[best].loss_error
    return next(i for i, p in enumerate(points) if p.loss <= limit)
