"""The estimators inside scikit-learn's tools: clones, pipelines, searches, tables with names."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from headwise.heads import HeadClassifier, HeadClassifierCV, HeadRegressor, HeadRegressorCV

pd = pytest.importorskip("pandas", reason="pandas is not installed; the dev extra has it")

ESTIMATORS = [
    HeadClassifier("attention", beta=0.02),
    HeadClassifierCV("linear", betas=3, seed=4),
    HeadRegressor("mlp_mixer", beta=0.1, grid=(2, 2)),
    HeadRegressorCV("linear", loss="huber", loss_options={"delta": 2.0}),
]


def table(n=60):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n, 3)) * (1, 10, 100), columns=["size", "weight", "price"])
    return X, np.where(X["weight"] + 0.1 * X["price"] > 0, "yes", "no")


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_clones_have_the_parameters_and_nothing_fitted(estimator):
    made = clone(estimator)
    assert made is not estimator and made.get_params() == estimator.get_params()
    assert not hasattr(made, "head_")


def test_a_pipeline_hands_names_on():
    X, y = table()
    pipeline = make_pipeline(StandardScaler(), HeadClassifier("linear", beta=0.01)).set_output(transform="pandas")
    pipeline.fit(X, y)
    assert pipeline[-1].feature_names_in_.tolist() == list(X.columns)
    assert pipeline.score(X, y) > 0.9
    with pytest.raises(ValueError, match="feature names"):
        pipeline[-1].predict(X[["price", "size", "weight"]])


def test_a_search_over_blocks_and_betas_behind_a_transformer():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(80, 12))
    y = (flat[:, 0] * flat[:, 4] > 0).astype(int)
    pipeline = make_pipeline(FunctionTransformer(lambda X: X.reshape(-1, 4, 3)), HeadClassifier(tol=1e-2))
    grid = {"headclassifier__block": ["linear", "attention"], "headclassifier__beta": [0.003, 0.03]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(flat, y)
    assert set(search.best_params_) == set(grid) and len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_[-1]
    assert (
        best.certificate_.relative_gap <= 1e-2 and best.certificate_.beta == search.best_params_["headclassifier__beta"]
    )


def test_scores_over_folds():
    X, y = table()
    scores = cross_val_score(make_pipeline(StandardScaler(), HeadClassifier("linear", beta=0.01)), X, y, cv=3)
    assert scores.shape == (3,) and scores.min() > 0.8
