"""The estimators keep scikit-learn's contract on tables: 2-D input, one token a sample."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from headwise.heads import HeadClassifier, HeadClassifierCV, ShrinkageRegressor

SPLIT = "a sample repeated and a sample of double weight fall into the held-out part differently"
EXPECTED_FAILURES = {
    "HeadClassifierCV": {
        "check_sample_weight_equivalence_on_dense_data": SPLIT,
    }
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [HeadClassifier(beta=1e-3, tol=1e-6), HeadClassifierCV(betas=3), ShrinkageRegressor()],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES.get(type(estimator).__name__, {}),
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)
