"""The report's forecast of a linear probe: made from training samples, and left out where it would take long."""

from __future__ import annotations

import json

import numpy as np
import pytest

from headwise.forecast import estimate_spectrum, learning_curve, measure
from headwise.study import forecast as room
from headwise.study.data import three_parts
from headwise.study.forecast import forecast_facts
from headwise.tokens import TokenStore


@pytest.fixture
def made(tmp_path):
    """A store of two tokens a sample, one of them a prefix, and its three parts."""

    def make(tokens, labels):
        store = TokenStore.from_arrays(tmp_path / "store", tokens, labels, num_prefix=1, dtype="float32")
        return store, three_parts(store, 0)[0]

    return make


def clusters(n=400, d=12):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    return (rng.normal(size=(n, 2, d)) + rng.normal(size=(3, 1, d))[labels]).astype(np.float32), labels


def test_facts_are_those_of_the_forecast_room(made):
    tokens, labels = clusters()
    store, splits = made(tokens, labels)
    found = forecast_facts(store, splits)
    features = tokens.reshape(len(tokens), -1)
    train, val = splits.rows["train"], splits.rows["val"]
    spectrum = estimate_spectrum(features[train], labels[train])
    assert found["refused"] is None and found["spectrum"] == spectrum.to_dict()
    assert found["features"] == "the prefix tokens joined with the mean patch token"
    for told, depth in zip(found["curves"], (1, 2), strict=True):
        curve = learning_curve(spectrum, depth, num_times=100)
        seen = measure(spectrum, curve, features[val], labels[val])
        assert told["best"] == curve.best._asdict() and told["doubled"] == curve.doubled._asdict()
        np.testing.assert_allclose(told["measured"]["held_out"], seen.held_out, rtol=1e-12)
        assert told["measured"]["r2"] > 0.9
    assert json.loads(json.dumps(found)) == found


def test_reasons_why_there_is_none(made, monkeypatch):
    tokens, labels = clusters()
    store, splits = made(tokens, labels)
    monkeypatch.setattr(room, "MOST_TRAINING", 0)
    assert [curve["measured"] for curve in forecast_facts(store, splits)["curves"]] == [None, None]
    monkeypatch.setattr(room, "MOST_NUMBERS", 1000)
    assert "training samples of 24 features each would take longer" in forecast_facts(store, splits)["refused"]


def test_tokens_that_are_all_the_same(made):
    store, splits = made(np.ones((60, 2, 3), np.float32), np.arange(60) % 2)
    assert forecast_facts(store, splits) == {
        "refused": "the features are the same for all samples; nothing can be learned from them"
    }


@pytest.mark.parametrize(
    ("samples", "features", "made"), [(1078, 256, True), (40_000, 768, True), (1500, 768, True), (3000, 9216, False)]
)
def test_what_is_too_much(samples, features, made):
    assert (room._too_much(samples, features) is None) == made
