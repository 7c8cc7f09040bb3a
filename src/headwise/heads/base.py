"""What every estimator of a head does, however its beta was chosen."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
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
from .head import Head
from .inputs import as_labels, as_source, as_weights, class_weights, names_of, source_of
from .memory import as_memory
from .parameters import check_parameters
from .parts import PartSpec, output_rows, resolve_parts
from .reading import Reading
from .targets import Targets, bind, encode, token_weights
from .token_labels import as_token_labels, encode_tokens, labelled_tokens, seen_tokens

__all__ = ["EstimatedHead", "as_conditioner", "warn_unproved"]


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

    def _specs(self, source: TokenSource) -> tuple[PartSpec, ...]:
        return resolve_parts(self.block, source, self.gate, self.num_gates, self.gate_seed)

    def _targets(self, y: ArrayLike | None, source: TokenSource, rows: NDArray[Any]) -> Targets:
        kind, each = LOSSES.get(self.loss).kind, output_rows(self._specs(source), source)
        if each is None:
            found = encode(kind, as_labels(y, source, rows, kind))
        else:
            found = encode_tokens(kind, as_token_labels(y, source, rows, each), seen_tokens(source, rows, each))
        return found if y is not None else replace(found, names=names_of(found.classes, source))

    def _weights(
        self, sample_weight: ArrayLike | None, source: TokenSource, rows: NDArray[Any], targets: Targets
    ) -> NDArray[Any] | None:
        labelled = targets.labelled
        weights = as_weights(sample_weight, source, rows, None if labelled is None else labelled.shape[1])
        if labelled is not None:
            weights = token_weights(weights, labelled)
        if self.class_weight is None:
            return weights
        if targets.classes is None:
            raise InputError("class_weight is for one class a sample, or a token")
        codes = targets.values.flatten().numpy().astype(np.int64)
        flat = None if weights is None else weights.reshape(-1)
        found = class_weights(self.class_weight, targets.classes, codes, flat)
        return found if found is None or labelled is None else found.reshape(labelled.shape)

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
            self._specs(source),
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
        self.head_.class_names = targets.names
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

    def _tokens(self, X: Any, mask: Any = None) -> TokenSource:
        """Tokens as those of the fit."""
        check_is_fitted(self)
        self._name_features(X, reset=False)
        facts = self.head_.facts
        source = source_of(facts, X, mask)
        if source.width != facts.width:
            raise InputError(
                f"X has {source.width} features, but {type(self).__name__} is expecting {facts.width} features as input"
            )
        return source

    def _without_hidden(self, source: TokenSource, means: torch.Tensor) -> torch.Tensor:
        """Mean predictions, zero for hidden tokens where every token has its own."""
        seen = self._seen(source)
        return means if seen is None else torch.where(torch.from_numpy(seen)[..., None], means, 0)

    def _seen(self, source: TokenSource) -> NDArray[np.bool_] | None:
        """Which of the tokens that have outputs of their own are real; None where all are or outputs are pooled."""
        each = output_rows(self.head_.specs, source)
        return None if each is None else seen_tokens(source, np.arange(source.num_samples), each)

    def _scored(
        self, source: TokenSource, y: ArrayLike, predicted: NDArray[Any], sample_weight: ArrayLike | None
    ) -> tuple[Any, NDArray[Any], Any]:
        """Labels, predictions and weights of what has a label: samples, or tokens one after the other."""
        each = output_rows(self.head_.specs, source)
        if each is None:
            return y, predicted, sample_weight
        rows = np.arange(source.num_samples)
        labels, seen = as_token_labels(y, source, rows, each), self._seen(source)
        labelled = labelled_tokens(self._kind, labels, seen)
        weights = token_weights(as_weights(sample_weight, source, rows, each), labelled)
        return labels[labelled], predicted[labelled], None if weights is None else weights[labelled]

    def to_module(self, dtype: torch.dtype = torch.float32) -> Head:
        """The head as an ``nn.Module`` on raw tokens."""
        check_is_fitted(self)
        return self.head_.to_module(dtype)


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
