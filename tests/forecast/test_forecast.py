"""A whole forecast: from stores, from arrays, and what it refuses."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

import headwise
from headwise import InputError
from headwise.forecast import Visibility
from headwise.tokens import ArrayTokens, TokenStore


@pytest.fixture
def store(tmp_path, clusters):
    x, y = clusters(400, d=24, classes=4)
    tokens = np.stack([x, x[:, ::-1]], axis=1)
    split = np.array(["train"] * 250 + ["val"] * 100 + ["test"] * 50)
    return TokenStore.from_arrays(tmp_path / "store", tokens, y, split=split, num_prefix=1, dtype="float32")


def test_from_a_store(store, tmp_path):
    other = TokenStore.from_arrays(tmp_path / "coarse", store.read().values, store.labels // 2, num_prefix=1)
    found = headwise.forecast(store.path, auxiliary=[other.path, (store, store.labels % 2)])
    assert found.name == "store" and found.status is Visibility.LEARNABLE
    assert found.spectrum.num_samples == 250 and found.spectrum.whitening.num_features == 48
    assert found.spectrum.num_visible == 3
    for curve in found.curves:
        assert curve.measured.num_samples == 100
        assert curve.measured.r2 >= 0.95
        assert abs(curve.measured.time_error) <= 0.25
    assert [benefit.name for benefit in found.benefits] == ["coarse", "store"]
    assert found.benefits[1].shift == 0 and found.benefits[1].value is not None
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["format_version"] == 1 and told["status"] == Visibility.LEARNABLE.value
    assert "3 of 3 modes of the labels are above the noise" in str(found)
    assert "stop at time" in str(found) and "twice the samples" in str(found)
    assert headwise.forecast(store.path, auxiliary=[other.path, (store, store.labels % 2)]).to_dict() == told


def test_the_figure_has_the_forecast_and_the_measurement(store):
    figure = headwise.forecast(store, depths=[1, 2, 3]).plot()
    assert len(figure.axes) == 3
    for axes in figure.axes:
        assert len(axes.containers) == 2, "dots of both measured curves"
        assert axes.get_xlabel() == "time (steps x learning rate)"
    assert not plt.get_fignums(), "no figure is left open"


def test_test_samples_are_never_read(store):
    rows = []

    class Watched(ArrayTokens):
        labels, split = store.labels, store.split

        def chunks(self, asked=None, *args, **kwargs):
            rows.extend(asked)
            return super().chunks(asked, *args, **kwargs)

    headwise.forecast(Watched(store.read().values, num_prefix=1), train=False)
    assert sorted(rows) == list(range(350))


def test_without_training_there_is_no_measurement(store):
    found = headwise.forecast(store, train=False, depths=(2,))
    assert found.curve(2).measured is None and "measured" not in str(found)
    with pytest.raises(InputError, match="no curve of depth 1"):
        found.curve(1)


def test_arrays_and_label_sets_of_the_same_samples(planted):
    made = planted(d=30, outputs=8, strengths=(1.0, 0.8), noise=0.6)
    x, y = made.draw(500)
    noise = np.random.default_rng(0).integers(3, size=500)
    found = headwise.forecast(x, y, auxiliary={"first three": y[:, :3], "noise": list(noise)})
    assert found.spectrum.num_samples == 400
    assert found.benefits[1].name == "noise" and found.benefits[1].value <= 0
    assert found.scores.h_score is None


def test_nothing_learnable_is_an_answer():
    rng = np.random.default_rng(2)
    tokens, labels, others = rng.normal(size=(200, 20)), rng.integers(4, size=200), rng.integers(2, size=200)
    found = headwise.forecast(tokens, labels, auxiliary=[others])
    assert found.status is Visibility.NOTHING
    assert "nothing learnable is visible at this sample size" in found.lines()[1]
    assert found.curve(2).best.time == 0 and found.benefits[0].value is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_nce_where_the_source_classes_are_known(store):
    found = headwise.forecast(store, source_classes=store.labels, train=False)
    assert found.scores.nce == 0
    assert headwise.forecast(store, train=False).scores.nce is None


def from_backbone(store, path, **origin):
    """The same tokens in a store that says where they came from."""
    made = TokenStore.from_arrays(path, store.read().values, store.labels, num_prefix=1)
    file = made.path / "manifest.json"
    told = json.loads(file.read_text())
    told |= {"backbone": "one", "weights_hash": "a" * 64, "layer": 3, "at": "output", "preprocessing": {}} | origin
    file.write_text(json.dumps(told))
    return TokenStore.open(path)


def test_stores_of_different_backbones_are_refused(store, tmp_path):
    one = from_backbone(store, tmp_path / "one")
    other = from_backbone(store, tmp_path / "two", backbone="other", layer=2)
    assert headwise.forecast(one, auxiliary=[from_backbone(store, tmp_path / "three")], train=False).benefits
    with pytest.raises(InputError, match=r"or layers \(backbone: 'one' and 'other'; layer: 3 and 2\)"):
        headwise.forecast(one, auxiliary=[other], train=False)
    narrow = TokenStore.from_arrays(tmp_path / "narrow", np.random.default_rng(0).normal(size=(40, 5)), [0, 1] * 20)
    with pytest.raises(InputError, match="48 features a sample and narrow has 5"):
        headwise.forecast(store, auxiliary=[narrow], train=False)


def test_a_small_auxiliary_store_narrows_the_directions(store, tmp_path):
    few = TokenStore.from_arrays(tmp_path / "few", store.read(np.arange(60)).values, store.labels[:60], num_prefix=1)
    found = headwise.forecast(store, auxiliary=[few], train=False)
    assert found.spectrum.num_directions == 24  # the second token repeats the first
    assert found.benefits[0].num_samples == 48


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"labels": [0] * 400}, "two classes"),
        ({"labels": [0.5] * 399 + [np.nan]}, "NaN"),
        ({"labels": [0, 1]}, r"\(400,\) is needed"),
        ({"depths": []}, "depths"),
        ({"depths": [0]}, "each of depths"),
        ({"depths": [2, 2]}, "differ"),
        ({"auxiliary": "store"}, "a list of stores"),
        ({"auxiliary": [[0, 1]]}, r"\(400,\) is needed"),
        ({"start": 0}, "start"),
        ({"train": 1}, "train"),
        ({"n_components": 0}, "n_components"),
        ({"source_classes": [1, 2]}, r"\(400,\) is needed"),
    ],
)
def test_bad_input(store, how, said):
    with pytest.raises(InputError, match=said):
        headwise.forecast(store, **how)


def test_tokens_without_labels_or_with_values_that_are_not_finite():
    tokens = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(InputError, match="no labels of their own"):
        headwise.forecast(tokens)
    tokens[3, 1] = np.inf
    with pytest.raises(InputError, match="NaN or infinity"):
        headwise.forecast(tokens, [0, 1] * 10)
