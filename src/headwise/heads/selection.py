"""Estimators that choose beta along a certified path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from ..contracts import GateFamily
from .along_path import AlongPath
from .conditioning import Conditioner
from .parts import PartSpec
from .path import Rule
from .predicting import ClassifierHead, RegressorHead

__all__ = ["HeadClassifierCV", "HeadRegressorCV"]


class HeadClassifierCV(ClassifierHead, AlongPath):
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


class HeadRegressorCV(RegressorHead, AlongPath):
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
