"""The report's forecast of a linear probe: when to stop, what twice the samples bring, and the probe as trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import InputError
from ..forecast import estimate_spectrum, learning_curve, measure, training_work
from ..forecast.whitening import FOLDS
from ..heads.compare import Splits
from ..heads.facts import TokenFacts
from ..tokens import TokenStore
from ..tokens.pooling import pooled_tokens

__all__ = ["forecast_facts"]

DEPTHS = (1, 2)
NUM_TIMES = 100
MOST_NUMBERS = 50_000_000
"""Of the features, which are held several times in float64."""
MOST_WHITENING = 2e10
"""Cubes of the sides of the eigenproblems of whitening: some seconds of one core."""
MOST_TRAINING = 1e10
"""Multiplications of training a probe, for its measured curve: some seconds of one core."""


def forecast_facts(store: TokenStore, splits: Splits) -> dict[str, Any]:
    """What the report tells of a linear probe that is trained on the training samples, measured on the validation ones.

    Nothing here takes more than a few seconds: where a forecast would, there is none, and a probe whose training would
    is not trained. For more there is `headwise.forecast`.

    Parameters
    ----------
    store : TokenStore
    splits : Splits

    Returns
    -------
    dict
        JSON: under ``"refused"`` the reason why there is no forecast, or None.
    """
    features = pooled_tokens(store, splits.rows["train"])
    if (said := _too_much(*features.shape)) is not None:
        return {"refused": said}
    try:
        spectrum = estimate_spectrum(features, splits.targets["train"])
    except InputError as error:
        return {"refused": str(error)}
    curves = [learning_curve(spectrum, depth, num_times=NUM_TIMES) for depth in DEPTHS]
    held_out = pooled_tokens(store, splits.rows["val"]), splits.targets["val"]
    told = []
    for curve in curves:
        cheap = training_work(spectrum, curve) <= MOST_TRAINING
        found = measure(spectrum, curve, *held_out) if cheap else None
        told.append(replace(curve, measured=found).to_dict())
    return {
        "refused": None,
        "features": _features(store),
        "spectrum": spectrum.to_dict(),
        "curves": told,
    }


def _features(store: TokenStore) -> str:
    if not store.num_prefix:
        return "the mean token"
    alone = store.num_tokens == store.num_prefix
    mean = TokenFacts.of(store).called("the mean patch token")
    return "the prefix tokens" if alone else f"the prefix tokens joined with {mean}"


def _too_much(num_samples: int, num_features: int) -> str | None:
    """Why no forecast of so many samples and features is made beside the heads, None where one is."""
    side = min(num_samples, num_features)
    chosen = 2 * num_features >= num_samples  # directions are, so that each fold chooses its own
    if num_samples * num_features <= MOST_NUMBERS and side**3 * (1 + FOLDS * chosen) <= MOST_WHITENING:
        return None
    return (
        f"{num_samples:,} training samples of {num_features:,} features each would take longer than a report should; "
        "headwise forecast makes one of the study's token store"
    )
