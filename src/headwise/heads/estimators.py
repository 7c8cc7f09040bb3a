"""Scikit-learn estimators of one head at one beta."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from ..contracts import TokenSource
from ..errors import InputError
from ..solvers import Certificate, Solution, Status, solve
from .conditioning import Conditioner
from .fitting import prepare
from .head import Head
from .inputs import as_source, as_targets, as_weights, training_rows
from .parts import PartSpec, resolve_parts

__all__ = ["HeadClassifier"]


class _FittedHead(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What a fitted classifier does, however beta was chosen."""

    head_: Head
    classes_: NDArray[Any]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _keep(self, head: Head, classes: NDArray[Any]) -> None:
        self.head_, self.classes_ = head, classes
        self.n_features_in_ = head.facts.width

    @property
    def certificate_(self) -> Certificate:
        """Proof of how far the fit can be from the global optimum."""
        check_is_fitted(self)
        if self.head_.certificate is None:
            raise InputError("this head carries no certificate")
        return self.head_.certificate

    @property
    def rank_(self) -> int:
        """Atoms of the parts with a nuclear norm."""
        check_is_fitted(self)
        return self.head_.rank

    @property
    def intercept_(self) -> NDArray[Any]:
        """Unpenalised intercept, shape (classes,)."""
        check_is_fitted(self)
        return self.head_.intercept.numpy(force=True)

    def decision_function(self, X: Any, mask: Any = None) -> NDArray[Any]:
        """Outputs (logits), shape (n, classes); for two classes the difference, shape (n,)."""
        check_is_fitted(self)
        facts = self.head_.facts
        source = as_source(X, mask=mask, num_prefix=facts.num_prefix, grid=facts.grid)
        if source.width != facts.width:
            raise InputError(
                f"X has {source.width} features, but {type(self).__name__} is expecting {facts.width} features as input"
            )
        out = self.head_.outputs(source).numpy()
        return out[:, 1] - out[:, 0] if len(self.classes_) == 2 else out

    def predict_proba(self, X: Any, mask: Any = None) -> NDArray[Any]:
        """Class probabilities, shape (n, classes)."""
        check_is_fitted(self)
        out = self.decision_function(X, mask)
        logits = np.stack([np.zeros_like(out), out], axis=1) if out.ndim == 1 else out
        probabilities: NDArray[Any] = torch.from_numpy(logits).softmax(1).numpy()
        return probabilities

    def predict(self, X: Any, mask: Any = None) -> NDArray[Any]:
        """Most probable class of each sample."""
        check_is_fitted(self)
        found: NDArray[Any] = self.classes_[self.predict_proba(X, mask).argmax(1)]
        return found

    def to_module(self, dtype: torch.dtype = torch.float32) -> Head:
        """The head as an ``nn.Module`` on raw tokens."""
        check_is_fitted(self)
        return self.head_.to_module(dtype)


