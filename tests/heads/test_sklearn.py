"""The estimators keep scikit-learn's contract on tables: 2-D input, one token a sample."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from headwise.heads import HeadClassifier, HeadClassifierCV, HeadRegressor, HeadRegressorCV, ShrinkageRegressor


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        HeadClassifier(beta=1e-3, tol=1e-6),
        HeadClassifierCV(betas=3, tol=1e-6),
        HeadRegressor(beta=1e-3, tol=1e-6),
        HeadRegressorCV(betas=3, tol=1e-6),
        ShrinkageRegressor(),
    ]
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)
