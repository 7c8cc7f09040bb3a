"""A beta path with the best beta chosen on held-out samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..contracts import Progress
from ..errors import InputError
from ..solvers import Solution, beta_grid, beta_max, solve, solve_path
from ..tokens import make_splits
from .conditioning import Conditioner
from .estimators import _FittedHead, as_conditioner, check_positive, warn_unproved
from .fitting import Prepared, held_passes, prepare
from .inputs import as_source, as_targets, as_weights, training_rows
from .parts import PartSpec, resolve_parts

__all__ = ["HeadClassifierCV", "PathPoint", "follow_path"]


@dataclass(frozen=True)
class PathPoint:
    """One solution of a path and its scores on the validation samples."""

    beta: float
    relative_gap: float
    rank: int
    accuracy: float
    log_loss: float
    seconds: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def scores(outputs: torch.Tensor, targets: NDArray[Any]) -> tuple[float, float]:
    """Accuracy and mean log-loss of outputs ``(n, c)``."""
    y = torch.as_tensor(targets, dtype=torch.int64)
    loss = torch.nn.functional.cross_entropy(outputs, y)
    return float((outputs.argmax(1) == y).double().mean()), float(loss)


def follow_path(
    prepared: Prepared,
    rows: NDArray[Any],
    targets: NDArray[Any],
    *,
    betas: NDArray[Any] | None = None,
    num: int = 12,
    ratio: float = 1e-3,
    tol: float = 1e-3,
    patience: int = 2,
    max_rounds: int = 60,
    progress: Progress | None = None,
    keep: Callable[[PathPoint, Solution], None] | None = None,
) -> tuple[list[PathPoint], int, Solution]:
    """Solve along a grid of betas and score each solution on held-out rows of the same source.

    The path ends early once the log-loss has not improved for ``patience`` betas. Returns the points, the position
    of the best one (least held-out log-loss) and its solution.
    """
    held_out = held_passes(prepared.source, rows, prepared.specs, prepared.conditioners)
    problem = prepared.problem
    scored = type(problem)(problem.parts, held_out, problem.loss, problem.fit_intercept, problem.device)
    grid = beta_grid(beta_max(problem), num + 1, ratio)[1:] if betas is None else np.asarray(betas, dtype=float)
    points: list[PathPoint] = []
    best, chosen, began = -1, None, time.perf_counter()
    for solution in solve_path(problem, grid, tol=tol, max_rounds=max_rounds, progress=progress):
        accuracy, loss = scores(scored.outputs(solution.factors), targets)
        point = PathPoint(
            solution.certificate.beta,
            solution.certificate.relative_gap,
            solution.rank,
            accuracy,
            loss,
            time.perf_counter() - began,
        )
        began = time.perf_counter()
        points.append(point)
        if keep:
            keep(point, solution)
        if best < 0 or loss < points[best].log_loss:
            best, chosen = len(points) - 1, solution
        if len(points) - 1 - best >= patience:
            break
    if progress:
        progress("path", len(grid), len(grid))
    assert chosen is not None
    return points, best, chosen


class HeadClassifierCV(_FittedHead):
    """A head with beta chosen along a certified path on held-out samples.

    Parameters
    ----------
    block, tol, condition, n_components, num_prefix, grid, fit_intercept, max_rounds
        As in `HeadClassifier`.
    betas : array or int
        Betas to try, or how many on a geometric grid down from the largest that has any atoms.
    ratio : float
        Smallest beta of that grid over the largest.
    validation : float
        Share of the samples held out, by class, where a store has no "val" split of its own.
    refit : bool
        Fit again on training and validation samples together at the chosen beta. The certificate is always that of the
        samples of the last fit.
    seed : int
        Decides which samples are held out.

    Attributes
    ----------
    path_ : list of PathPoint
        Beta, gap, rank, held-out scores and seconds of every solution.
    beta_ : float
        The chosen beta.
    certificate_, rank_, intercept_, classes_, head_
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
        block: str | Sequence[PartSpec] = "default",
        betas: int | ArrayLike = 12,
        tol: float = 1e-3,
        *,
        ratio: float = 1e-3,
        validation: float = 0.2,
        refit: bool = True,
        condition: Conditioner | bool = True,
        n_components: int | None = 64,
        num_prefix: int = 0,
        grid: tuple[int, int] | None = None,
        fit_intercept: bool = True,
        max_rounds: int = 60,
        seed: int = 0,
    ) -> None:
        self.block = block
        self.betas = betas
        self.tol = tol
        self.ratio = ratio
        self.validation = validation
        self.refit = refit
        self.condition = condition
        self.n_components = n_components
        self.num_prefix = num_prefix
        self.grid = grid
        self.fit_intercept = fit_intercept
        self.max_rounds = max_rounds
        self.seed = seed

    def fit(
        self, X: Any, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None, mask: Any = None
    ) -> HeadClassifierCV:
        """Fit the path, choose beta, and refit if asked; parameters as in `HeadClassifier.fit`.

        Held-out samples are scored without weights.
        """
        check_positive(tol=self.tol, ratio=self.ratio)
        if not 0 < self.validation < 1:
            raise InputError(f"validation must lie between 0 and 1, got {self.validation!r}")
        source = as_source(X, mask=mask, num_prefix=self.num_prefix, grid=self.grid)
        rows, held_out = self._rows(source, y)
        every = np.concatenate([rows, held_out])
        classes, targets, _ = as_targets(y, source, every)
        given = as_weights(sample_weight, source.num_samples)
        specs = resolve_parts(self.block, source)
        conditioner = as_conditioner(self.condition, self.n_components, source)
        n = len(rows)

        def ready(rows: NDArray[Any], targets: NDArray[Any]) -> Prepared:
            weights = None if given is None else given[rows]
            return prepare(source, rows, targets, len(classes), specs, conditioner, weights, self.fit_intercept)

        prepared = ready(rows, targets[:n])
        number = int(self.betas) if isinstance(self.betas, (int, np.integer)) else 0
        self.path_, best, solution = follow_path(
            prepared,
            held_out,
            targets[n:],
            betas=None if number else np.asarray(self.betas, dtype=float),
            num=number or 12,
            ratio=self.ratio,
            tol=self.tol,
            max_rounds=self.max_rounds,
        )
        self.beta_ = self.path_[best].beta
        if self.refit:
            order = np.argsort(every, kind="stable")
            prepared = ready(every[order], targets[order])
            solution = solve(prepared.problem, self.beta_, tol=self.tol, max_rounds=self.max_rounds)
        warn_unproved(solution, self.tol)
        self._keep(prepared.head(solution, classes.tolist()), classes)
        return self

    def _rows(self, source: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Training and validation rows: a store's own splits, else a split by class."""
        split = getattr(source, "split", None)
        if split is not None and (np.asarray(split) == "val").any():
            return np.flatnonzero(np.asarray(split) == "train"), np.flatnonzero(np.asarray(split) == "val")
        rows = training_rows(source)
        _, targets, _ = as_targets(y, source, rows)
        names = make_splits(targets, fractions=(1 - self.validation, self.validation, 0.0), seed=self.seed)
        return rows[names == "train"], rows[names == "val"]
