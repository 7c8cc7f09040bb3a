"""Estimators that choose beta along a certified path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..contracts import GateFamily, Progress
from ..errors import InputError
from ..losses import LOSSES
from ..solvers import Solution, beta_grid, beta_max, check_solver
from ..tokens import num_views
from .base import EstimatedHead, warn_unproved
from .conditioning import Conditioner
from .fitting import Prepared
from .folds import check_folds, make_folds
from .parts import PartSpec
from .path import SCORES, BetaPath, PathPoint, Rule, choose, follow_path
from .predicting import ClassifierHead, RegressorHead
from .record import PathRecord
from .targets import Targets, bind

__all__ = ["HeadClassifierCV", "HeadRegressorCV"]


class _AlongAPath(EstimatedHead):
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


class HeadClassifierCV(ClassifierHead, _AlongAPath):
    """A head for classes with beta chosen along a certified path on held-out samples.

    Parameters
    ----------
    block, tol, loss, loss_options, class_weight, gate, num_gates, gate_seed, condition, n_components, num_prefix
        As in `HeadClassifier`.
    grid, fit_intercept, solver, max_rounds, max_memory, device
        As in `HeadClassifier`.
    betas : array or int
        Betas to try, or how many on a geometric grid down from the largest that has any atoms. The path ends early once
        the held-out loss has not improved for two betas.
    ratio : float
        Smallest beta of that grid over the largest.
    cv : int, splitter or iterable, optional
        K folds (stratified by class, never through a group), a scikit-learn splitter, or pairs of row arrays. By
        default one split: the "val" part of a store that has one, else a share of the samples.
    validation : float
        That share.
    rule : {"best", "one_standard_error"}
        Least held-out loss, or the largest beta within one standard error of it.
    refit : bool
        Fit again on training and held-out samples together at the chosen beta (always so with several folds). The
        certificate is always that of the samples of the last fit.
    seed : int
        Decides which samples are held out.
    checkpoint : path, optional
        Folder where every solution of the path is kept as soon as it is there: the same fit, stopped and started again,
        goes on from them. Delete it when the model is saved.

    Attributes
    ----------
    path_ : BetaPath
        Beta, gap, rank, held-out scores and seconds of every solution; ``path_.plot()``.
    beta_ : float
        The chosen beta.
    certificate_, rank_, intercept_, classes_, head_, n_features_in_, feature_names_in_
        As in `HeadClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(80, 5, 4)), np.repeat([0, 1], 40)
    >>> X[y == 1, :, 0] += 1
    >>> model = HeadClassifierCV("attention", betas=4, n_components=4).fit(X, y)
    >>> model.beta_ in [point.beta for point in model.path_]
    True
    """

    def __init__(
        self,
        block: str | PartSpec | Sequence[PartSpec] = "default",
        betas: int | ArrayLike = 12,
        tol: float = 1e-3,
        *,
        loss: str = "multinomial",
        loss_options: Mapping[str, Any] | None = None,
        class_weight: Any = None,
        ratio: float = 1e-3,
        cv: Any = None,
        validation: float = 0.2,
        rule: Rule = "best",
        refit: bool = True,
        gate: str | GateFamily = "none",
        num_gates: int = 8,
        gate_seed: int = 0,
        condition: Conditioner | bool = True,
        n_components: int | None = 64,
        num_prefix: int = 0,
        grid: tuple[int, int] | None = None,
        fit_intercept: bool = True,
        solver: str = "auto",
        max_rounds: int = 60,
        max_memory: int | str | None = None,
        device: str = "cpu",
        seed: int = 0,
        checkpoint: str | Path | None = None,
    ) -> None:
        self.block = block
        self.betas = betas
        self.tol = tol
        self.loss = loss
        self.loss_options = loss_options
        self.class_weight = class_weight
        self.ratio = ratio
        self.cv = cv
        self.validation = validation
        self.rule = rule
        self.refit = refit
        self.gate = gate
        self.num_gates = num_gates
        self.gate_seed = gate_seed
        self.condition = condition
        self.n_components = n_components
        self.num_prefix = num_prefix
        self.grid = grid
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_rounds = max_rounds
        self.max_memory = max_memory
        self.device = device
        self.seed = seed
        self.checkpoint = checkpoint


class HeadRegressorCV(RegressorHead, _AlongAPath):
    """A head for numbers, counts or survival times with beta chosen along a certified path.

    Parameters
    ----------
    block, tol, loss, loss_options, gate, num_gates, gate_seed, condition, n_components, num_prefix, grid, \
fit_intercept, solver, max_rounds, max_memory, device
        As in `HeadRegressor`.
    betas, ratio, cv, validation, rule, refit, seed, checkpoint
        As in `HeadClassifierCV`.

    Attributes
    ----------
    path_, beta_, certificate_, rank_, intercept_, head_, n_features_in_, feature_names_in_
        As in `HeadClassifierCV`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(80, 5, 4))
    >>> y = X[:, :, 0].mean(1)
    >>> model = HeadRegressorCV("linear", betas=4, cv=3).fit(X, y)
    >>> len(model.path_) <= 4
    True
    """

    def __init__(
        self,
        block: str | PartSpec | Sequence[PartSpec] = "default",
        betas: int | ArrayLike = 12,
        tol: float = 1e-3,
        *,
        loss: str = "squared",
        loss_options: Mapping[str, Any] | None = None,
        ratio: float = 1e-3,
        cv: Any = None,
        validation: float = 0.2,
        rule: Rule = "best",
        refit: bool = True,
        gate: str | GateFamily = "none",
        num_gates: int = 8,
        gate_seed: int = 0,
        condition: Conditioner | bool = True,
        n_components: int | None = 64,
        num_prefix: int = 0,
        grid: tuple[int, int] | None = None,
        fit_intercept: bool = True,
        solver: str = "auto",
        max_rounds: int = 60,
        max_memory: int | str | None = None,
        device: str = "cpu",
        seed: int = 0,
        checkpoint: str | Path | None = None,
    ) -> None:
        self.block = block
        self.betas = betas
        self.tol = tol
        self.loss = loss
        self.loss_options = loss_options
        self.ratio = ratio
        self.cv = cv
        self.validation = validation
        self.rule = rule
        self.refit = refit
        self.gate = gate
        self.num_gates = num_gates
        self.gate_seed = gate_seed
        self.condition = condition
        self.n_components = n_components
        self.num_prefix = num_prefix
        self.grid = grid
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_rounds = max_rounds
        self.max_memory = max_memory
        self.device = device
        self.seed = seed
        self.checkpoint = checkpoint