class HeadClassifier(_FittedHead):
    """The best head of a family on frozen tokens, at one beta, with a proof.

    Minimises mean cross-entropy plus ``beta`` times the penalty to a certified relative gap. There is no learning rate,
    no seed and no number of epochs.

    Parameters
    ----------
    block : str or sequence of PartSpec
        "default" (linear on the prefix tokens + attention on the patch tokens), "linear" (mean patch token),
        "linear_prefix", "attention", or parts of your own.
    beta : float
        Strength of the penalty, in the coordinates of the conditioning.
    tol : float
        Certified relative gap to reach.
    condition : Conditioner or bool
        How tokens are prepared. True is ``Conditioner()``, without the layer norm where a sample has one token only (a
        table); False fits in raw token coordinates without the constant: exactly ``f = p^T X U X^T X V + b`` with
        ``p = 1/s`` and mean loss.
    n_components : int or None
        Shorthand for ``Conditioner(n_components=...)`` where ``condition`` is True.
    num_prefix : int
        Prefix tokens, first in each sample, where X is an array; a store knows its own.
    grid : (int, int), optional
        Rows and columns of the patch tokens, where X is an array.
    fit_intercept : bool
        Fit an unpenalised intercept.
    max_rounds : int
        Limit of solver rounds.

    Attributes
    ----------
    certificate_ : Certificate
    rank_ : int
    intercept_, classes_ : ndarray
    head_ : Head
        The fitted ``nn.Module`` on raw tokens.
    status_ : Status
        How the fit ended.
    n_iter_ : int
        Quasi-Newton iterations.

    References
    ----------
    Sahiner et al., "Unraveling Attention via Convex Duality", arXiv 2205.08078.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(60, 5, 4)), np.repeat([0, 1], 30)
    >>> X[y == 1, :, 0] += 1
    >>> model = HeadClassifier("attention", beta=0.01, n_components=4).fit(X, y)
    >>> bool(model.certificate_.relative_gap <= 1e-3)
    True
    """

    def __init__(
        self,
        block: str | Sequence[PartSpec] = "default",
        beta: float = 1e-3,
        tol: float = 1e-3,
        *,
        condition: Conditioner | bool = True,
        n_components: int | None = 64,
        num_prefix: int = 0,
        grid: tuple[int, int] | None = None,
        fit_intercept: bool = True,
        max_rounds: int = 60,
    ) -> None:
        self.block = block
        self.beta = beta
        self.tol = tol
        self.condition = condition
        self.n_components = n_components
        self.num_prefix = num_prefix
        self.grid = grid
        self.fit_intercept = fit_intercept
        self.max_rounds = max_rounds

    def fit(
        self, X: Any, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None, mask: Any = None
    ) -> HeadClassifier:
        """Fit to tokens and labels.

        Parameters
        ----------
        X : array or Tensor ``(n, s, d)`` or ``(n, d)``, or TokenStore
            Tokens, prefix tokens first. Of a store with splits the training split is used.
        y : array, shape (n,)
            Labels; those of the store by default.
        sample_weight : array, shape (n,), optional
        mask : array of bool, shape (n, s), optional
            True where a token is real.

        Raises
        ------
        InputError
            NaN or infinite tokens, one class only, no such tokens, or a beta or tol that is not positive.
        """
        check_positive(beta=self.beta, tol=self.tol)
        source = as_source(X, mask=mask, num_prefix=self.num_prefix, grid=self.grid)
        rows = training_rows(source)
        classes, targets, _ = as_targets(y, source, rows)
        specs = resolve_parts(self.block, source)
        prepared = prepare(
            source,
            rows,
            targets,
            len(classes),
            specs,
            as_conditioner(self.condition, self.n_components, source),
            as_weights(sample_weight, len(rows)),
            self.fit_intercept,
        )
        solution = solve(prepared.problem, float(self.beta), tol=self.tol, max_rounds=self.max_rounds)
        warn_unproved(solution, self.tol)
        self.status_ = solution.status
        self.n_iter_ = max(1, solution.history[-1].iterations)
        self._keep(prepared.head(solution, classes.tolist()), classes)
        return self


def warn_unproved(solution: Solution, tol: float) -> None:
    """Warn the caller of `fit` where a fit ended above its tolerance: the gap that it reached, and why."""
    if solution.status is not Status.CERTIFIED:
        warnings.warn(
            f"relative gap {solution.certificate.relative_gap:.1e} is above tol={tol:g}: {solution.status.value}",
            ConvergenceWarning,
            stacklevel=3,
        )


def check_positive(**values: float) -> None:
    """Refuse parameters that are not positive, finite numbers."""
    for name, value in values.items():
        if not (isinstance(value, (int, float, np.number)) and 0 < float(value) < float("inf")):
            raise InputError(f"{name} must be a positive number, got {value!r}")


def as_conditioner(condition: Conditioner | bool, n_components: int | None, source: TokenSource) -> Conditioner | None:
    """The conditioner that estimator parameters describe; None for raw coordinates."""
    if isinstance(condition, Conditioner):
        return condition
    # one token a sample is a table: its columns have units of their own, and a norm across them would mix these
    return Conditioner(layer_norm=source.num_tokens > 1, n_components=n_components) if condition else None
