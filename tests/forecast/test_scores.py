"""Scores of features for labels, each against its definition."""

from __future__ import annotations

from collections import Counter
from math import log

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, weightedtau

from headwise import InputError
from headwise.forecast import agreement, compare_scores, estimate_spectrum, forecast_score, h_score, logme, nce


@pytest.mark.parametrize(("n", "d"), [(30, 5), (15, 25)])
def test_logme_is_the_largest_evidence(n, d):
    """By brute force: the density of the labels under the model, largest over both precisions."""
    rng = np.random.default_rng(0)
    features, y = rng.normal(size=(n, d)) + 0.5, rng.integers(3, size=n)
    features[:, 0] += y
    found = []
    for k in range(3):
        column = (y == k).astype(float)

        def loss(logs, column=column):
            covariance = np.exp(logs[0]) * np.eye(n) + np.exp(logs[1]) * features @ features.T
            return -multivariate_normal(np.zeros(n), covariance).logpdf(column)

        starts = [(-2, -4), (-4, -2)]
        found.append(-min(minimize(loss, s, method="Nelder-Mead", options={"xatol": 1e-6}).fun for s in starts) / n)
    assert logme(features, y) == pytest.approx(np.mean(found), abs=1e-5)


def test_logme_of_numbers():
    rng = np.random.default_rng(0)
    features, noise = rng.normal(size=(50, 4)), rng.normal(size=50)
    scores = [logme(features, features[:, 0] + level * noise) for level in (0.1, 0.5, 2.0)]
    assert scores == sorted(scores, reverse=True)


def test_h_score_is_its_definition():
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=80)
    features = rng.normal(size=(80, 6)) + rng.normal(size=(4, 6))[y]
    features = np.hstack([features, features[:, :2]])  # the covariance has no inverse
    means = np.stack([features[y == k].mean(0) for k in range(4)])[y]
    expected = np.trace(np.linalg.pinv(np.cov(features.T), rcond=1e-10) @ np.cov(means.T))
    assert h_score(features, y) == pytest.approx(expected, rel=1e-9)


def test_nce_is_its_definition():
    rng = np.random.default_rng(0)
    z, y = rng.integers(5, size=200), rng.integers(3, size=200)
    pairs, sources = Counter(zip(z.tolist(), y.tolist(), strict=True)), Counter(z.tolist())
    expected = sum(count / 200 * log(count / sources[a]) for (a, _), count in pairs.items())
    assert nce(z, y) == pytest.approx(expected)


def test_better_features_have_better_scores():
    rng = np.random.default_rng(0)
    y = rng.integers(5, size=300)
    centres = rng.normal(size=(5, 20))
    kinds = {name: [] for name in ("forecast", "logme", "h_score", "nce")}
    for spread in (0.5, 1.0, 2.0, 4.0, 8.0):
        features = centres[y] + spread * rng.normal(size=(300, 20))
        source = np.where(rng.random(300) < spread / 10, rng.integers(5, size=300), y)
        found = compare_scores(estimate_spectrum(features, y), features, y, source)
        for name, value in found.to_dict().items():
            kinds[name].append(value)
    for values in kinds.values():
        assert values == sorted(values, reverse=True)


def test_the_forecast_score_is_what_held_out_samples_say(planted):
    made = planted(d=40, outputs=5, strengths=(1.0, 0.7), noise=0.5)
    spectrum = estimate_spectrum(*made.draw(300))
    assert forecast_score(spectrum) == pytest.approx((1 + 0.49) / made.variance, abs=0.08)
    assert forecast_score(spectrum) == pytest.approx(1 - spectrum.at().least_error)


def test_scores_of_numbers_have_no_classes(planted):
    x, y = planted().draw(200)
    found = compare_scores(estimate_spectrum(x, y), x, y)
    assert found.h_score is None and found.nce is None
    assert np.isfinite([found.forecast, found.logme]).all()


def test_agreement():
    rng = np.random.default_rng(0)
    measured = np.linspace(0.5, 0.9, 24)
    close, far = measured + 0.02 * rng.normal(size=24), rng.normal(size=24)
    found = agreement(close, measured, resamples=150)
    assert found.tau == pytest.approx(weightedtau(close, measured)[0])
    assert found.low < found.tau <= 1 and found.low > 0.6 and found.resamples == 150
    assert agreement(close, measured, resamples=150) == found
    unsure = agreement(far, measured, resamples=150)
    assert unsure.tau < found.low and unsure.high - unsure.low > 0.5


@pytest.mark.parametrize(
    ("scores", "measured", "said"),
    [
        ([1, 2], [1, 2], "three candidates"),
        ([1, 2, np.nan], [1, 2, 3], "finite"),
        ([1, 2, 3], [1, 2], "shapes"),
        ([1, 1, 1], [1, 2, 3], "no order"),
    ],
)
def test_what_has_no_order(scores, measured, said):
    with pytest.raises(InputError, match=said):
        agreement(scores, measured)


def test_bad_input():
    x = np.random.default_rng(0).normal(size=(6, 2))
    with pytest.raises(InputError, match="H-score is about classes"):
        h_score(x, np.arange(6) / 7)
    with pytest.raises(InputError, match="6 rows of features and 5 labels"):
        logme(x, [0, 1, 0, 1, 0])
    with pytest.raises(InputError, match="6 source classes and 5 labels"):
        nce(np.arange(6), np.arange(5))
    with pytest.raises(InputError, match="one row of whole numbers"):
        nce(np.arange(6) / 7, np.arange(6))
    with pytest.raises(InputError, match="NaN"):
        logme(np.where(x > 1, np.nan, x), [0, 1] * 3)


def test_few_samples_of_wide_features_are_scored_on_their_leading_directions():
    """Where the signal lies in the directions of most variance, the others cost more than they bring."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4200, 60)) * np.r_[np.full(8, 3.0), np.ones(52)]
    labels = features[:, :4] / 3 + rng.normal(size=(4200, 4))
    few, unseen = slice(0, 180), slice(200, 4200)
    spectrum = estimate_spectrum(features[few], labels[few])
    score = forecast_score(spectrum, features[few], labels[few])
    assert score > forecast_score(spectrum) + 0.02
    (leading,) = spectrum.whitening.leading(features[few], [15])
    fitted = estimate_spectrum(features[few], labels[few], whitening=leading)
    rest = fitted.labels(labels[unseen]) - leading(features[unseen]) @ fitted.matrix.T
    reached = 1 - (rest**2).sum() / (fitted.labels(labels[unseen]) ** 2).sum()  # least squares on 15 directions
    assert score == pytest.approx(reached, abs=0.06)
    many = estimate_spectrum(features, labels)
    assert forecast_score(many, features, labels) == forecast_score(many)
