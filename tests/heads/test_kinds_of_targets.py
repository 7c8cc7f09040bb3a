"""Every kind of target through the estimators: labels, numbers, counts, survival times."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

from headwise.errors import InputError
from headwise.heads import Head, HeadClassifier, HeadClassifierCV, HeadRegressor, HeadRegressorCV, PartSpec, verify
from headwise.tokens import ArrayTokens, TokenStore

BETA = 0.1
RIDGE = [PartSpec("linear", penalty="ridge")]


def tokens(n=80, s=4, d=3):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, s, d))
    return X, X.mean(1), rng


def survival(pooled, rng):
    time = np.ceil(8 * rng.exponential(np.exp(-2 * pooled[:, 0])))
    return np.rec.fromarrays([rng.random(len(time)) < 0.7, time], names="event,time")


def targets_of(loss, pooled, rng):
    signal = 2 * pooled[:, :2] + 0.3 * rng.normal(size=(len(pooled), 2))
    if loss == "binary":
        return (signal > 0).astype(int)
    if loss == "poisson":
        return rng.poisson(np.exp(signal))
    return survival(pooled, rng) if loss == "cox" else signal


def ridge(loss, X, y):
    kind = HeadClassifier if loss == "binary" else HeadRegressor
    return kind(RIDGE, beta=BETA, tol=1e-9, loss=loss, condition=False).fit(X, y)


def test_poisson_is_that_of_scikit_learn():
    X, pooled, rng = tokens()
    y = targets_of("poisson", pooled, rng)[:, 0]
    peer = PoissonRegressor(alpha=BETA, tol=1e-10, max_iter=1000).fit(pooled, y)
    np.testing.assert_allclose(ridge("poisson", X, y).predict(X), peer.predict(pooled), rtol=1e-4)


def test_squared_is_that_of_scikit_learn():
    X, pooled, rng = tokens()
    y = targets_of("squared", pooled, rng)
    peer = Ridge(alpha=BETA * len(y)).fit(pooled, y)
    np.testing.assert_allclose(ridge("squared", X, y).predict(X), peer.predict(pooled), atol=1e-4)


def test_labels_are_separate_logistic_regressions():
    X, pooled, rng = tokens()
    y = targets_of("binary", pooled, rng)
    found = ridge("binary", X, y).predict_proba(X)
    for k in range(2):
        peer = LogisticRegression(C=1 / (BETA * len(y)), tol=1e-10, max_iter=1000).fit(pooled, y[:, k])
        np.testing.assert_allclose(found[:, k], peer.predict_proba(pooled)[:, 1], atol=1e-4)


def test_cox_is_the_penalised_partial_likelihood():
    X, pooled, rng = tokens()
    y = survival(pooled, rng)

    def objective(w):
        f = pooled @ w
        total = sum(np.log(np.exp(f[y.time >= y.time[i]]).sum()) - f[i] for i in np.flatnonzero(y.event))
        return total / len(f) + BETA / 2 * w @ w

    w = minimize(objective, np.zeros(3), tol=1e-12).x
    model = ridge("cox", X, y)
    np.testing.assert_allclose(model.predict(X), pooled @ w, atol=1e-4)
    assert not model.intercept_.any()


@pytest.mark.parametrize("loss", ["binary", "squared", "huber", "poisson", "cox"])
def test_along_a_path_to_a_verified_folder(loss, tmp_path):
    X, pooled, rng = tokens()
    y = targets_of(loss, pooled, rng)
    kind = HeadClassifierCV if loss == "binary" else HeadRegressorCV
    model = kind("attention", betas=4, loss=loss, tol=1e-3).fit(X, y)
    assert model.certificate_.relative_gap <= 1e-3
    assert model.path_.score_name == {"binary": "auroc", "poisson": "poisson_deviance", "cox": "concordance"}.get(
        loss, "r2"
    )
    assert np.isfinite([[p.score, p.loss] for p in model.path_]).all()
    shape = (80,) if loss == "cox" else (80, 2)
    predicted = model.predict(X)
    assert predicted.shape == shape
    model.head_.save_pretrained(tmp_path / "head")
    head = Head.from_pretrained(tmp_path / "head")
    np.testing.assert_array_equal(head.outputs(ArrayTokens(X)).numpy(), model.head_.outputs(ArrayTokens(X)).numpy())
    assert verify(head, ArrayTokens(X), y).holds
    if loss != "binary":
        assert np.isfinite(model.score(X, y))


def test_huber_with_another_delta_stays_it(tmp_path):
    X, pooled, rng = tokens()
    y = targets_of("huber", pooled, rng)
    y[::9] += 50
    model = HeadRegressor("linear", beta=1e-3, loss="huber", loss_options={"delta": 0.5}).fit(X, y)
    assert model.head_.loss["delta"] == 0.5
    squared = HeadRegressor("linear", beta=1e-3).fit(X, y)
    clean = np.arange(80) % 9 != 0
    errors = [np.abs(m.predict(X) - y)[clean].mean() for m in (model, squared)]
    assert errors[0] < 0.5 * errors[1]
    assert verify(model.head_, ArrayTokens(X), y).holds


@pytest.mark.parametrize(("kind", "loss"), [(HeadClassifier, "cox"), (HeadRegressor, "multinomial")])
def test_losses_of_the_other_estimator_are_refused(kind, loss):
    X, pooled, _ = tokens()
    with pytest.raises(InputError, match="is for"):
        kind(loss=loss).fit(X, pooled[:, 0])


def test_a_perfect_fit_is_certified():
    X = np.random.default_rng(0).normal(size=(30, 4, 3))
    found = HeadRegressor("linear", beta=1e-2).fit(X, np.ones(30))
    assert found.certificate_.relative_gap <= 1e-6
    assert found.rank_ == 0


def test_survival_times_are_not_negative_and_scores_have_no_weights():
    X = np.random.default_rng(0).normal(size=(30, 4, 3))
    Y = np.stack([X[:, 0, 0], np.ones(30)], 1)
    with pytest.raises(InputError, match="must not be negative"):
        HeadRegressor("linear", loss="cox").fit(X, Y)
    found = HeadRegressor("linear", loss="cox", beta=1e-2).fit(X, np.abs(Y))
    with pytest.raises(InputError, match="no sample weights"):
        found.score(X, np.abs(Y), sample_weight=np.ones(30))


def test_a_store_knows_its_own_mask_and_layout(tmp_path):
    X, y = np.random.default_rng(0).normal(size=(30, 4, 3)), np.arange(30) % 2
    store = TokenStore.from_arrays(tmp_path / "store", X, y)
    with pytest.raises(InputError, match="knows its own mask"):
        HeadClassifier("linear").fit(store, mask=np.ones((30, 4), dtype=bool))
    with pytest.raises(InputError, match="knows its own num_prefix"):
        HeadClassifier("linear", num_prefix=1).fit(store)


@pytest.mark.parametrize(
    ("loss", "options", "said"),
    [
        ("cox", {"ties": "efron"}, "the loss 'cox' takes no options, got loss_options={'ties': 'efron'}"),
        ("huber", {"delta": "a"}, "the loss 'huber' takes the options delta, got"),
    ],
)
def test_options_of_a_loss_are_named(loss, options, said):
    X, pooled, rng = tokens()
    with pytest.raises(InputError, match=re.escape(said)):
        HeadRegressor("linear", loss=loss, loss_options=options).fit(X, targets_of(loss, pooled, rng))


def test_a_fold_that_cannot_be_fitted_is_named():
    X, _, _ = tokens()
    counts = np.zeros(len(X))
    counts[0] = 3
    with pytest.raises(InputError, match="training samples of fold 1 of 4: outputs"):
        HeadRegressorCV("linear", loss="poisson", cv=[_without(i, len(X)) for i in range(4)]).fit(X, counts)


def _without(fold: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    held_out = np.arange(fold, count, 4)
    return np.setdiff1d(np.arange(count), held_out), held_out


@pytest.mark.parametrize("scale", [1e100, 1e300, 1e-20])
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_targets_that_single_precision_cannot_square_are_refused(loss, scale):
    X, pooled, _ = tokens()
    with pytest.raises(InputError, match="divide the targets by a common factor"):
        HeadRegressor("attention", beta=BETA * scale, loss=loss).fit(X, scale * pooled[:, 0])


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_targets_far_from_zero_are_fitted_and_verified(loss, tmp_path):
    X, pooled, _ = tokens()
    near = pooled[:, 0] + X[:, 0, 1] * X[:, 1, 2]
    far = 1e9 + 1e3 * near

    def fitted(targets, delta):
        options = {"delta": delta} if loss == "huber" else {}
        return HeadRegressorCV("attention", loss=loss, loss_options=options, betas=3, tol=1e-3).fit(X, targets)

    model, plain = fitted(far, 1e3), fitted(near, 1.0)
    assert model.certificate_.relative_gap <= 1e-3
    assert model.beta_ == pytest.approx(1e3 * plain.beta_, rel=1e-5)
    assert model.score(X, far) == pytest.approx(plain.score(X, near), abs=1e-3)
    model.head_.save_pretrained(tmp_path / "head")
    assert verify(tmp_path / "head", X, far).holds
    assert not verify(tmp_path / "head", X, far + 1).holds
