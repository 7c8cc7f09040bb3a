"""What every estimator of a head does, however its beta was chosen."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from ..contracts import Progress, TargetKind, TokenSource
from ..devices import fitting_device
from ..errors import InputError
from ..losses import LOSSES
from ..solvers import Certificate, Solution, Status
from ..tokens import num_views
from .conditioning import Conditioner
from .fitting import Prepared, prepare
from .head import Head, Views
from .inputs import as_labels, as_source, as_weights, class_weights
from .memory import as_memory
from .metrics import METRICS
from .parameters import check_parameters
from .parts import resolve_parts
from .reading import Reading
from .targets import Targets, bind, encode

__all__ = ["ClassifierHead", "EstimatedHead", "RegressorHead", "warn_unproved"]


class EstimatedHead(BaseEstimator):  # type: ignore[misc]
    """Inputs, the fitted head, and its proof."""

    kinds: tuple[TargetKind, ...] = ()
    head_: Head

    # parameters that all estimators have; each names and documents its own
    block: Any
    tol: float
    loss: str
    loss_options: Mapping[str, Any] | None
    gate: Any
    num_gates: int
    gate_seed: int
    condition: Conditioner | bool
    n_components: int | None
    num_prefix: int
    grid: tuple[int, int] | None
    fit_intercept: bool
    solver: str
    max_rounds: int
    max_memory: int | str | None
    device: str
    class_weight: Any = None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _open(self, X: Any, mask: Any) -> TokenSource:
        check_parameters(self.get_params(deep=False))
        kind = LOSSES.get(self.loss).kind
        if kind not in self.kinds:
            raise InputError(
                f"the loss {self.loss!r} is for {kind}; {type(self).__name__} fits {' or '.join(self.kinds)}"
            )
        self._name_features(X, reset=True)
        return as_source(X, mask=mask, num_prefix=self.num_prefix, grid=self.grid)

    def _name_features(self, X: Any, reset: bool) -> None:
        """Keep the column names of a data frame, or compare them with those of the fit, as scikit-learn does."""
        try:
            validate_data(self, X, reset=reset, skip_check_array=True, ensure_2d=False)
        except (TypeError, ValueError) as error:
            raise InputError(str(error)) from None

    def _targets(self, y: ArrayLike | None, source: TokenSource, rows: NDArray[Any]) -> Targets:
        kind = LOSSES.get(self.loss).kind
        return encode(kind, as_labels(y, source, rows, kind))

    def _weights(
        self, sample_weight: ArrayLike | None, source: TokenSource, rows: NDArray[Any], targets: Targets
    ) -> NDArray[Any] | None:
        weights = as_weights(sample_weight, source, rows)
        if self.class_weight is None:
            return weights
        if targets.classes is None:
            raise InputError("class_weight is for one class a sample")
        codes = targets.values.flatten().numpy().astype(np.int64)
        return class_weights(self.class_weight, targets.classes, codes, weights)

    def _prepare(
        self,
        source: TokenSource,
        rows: NDArray[Any],
        targets: Targets,
        weights: NDArray[Any] | None,
        progress: Progress | None,
    ) -> Prepared:
        device = fitting_device(self.device)
        return prepare(
            source,
            rows,
            bind(self.loss, targets, weights, self.loss_options, num_views(source), device),
            resolve_parts(self.block, source, self.gate, self.num_gates, self.gate_seed),
            as_conditioner(self.condition, self.n_components, source),
            weights,
            self.fit_intercept,
            self.solver,
            self.max_rounds,
            Reading(as_memory(self.max_memory), progress, device),
        )

    def _keep(self, prepared: Prepared, solution: Solution, targets: Targets) -> None:
        classes = None if targets.classes is None else targets.classes.tolist()
        self.head_ = prepared.head(solution, classes)
        self.status_ = solution.status
        self.n_iter_ = max(1, solution.history[-1].iterations)
        self.n_features_in_ = self.head_.facts.width
        self._flat = targets.flat
        if targets.classes is not None:
            self.classes_ = targets.classes

    @property
    def _kind(self) -> TargetKind:
        check_is_fitted(self)
        return LOSSES.get(self.head_.loss["name"]).kind

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
        """Unpenalised intercept, shape (outputs,)."""
        check_is_fitted(self)
        return self.head_.intercept.numpy(force=True)

    def _outputs(self, X: Any, mask: Any = None, views: Views = "first") -> torch.Tensor:
        check_is_fitted(self)
        self._name_features(X, reset=False)
        facts = self.head_.facts
        source = as_source(X, mask=mask, num_prefix=facts.num_prefix, grid=facts.grid)
        if source.width != facts.width:
            raise InputError(
                f"X has {source.width} features, but {type(self).__name__} is expecting {facts.width} features as input"
            )
        return self.head_.outputs(source, views=views)

    def to_module(self, dtype: torch.dtype = torch.float32) -> Head:
        """The head as an ``nn.Module`` on raw tokens."""
        check_is_fitted(self)
        return self.head_.to_module(dtype)


class ClassifierHead(ClassifierMixin, EstimatedHead):  # type: ignore[misc]
    """Predictions of classes, or of several labels a sample."""

    kinds = ("classes", "labels")
    classes_: NDArray[Any]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = self.loss == "binary"
        return tags

    @property
    def _two_classes(self) -> bool:
        return hasattr(self, "classes_") and len(self.classes_) == 2

    def decision_function(self, X: Any, mask: Any = None, views: Views = "first") -> NDArray[Any]:
        """Outputs (logits), shape (n, outputs); for two classes the difference, shape (n,).

        ``views`` is for stores with several: the outputs of view 0 ("first"), or their mean over the views ("average"),
        here and wherever predictions are asked for.
        """
        out = self._outputs(X, mask, views).numpy()
        if not self._two_classes:
            return out
        return out[:, 0] if out.shape[1] == 1 else out[:, 1] - out[:, 0]

    def predict_proba(self, X: Any, mask: Any = None, views: Views = "first") -> NDArray[Any]:
        """Probabilities of classes (each row sums to one), or of labels, shape (n, outputs)."""
        check_is_fitted(self)
        found: NDArray[Any]
        if self._two_classes:
            out = torch.from_numpy(self.decision_function(X, mask, views))
            found = torch.stack([torch.zeros_like(out), out], dim=1).softmax(1).numpy()
        else:
            found = self.head_.link(self._outputs(X, mask, views)).numpy()
        return found

    def predict_log_proba(self, X: Any, mask: Any = None, views: Views = "first") -> NDArray[Any]:
        """Natural logarithms of `predict_proba`, of the same shape."""
        return torch.from_numpy(self.predict_proba(X, mask, views)).log().numpy()

    def predict(self, X: Any, mask: Any = None, views: Views = "first") -> NDArray[Any]:
        """Most probable class of each sample, or zeros and ones of the labels, shape (n, labels)."""
        probabilities = self.predict_proba(X, mask, views)
        if not hasattr(self, "classes_"):
            return (probabilities > 0.5).astype(np.int64)
        found: NDArray[Any] = self.classes_[probabilities.argmax(1)]
        return found


class RegressorHead(RegressorMixin, EstimatedHead):  # type: ignore[misc]
    """Predictions of numbers, rates or risks."""

    kinds = ("numbers", "counts", "survival")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any, mask: Any = None, views: Views = "first") -> NDArray[Any]:
        """Numbers or rates, ``(n,)`` or ``(n, outputs)`` as the targets were.

        For Cox the logarithm of the relative risk, shape (n,). ``views`` is for stores with several: the outputs of
        view 0 ("first"), or their mean over the views ("average").
        """
        outputs = self._outputs(X, mask, views)
        found: NDArray[Any] = (outputs if self._kind == "survival" else self.head_.link(outputs)).numpy()
        return found[:, 0] if self._flat else found

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """R2 of numbers and rates; Harrell's concordance index of survival times."""
        if self._kind != "survival":
            return float(super().score(X, y, sample_weight))
        if sample_weight is not None:
            raise InputError("the concordance index has no sample weights; score the samples that count")
        targets = encode("survival", np.asarray(y)).values.numpy()
        return METRICS["survival"]["concordance"].value(self.predict(X)[:, None], targets)


def warn_unproved(solution: Solution, tol: float) -> None:
    """Warn the caller of `fit` where a fit ended above its tolerance: the gap that it reached, and why."""
    if solution.status is not Status.CERTIFIED:
        warnings.warn(
            f"relative gap {solution.certificate.relative_gap:.1e} is above tol={tol:g}: {solution.status.value}",
            ConvergenceWarning,
            stacklevel=3,
        )


def as_conditioner(condition: Conditioner | bool, n_components: int | None, source: TokenSource) -> Conditioner | None:
    """The conditioner that estimator parameters describe; None for raw coordinates."""
    if isinstance(condition, Conditioner):
        return condition
    # one token a sample is a table: its columns have units of their own, and a norm across them would mix these
    table = source.num_tokens == 1
    return Conditioner(layer_norm=not table, n_components=n_components, standardize=table) if condition else None
