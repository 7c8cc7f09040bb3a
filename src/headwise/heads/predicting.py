"""Predictions of classes and of numbers, as scikit-learn has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score

from ..contracts import TokenSource
from ..errors import InputError
from .base import EstimatedHead
from .head import Views
from .metric_table import METRICS
from .targets import encode
from .token_labels import no_class

__all__ = ["ClassifierHead", "RegressorHead"]


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

        Where every token has outputs of its own, (n, s, outputs) or (n, s); zero for hidden tokens. ``views`` is for
        stores with several: the outputs of view 0 ("first"), or their mean over the views ("average"), here and
        wherever predictions are asked for.
        """
        source = self._tokens(X, mask)
        return self._decision(self.head_.outputs(source, views=views)).numpy()

    def _decision(self, outputs: torch.Tensor) -> torch.Tensor:
        if not self._two_classes:
            return outputs
        return outputs[..., 0] if outputs.shape[-1] == 1 else outputs[..., 1] - outputs[..., 0]

    def predict_proba(self, X: Any, mask: Any = None, views: Views = "first") -> NDArray[Any]:
        """Probabilities of classes (each row sums to one), or of labels, shape (n, outputs).

        Where every token has outputs of its own, (n, s, outputs); all zero for hidden tokens.
        """
        return self._probabilities(self._tokens(X, mask), views)

    def _probabilities(self, source: TokenSource, views: Views = "first") -> NDArray[Any]:
        outputs = self.head_.outputs(source, views=views)
        if self._two_classes:
            out = self._decision(outputs)
            found = torch.stack([torch.zeros_like(out), out], dim=-1).softmax(-1)
        else:
            found = self.head_.link(outputs)
        return self._without_hidden(source, found).numpy()

    def predict_log_proba(self, X: Any, mask: Any = None, views: Views = "first") -> NDArray[Any]:
        """Natural logarithms of `predict_proba`, of the same shape (minus infinity for hidden tokens)."""
        return torch.from_numpy(self.predict_proba(X, mask, views)).log().numpy()

    def predict(self, X: Any, mask: Any = None, views: Views = "first") -> NDArray[Any]:
        """Most probable class of each sample, or zeros and ones of the labels, shape (n, labels).

        Where every token has outputs of its own, the class of each token, (n, s), or (n, s, labels). Hidden tokens have
        no class: -1, or the empty text where classes are text.
        """
        return self._predicted(self._tokens(X, mask), views)

    def _predicted(self, source: TokenSource, views: Views = "first") -> NDArray[Any]:
        probabilities = self._probabilities(source, views)
        if not hasattr(self, "classes_"):
            return (probabilities > 0.5).astype(np.int64)
        found: NDArray[Any] = self.classes_[probabilities.argmax(-1)]
        if found.ndim == 1 or bool((known := probabilities.any(-1)).all()):
            return found
        return np.where(known, found, no_class(self.classes_))

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, mask: Any = None) -> float:
        """Accuracy on samples, or on the tokens that have a label where every token has outputs of its own."""
        source = self._tokens(X, mask)
        labels, predicted, weights = self._scored(source, y, self._predicted(source), sample_weight)
        return float(accuracy_score(labels, predicted, sample_weight=weights))


class RegressorHead(RegressorMixin, EstimatedHead):  # type: ignore[misc]
    """Predictions of numbers, rates or risks."""

    kinds = ("numbers", "counts", "survival")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any, mask: Any = None, views: Views = "first") -> NDArray[Any]:
        """Numbers or rates, ``(n,)`` or ``(n, outputs)`` as the targets were.

        For Cox the logarithm of the relative risk, shape (n,). Where every token has outputs of its own, ``(n, s)`` or
        ``(n, s, outputs)``, zero for hidden tokens. ``views`` is for stores with several: the outputs of view 0
        ("first"), or their mean over the views ("average").
        """
        return self._predicted(self._tokens(X, mask), views)

    def _predicted(self, source: TokenSource, views: Views = "first") -> NDArray[Any]:
        outputs = self.head_.outputs(source, views=views)
        means = outputs if self._kind == "survival" else self._without_hidden(source, self.head_.link(outputs))
        found: NDArray[Any] = means.numpy()
        return found[..., 0] if self._flat else found

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, mask: Any = None) -> float:
        """R2 of numbers and rates; Harrell's concordance index of survival times.

        Where every token has outputs of its own, over the tokens that have a label.
        """
        source = self._tokens(X, mask)
        predicted = self._predicted(source)
        if self._kind != "survival":
            labels, predicted, weights = self._scored(source, y, predicted, sample_weight)
            return float(r2_score(labels, predicted, sample_weight=weights))
        if sample_weight is not None:
            raise InputError("the concordance index has no sample weights; score the samples that count")
        targets = encode("survival", np.asarray(y)).values.numpy()
        return METRICS["survival"]["concordance"].value(predicted[:, None], targets)
