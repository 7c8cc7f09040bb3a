"""Linear regression by shrinkage: planted modes, noise levels, sizes, refusals. Its contract is in test_sklearn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from headwise import InputError, ShrinkageRegressor


def _planted(n=300, d=60, outputs=40, rank=2, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    spectrum = np.geomspace(1, 0.05, d)  # far from white
    X = rng.normal(size=(n, d)) * spectrum + 3
    weights = (rng.normal(size=(outputs, rank)) @ rng.normal(size=(rank, d))) / spectrum / (d * rank) ** 0.5
    clean = (X - 3) @ weights.T + 7
    return X, clean + noise * rng.normal(size=clean.shape), clean


@pytest.mark.parametrize("noise", ["residual", "median"])
def test_finds_planted_modes_and_noise_and_beats_least_squares(noise):
    X, Y, clean = _planted(noise=1.5)
    model = ShrinkageRegressor(noise=noise).fit(X, Y)
    assert model.rank_ == 2 and model.noise_ == pytest.approx(1.5, rel=0.05)
    least = LinearRegression().fit(X, Y)
    errors = [((m.predict(X) - clean) ** 2).mean() for m in (model, least)]
    assert errors[0] < 0.4 * errors[1]
    assert (model.shrunk_singular_values_ < model.singular_values_).all()
    np.testing.assert_allclose(X @ model.coef_.T + model.intercept_, model.predict(X))


def test_fewer_samples_than_features():
    X, Y, clean = _planted(n=50, d=80, outputs=60, noise=0.5)
    model = ShrinkageRegressor().fit(X, Y)
    assert model.rank_ == 2 and model.noise_ == pytest.approx(0.5, rel=0.1)
    assert ((model.predict(X) - clean) ** 2).mean() < 0.3 * 0.5**2
    with pytest.raises(InputError, match="nothing over to measure the noise"):
        ShrinkageRegressor(noise="residual").fit(X, Y)
    assert ShrinkageRegressor(noise=0.5).fit(X, Y[:, 0]).predict(X).shape == (50,)


def test_nothing_visible_is_an_answer():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(300, 40)), rng.normal(size=(300, 30)) + 2
    model = ShrinkageRegressor().fit(X, Y)
    assert model.rank_ <= 1  # the largest noise may just reach over the edge
    blind = ShrinkageRegressor(noise=5.0).fit(X, Y)
    assert blind.rank_ == 0
    np.testing.assert_allclose(blind.predict(X), np.tile(Y.mean(0), (300, 1)))


def test_exact_data_are_kept():
    X, _, clean = _planted(noise=0)
    model = ShrinkageRegressor().fit(X, clean)
    np.testing.assert_allclose(model.predict(X), clean, rtol=1e-6)
    one = ShrinkageRegressor().fit(X, clean[:, 0])
    assert one.coef_.shape == (60,) and isinstance(one.intercept_, float)


def test_inputs_that_say_nothing():
    """Constant inputs, a column that repeats another: directions that are not there are left out."""
    X, Y, _ = _planted()
    constant = ShrinkageRegressor().fit(np.ones((300, 3)), Y)
    np.testing.assert_allclose(constant.predict(np.ones((2, 3))), np.tile(Y.mean(0), (2, 1)))
    twice = ShrinkageRegressor().fit(np.hstack([X, X[:, :1]]), Y)
    once = ShrinkageRegressor().fit(X, Y)
    np.testing.assert_allclose(twice.predict(np.hstack([X, X[:, :1]])), once.predict(X), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": "mean"}, "noise must be auto, residual, median or a positive number"),
        ({"noise": -1.0}, "noise must be a positive number"),
        ({"noise": True}, "noise"),
        ({"floor": 1.0}, "floor must be a positive number below 1"),
    ],
)
def test_refuses_parameters(options, message):
    X, Y, _ = _planted()
    with pytest.raises(InputError, match=message):
        ShrinkageRegressor(**options).fit(X, Y)


def test_refuses_numbers_that_are_not_finite():
    X, Y, _ = _planted()
    X[0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        ShrinkageRegressor().fit(X, Y)
