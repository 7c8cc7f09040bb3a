"""The path: labels stay with their samples, every point is what a fit alone would give, the choice is the best."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from headwise.errors import InputError
from headwise.heads import HeadClassifier, HeadClassifierCV
from headwise.tokens import TokenStore


def data(n: int = 90, s: int = 5, d: int = 6, c: int = 3):
    """Classes that a head can learn, the labels in no order."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(n) % c)
    X = rng.normal(size=(n, s, d))
    X[np.arange(n), :, y] += 2  # one direction for each class, strong enough that held-out samples are all but certain
    return X, y


@pytest.fixture(params=["array", "tensor", "store", "store with labels given"])
def tokens_and_labels(request, tmp_path):
    """The same samples in every form that the estimators take."""
    X, y = data()
    if request.param == "array":
        return X, y
    if request.param == "tensor":
        return torch.from_numpy(X), torch.from_numpy(y)
    store = TokenStore.from_arrays(tmp_path / "store", X, y, dtype="float32")
    return store, (None if request.param == "store" else y)


@pytest.mark.parametrize("refit", [True, False])
def test_labels_stay_with_their_samples(tokens_and_labels, refit):
    tokens, labels = tokens_and_labels
    model = HeadClassifierCV("attention", betas=[0.05, 0.01], n_components=4, refit=refit).fit(tokens, labels)
    y = data()[1]
    assert (model.predict(tokens) == y).mean() > 0.9
    assert max(p.score for p in model.path_) > 0.9, "held-out labels are those of the held-out samples"


def test_the_choice_refitted_is_the_fit_at_that_beta():
    X, y = data()
    model = HeadClassifierCV("attention", betas=[0.1, 0.02], n_components=4, tol=1e-6).fit(X, y)
    alone = HeadClassifier("attention", beta=model.beta_, n_components=4, tol=1e-6).fit(X, y)
    assert model.certificate_.primal == pytest.approx(alone.certificate_.primal, rel=2e-6)
    np.testing.assert_allclose(model.predict_proba(X), alone.predict_proba(X), atol=5e-3)


def test_labels_of_some_samples_are_refused_where_their_order_is_unclear(tmp_path):
    X, y = data()
    split = np.where(np.arange(len(y)) % 3 == 0, "test", "train")
    store = TokenStore.from_arrays(tmp_path / "store", X, y, split=split)
    with pytest.raises(InputError, match="each"):
        HeadClassifierCV("attention", betas=[0.1]).fit(store, y[:20])
    some = HeadClassifier("attention", beta=0.1, n_components=4).fit(store, y[split == "train"])
    every = HeadClassifier("attention", beta=0.1, n_components=4).fit(store, y)
    assert some.certificate_ == every.certificate_


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_labels_that_are_no_numbers_are_refused(bad):
    X, y = data()
    with pytest.raises(InputError, match="NaN or infinity"):
        HeadClassifier().fit(X, np.where(np.arange(len(y)) == 4, bad, y))


@pytest.mark.parametrize("options", [{"validation": 0}, {"validation": 1.0}, {"ratio": 0}, {"tol": -1}])
def test_impossible_options_are_named(options):
    (name,) = options
    with pytest.raises(InputError, match=name):
        HeadClassifierCV(**options).fit(*data())


@pytest.mark.parametrize("refit", [True, False])
def test_a_fit_that_stops_early_says_so(refit):
    X, y = data()
    model = HeadClassifierCV("attention", betas=[0.01], n_components=4, tol=1e-6, max_rounds=1, refit=refit)
    with pytest.warns(ConvergenceWarning, match="above tol"):
        model.fit(X, y)
    assert model.certificate_.relative_gap > 1e-6


def test_a_sample_of_weight_zero_is_not_there():
    X, y = data()
    weights = np.ones(len(y))
    weights[::7] = 0
    settings = {"betas": [0.05], "n_components": 4, "tol": 1e-6}
    weighted = HeadClassifierCV("attention", **settings).fit(X, y, sample_weight=weights)
    without = HeadClassifierCV("attention", **settings).fit(X[weights > 0], y[weights > 0])
    assert weighted.certificate_.primal == pytest.approx(without.certificate_.primal, rel=1e-5)
