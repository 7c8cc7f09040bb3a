"""What a head has to beat: majority class, nearest neighbours, logistic regression on pixels or words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .metric_table import METRICS
from .outcomes import as_classes

__all__ = ["Scores", "logistic_probabilities", "majority", "neighbours", "score"]


@dataclass(frozen=True)
class Scores:
    """Quality of class probabilities on some samples."""

    accuracy: float
    balanced_accuracy: float
    log_loss: float


def score(probabilities: NDArray[Any], targets: NDArray[Any]) -> Scores:
    """Scores of probabilities ``(n, c)`` against targets ``0 .. c-1``."""
    p, y = as_classes(probabilities, targets)
    return Scores(**{field.name: METRICS["classes"][field.name].value(p, y) for field in fields(Scores)})


def majority(targets: NDArray[Any], num_classes: int, n: int) -> NDArray[Any]:
    """Class frequencies of the training targets, for n samples."""
    frequencies = np.bincount(targets, minlength=num_classes) / len(targets)
    return np.tile(frequencies, (n, 1))


def neighbours(
    train: NDArray[Any], targets: NDArray[Any], others: Sequence[NDArray[Any]], k: int = 20
) -> list[NDArray[Any]]:
    """Class probabilities of the k nearest training samples, weighted by closeness, for each array of features."""
    model = KNeighborsClassifier(min(k, len(train)), weights="distance").fit(train, targets)
    return [model.predict_proba(x) for x in others]


def logistic_probabilities(
    train: Any, targets: NDArray[Any], val: Any, val_targets: NDArray[Any], test: Any, standardize: bool = True
) -> tuple[list[NDArray[Any]], int]:
    """Ridge logistic regression, its strength chosen on the validation samples; features may be sparse as they are.

    Returns the probabilities on validation and test samples, and the number of fitted parameters.
    """
    best, chosen = np.inf, None
    for strength in (1e-3, 1e-2, 1e-1, 1.0) if standardize else (0.1, 1.0, 10.0, 100.0):
        first = [StandardScaler()] if standardize else []
        model = make_pipeline(*first, LogisticRegression(C=strength, max_iter=300 if standardize else 3000, tol=1e-3))
        model.fit(train, targets)
        found = score(model.predict_proba(val), val_targets).log_loss
        if found < best:
            best, chosen = found, model
    assert chosen is not None
    count = int(chosen[-1].coef_.size + chosen[-1].intercept_.size)
    return [chosen.predict_proba(val), chosen.predict_proba(test)], count
