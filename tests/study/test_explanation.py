"""Explanations of a head on its store, on arrays and on pictures: sums that hold, and a page that can be read."""

from __future__ import annotations

import json

import numpy as np
import pytest

import headwise
from headwise.errors import InputError
from headwise.heads import HeadClassifier, PartSpec
from headwise.tokens import TokenStore, extract, open_data


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, draw_pictures):
    """24 pictures of two classes, their store, and a head with clusters on it."""
    root = tmp_path_factory.mktemp("explained")
    store = extract(headwise.load_backbone("embedded"), open_data(draw_pictures(root / "photos", 12)), root / "tokens")
    block = [PartSpec("linear", "prefix", "ridge"), PartSpec("attention", gate="cluster", num_gates=3)]
    model = HeadClassifier(block, beta=0.02, n_components=4).fit(store)
    return root, store, model.head_


def check_sums(found):
    for sample in found.data["samples"]:
        parts = [sample[name] for name in ("intercept", "prefix", "patch") if sample[name] is not None]
        assert sum(parts) == pytest.approx(sample["value"], abs=1e-9)
        if sample["map_key"]:
            assert found.arrays[sample["map_key"]].sum() == pytest.approx(sample["patch"], abs=1e-4)


def test_pictures_and_their_store_say_the_same(pictures, tmp_path):
    root, store, head = pictures
    here = headwise.explain(head, root / "photos", samples=4)
    there = headwise.explain(head, root / "tokens", samples=4)
    check_sums(here)
    check_sums(there)
    assert [s["name"] for s in here.data["samples"]] == [store.ids[i] for i in (0, 8, 15, 23)]
    for one, two in zip(here.data["samples"], there.data["samples"], strict=True):
        assert one["name"] == two["name"] and one["output"] == two["output"]
        assert one["value"] == pytest.approx(two["value"], abs=0.05)  # stores hold half precision
        assert one["image_key"] and two["image_key"] is None
        assert here.arrays[one["image_key"]].shape == (32, 32, 3)
    (gate,) = here.data["gates"]
    assert gate["kind"] == "pair" and sum(gate["sizes"]) == 4 * 64
    assert set(np.unique(here.arrays[gate["labels"][0]["query_key"]])) <= {0, 1, 2}
    json.dumps(here.data)
    page = here.save(tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 4 * 2 + 4
    assert there.html().count("data:image/jpeg") == 4 + 4


def test_what_is_open_already_is_as_good_as_its_path(pictures):
    root, store, head = pictures
    there = headwise.explain(head, root / "tokens", samples=4)
    tokens = store.read().values
    for data, title in ((store, there.data["title"]), (tokens, "What the head sees in arrays"), (tokens.numpy(), None)):
        found = headwise.explain(head, data, samples=4)
        assert found.data["title"] == title or title is None
        assert [s["value"] for s in found.data["samples"]] == [s["value"] for s in there.data["samples"]]
        assert found.html()


def test_tokens_without_a_grid_and_numbers(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 40, 3))
    head = headwise.HeadRegressor("linear", beta=0.01).fit(X, X[:, 3, 0]).head_
    np.save(tmp_path / "tokens.npy", X.astype(np.float32))
    found = headwise.explain(head, tmp_path / "tokens.npy", samples=2)
    check_sums(found)
    assert found.arrays[found.data["samples"][0]["map_key"]].shape == (2, 32)  # lines of 32, the last one filled up
    assert "output 0" in found.html() and found.data["gates"] == []


def test_gates_that_cannot_be_drawn_are_counted(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 6, 3)), np.arange(40) % 2
    X[:, 0, 0] += y
    np.save(tmp_path / "tokens.npy", X)
    for gate, count in (("gaussian", 2), ("window", 1)):
        model = HeadClassifier("attention", beta=0.01, gate=gate, num_gates=count, grid=(2, 3)).fit(X, y)
        left_out = headwise.explain(model.head_, tmp_path / "tokens.npy").data["gates_left_out"]
        assert left_out["without_clusters"] >= 1


def test_what_cannot_be_explained(pictures, tmp_path):
    root, _, head = pictures
    with pytest.raises(InputError, match="1 to 100"):
        headwise.explain(head, root / "photos", samples=0)
    with pytest.raises(InputError, match="a folder; give a file"):
        headwise.explain(head, root / "tokens", samples=1).save(tmp_path)
    np.save(tmp_path / "other.npy", np.zeros((4, 5, 6)))
    with pytest.raises(InputError, match="fitted on"):
        headwise.explain(head, tmp_path / "other.npy")
    TokenStore.from_arrays(tmp_path / "wrong", np.ones((4, 5, 6)), [0, 1, 0, 1])
    with pytest.raises(InputError, match="fitted on"):
        headwise.explain(head, tmp_path / "wrong")


def test_a_folder_is_a_head(pictures, tmp_path):
    root, _, head = pictures
    head.save_pretrained(tmp_path / "head")
    assert len(headwise.explain(tmp_path / "head", root / "tokens", samples=2).data["samples"]) == 2
