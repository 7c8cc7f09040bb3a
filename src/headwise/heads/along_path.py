"""Fitting along a certified path, choosing beta, and fitting again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..contracts import Progress
from ..errors import InputError
from ..losses import LOSSES
from ..solvers import Solution, beta_grid, beta_max, check_solver
from ..tokens import num_views
from .base import EstimatedHead, warn_unproved
from .fitting import Prepared
from .folds import check_folds, make_folds
from .path import SCORES, BetaPath, PathPoint, Rule, choose, follow_path
from .record import PathRecord
from .targets import Targets, bind

__all__ = ["AlongPath"]


class AlongPath(EstimatedHead):
    """Fitting a path, choosing beta, and fitting again."""

    betas: int | ArrayLike
    ratio: float
    cv: Any
    validation: float
    rule: Rule
    refit: bool
    max_rounds: int
    seed: int
    checkpoint: str | Path | None

    def fit(
        self,
        X: Any,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        mask: Any = None,
        groups: ArrayLike | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """Fit the path on each fold, choose beta, and refit if asked; parameters as in `HeadClassifier.fit`.

        Held-out samples are scored without weights, and by view 0 where a store has several. ``groups`` (those of a
        store by default) keep samples of one group on one side of every split; the views and the tokens of a sample
        always are. Where tokens have labels, folds are not stratified.
        """
        source = self._open(X, mask)
        folds = make_folds(
            source,
            lambda rows: self._targets(y, source, rows),
            groups,
            cv=self.cv,
            validation=self.validation,
            seed=self.seed,
        )
        every = np.unique(np.concatenate([rows for fold in folds for rows in fold]))
        targets = self._targets(y, source, every)
        check_folds(folds, every, targets)
        weights = self._weights(sample_weight, source, every, targets)
        loss = bind(self.loss, targets, weights, self.loss_options, num_views(source))  # what no fold can have
        check_solver(self.solver, loss)

        def part(rows: NDArray[Any]) -> tuple[Targets, NDArray[Any] | None]:
            where = np.searchsorted(every, rows)
            return targets[where], None if weights is None else weights[where]

        grid, paths, kept = self._grid(), list[list[PathPoint]](), list[Solution]()
        prepared: Prepared | None = None
        for number, (train, held_out) in enumerate(folds, 1):
            own, own_weights = part(train)
            other = part(held_out)[0]
            prepared = None  # its statistics go before those of the next fold come
            try:
                prepared = self._prepare(source, train, own, own_weights, progress)
            except InputError as error:
                if len(folds) == 1:
                    raise
                raise InputError(f"training samples of fold {number} of {len(folds)}: {error}") from None
            if grid is None:
                count = int(self.betas)  # type: ignore[arg-type]
                grid = beta_grid(beta_max(prepared.problem), count + 1, self.ratio)[1:]
            steps = follow_path(
                prepared,
                held_out,
                other.known,
                betas=grid,
                tol=self.tol,
                patience=None if paths else 2,
                record=self._record(prepared, own),
                progress=progress,
                labelled=other.labelled,
            )
            points = []
            for point, solution in steps:
                points.append(point)
                if len(folds) == 1:
                    kept.append(solution)
            grid = np.asarray([p.beta for p in points])  # later folds go as far as the first
            paths.append(points)
        assert prepared is not None
        points = [_mean(each) for each in zip(*paths, strict=True)]
        best = choose(points, self.rule)
        self.path_ = BetaPath(points, best, SCORES[LOSSES.get(self.loss).kind])
        self.beta_ = points[best].beta
        if self.refit or not kept:
            own, own_weights = part(every)
            prepared = None
            prepared = self._prepare(source, every, own, own_weights, progress)
            solution = prepared.solver(self.beta_, tol=self.tol, progress=progress)
        else:
            solution = kept[best]
        warn_unproved(solution, self.tol)
        self._keep(prepared, solution, targets)
        return self

    def _record(self, prepared: Prepared, targets: Targets) -> PathRecord | None:
        """Where the solutions of one fold are kept."""
        if self.checkpoint is None:
            return None
        return PathRecord.of(self.checkpoint, prepared, targets.values, [self.solver, self.max_rounds, self.tol])

    def _grid(self) -> NDArray[Any] | None:
        grid = np.asarray(self.betas, dtype=float)
        return None if grid.ndim == 0 else np.sort(grid)[::-1]


def _mean(points: Sequence[PathPoint]) -> PathPoint:
    """One beta over all folds; the standard error of the loss is that over folds."""
    if len(points) == 1:
        return points[0]
    losses = [p.loss for p in points]
    return PathPoint(
        points[0].beta,
        max(p.relative_gap for p in points),
        float(np.mean([p.rank for p in points])),
        float(np.mean([p.score for p in points])),
        float(np.mean(losses)),
        float(np.std(losses, ddof=1) / len(losses) ** 0.5),
        float(np.sum([p.seconds for p in points])),
    )
