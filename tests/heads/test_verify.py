"""`verify` with changed data, changed coordinates and changed claims: none of them may pass."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import headwise
from headwise.errors import InputError
from headwise.heads import Head, HeadClassifier, verify
from headwise.tokens import ArrayTokens, TokenStore


@pytest.fixture
def saved(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(60) % 3)
    X = rng.normal(size=(60, 5, 4))
    X[np.arange(60), :, y] += 1
    store = TokenStore.from_arrays(tmp_path / "store", X, y, dtype="float32")
    weights = rng.uniform(0.5, 2, 60)
    HeadClassifier("attention", beta=0.02).fit(store, sample_weight=weights).head_.save_pretrained(tmp_path / "head")
    return tmp_path / "head", tmp_path / "store"


def change(file, name: str, by: float = 0.01) -> None:
    tensors = load_file(file)
    tensors[name].view(-1)[0] += by if tensors[name].is_floating_point() else 1
    save_file(tensors, file)


def test_a_weighted_head_holds_with_its_weights_and_not_without(saved):
    head, store = saved
    assert verify(head, store).holds
    file = head / "training.safetensors"
    tensors = load_file(file)
    del tensors["weights"]
    save_file(tensors, file)
    assert not verify(head, store).holds


def test_what_was_found_is_said_in_a_line(saved):
    head, store = saved
    found = verify(head, store)
    assert str(found) == f"the claim holds: {found.found}" and len(repr([found])) < 200
    assert repr((found.claimed,)) == f"(Certificate({found.claimed}),)"
    change(head / "model.safetensors", "parts.0.mean")
    assert "the claim does not hold: the head" in str(verify(head, store))


@pytest.mark.parametrize("name", ["parts.0.mean", "parts.0.projection"])
def test_changed_coordinates(saved, name):
    head, store = saved
    change(head / "model.safetensors", name)
    found = verify(head, store)
    assert not found.holds and any("conditioning" in reason for reason in found.reasons)


@pytest.mark.parametrize(("name", "by"), [("weights", 0.1), ("rows", 1)])
def test_changed_training_samples(saved, name, by):
    head, store = saved
    change(head / "training.safetensors", name, by)
    assert not verify(head, store).holds


def test_a_changed_scale(saved):
    head, store = saved
    config = json.loads((head / "config.json").read_text())
    config["parts"][0]["conditioner"]["scale"] *= 1.001
    (head / "config.json").write_text(json.dumps(config))
    assert not verify(head, store).holds


def test_a_changed_label(saved):
    head, store = saved
    file = store / "samples.safetensors"
    tensors = load_file(file)
    tensors["labels"][0] = (tensors["labels"][0] + 1) % 3
    save_file(tensors, file)
    found = verify(head, store)
    assert not found.holds
    assert any("samples.safetensors has changed" in reason for reason in found.reasons)
    assert any("objective" in reason for reason in found.reasons), "the label itself is seen, not its hash alone"


def test_labels_given_by_hand(saved):
    head, store = saved
    opened = TokenStore.open(store)
    tokens = ArrayTokens(opened.read().values)
    with pytest.raises(InputError, match="labels are needed"):
        verify(head, tokens)
    found = verify(head, tokens, opened.labels)
    assert found.found is not None and found.found.gap == pytest.approx(found.claimed.gap, rel=1e-6)
    found = verify(head, opened, opened.labels + 7)
    assert not found.holds and any("does not know" in reason for reason in found.reasons)


def test_any_changed_weight_is_seen(saved):
    """Also where it hardly moves the objective."""
    head, store = saved
    change(head / "model.safetensors", "parts.0.v.0", 1e-13)
    found = verify(head, store)
    assert not found.holds and any("weights" in reason for reason in found.reasons)


@pytest.mark.parametrize("key", ["classes", "fit_intercept"])
def test_changed_settings(saved, key):
    head, store = saved
    config = json.loads((head / "config.json").read_text())
    config[key] = {"classes": [2, 1, 0], "fit_intercept": False}[key]
    (head / "config.json").write_text(json.dumps(config))
    assert not verify(head, store).holds


def test_changed_class_names(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    store = TokenStore.from_arrays(tmp_path / "store", rng.normal(size=(40, 3, 4)), y, class_names=("cat", "dog"))
    head = HeadClassifier("linear", beta=0.1).fit(store).head_
    head.class_names = ["cat", "dog"]
    assert verify(head, store).holds
    head.class_names = ["dog", "cat"]
    found = verify(head, store)
    assert not found.holds and any("class names" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gap", 0.0),
        ("relative_gap", 1e-9),
        ("primal", 0.1),
        ("dual", 0.9),
        ("num_samples", 600),
        ("beta", 0.019),
        ("beta", 0.021),
        ("context", {}),
    ],
)
def test_changed_claims(saved, field, value):
    head, store = saved
    file = head / "certificate.json"
    claim = json.loads(file.read_text())
    claim[field] = value
    file.write_text(json.dumps(claim))
    assert not verify(head, store).holds


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("relative_gap", float("nan")),
        ("relative_gap", None),
        ("gap", float("inf")),
        ("primal", "0.5"),
        ("beta", 0),
        ("kind", "sworn"),
        ("failure_probability", -1.0),
    ],
)
def test_claims_that_are_no_numbers(saved, field, value):
    head, store = saved
    file = head / "certificate.json"
    claim = json.loads(file.read_text())
    claim[field] = value
    file.write_text(json.dumps(claim))
    with pytest.raises(InputError, match=field.replace("_", ".")):
        verify(head, store)


def test_a_tight_probabilistic_claim_is_checked_as_tightly(monkeypatch):
    """With the default looseness of `certify` the bound found here would be far above the bound claimed."""
    monkeypatch.setattr("headwise.solvers.certificate.EXACT_LIMIT", 0)
    rng = np.random.default_rng(0)
    c = d = 30  # A*(theta) is 900 x 900: block Lanczos with eight columns ends before it has spanned the space
    y = np.arange(90) % c
    X = rng.normal(size=(90, 2, d)) / 3
    X[np.arange(90), :, y] += 1
    model = HeadClassifier("attention", beta=0.02, tol=1e-5, condition=False).fit(X, y)
    assert model.certificate_.kind == "probabilistic"
    found = verify(model.head_, ArrayTokens(X), y)
    assert found.holds, found.reasons
    loose = HeadClassifier("attention", beta=0.02, tol=1e-2, condition=False).fit(X, y).head_
    assert verify(loose, ArrayTokens(X), y).holds
    loose.certificate = replace(loose.certificate, failure_probability=0.0)
    found = verify(loose, ArrayTokens(X), y)
    assert not found.holds and "may fail" in found.reasons[0]


@pytest.mark.parametrize("name", ["config.json", "certificate.json"])
def test_a_broken_file_is_named(saved, name):
    head, store = saved
    (head / name).write_text("{")
    with pytest.raises(InputError, match=name):
        verify(head, store)


def test_a_missing_or_truncated_weight_file_is_named(saved):
    head, store = saved
    file = head / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="not a complete head"):
        verify(head, store)
    file.unlink()
    with pytest.raises(InputError, match="not a complete head"):
        Head.from_pretrained(head)


def test_a_head_without_a_claim_has_nothing_to_verify(saved):
    head, store = saved
    (head / "certificate.json").unlink()
    with pytest.raises(InputError, match="no claim to verify"):
        verify(head, store)


def test_tokens_of_another_store(saved, tmp_path):
    head, _ = saved
    rng = np.random.default_rng(5)
    other = TokenStore.from_arrays(tmp_path / "other", rng.normal(size=(60, 5, 4)), np.arange(60) % 3)
    found = verify(head, other)
    assert not found.holds and any("fingerprint" in reason for reason in found.reasons)
    with pytest.raises(InputError, match="width 4, got width 3"):
        verify(head, ArrayTokens(torch.zeros(60, 5, 3)), np.zeros(60))


@pytest.fixture
def of_arrays(tmp_path):
    """A head that was fitted on arrays with classes in words, the arrays, and their labels."""
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 3
    X = rng.normal(size=(60, 5, 4))
    X[np.arange(60), :, codes] += 1
    y = np.array(["cat", "dog", "elk"])[codes]
    mask = np.ones((60, 5), dtype=bool)
    mask[::7, 3:] = False
    X[~mask] = 0  # as a store keeps them
    return HeadClassifier("attention", beta=0.02, n_components=3).fit(X, y, mask=mask).head_, X, y, mask


def test_a_head_of_arrays_holds_on_their_file_and_on_a_store_that_keeps_them_whole(of_arrays, tmp_path):
    head, X, y, mask = of_arrays
    assert verify(head, X, y, mask).holds
    np.savez(tmp_path / "tokens.npz", tokens=X, labels=y, mask=mask)
    assert verify(head, tmp_path / "tokens.npz").holds
    whole = TokenStore.from_arrays(tmp_path / "whole", X, y, mask=mask, dtype="float64", shard_size=7)
    assert verify(head, whole).holds
    rounded = TokenStore.from_arrays(tmp_path / "rounded", X, y, mask=mask)
    found = verify(head, rounded)
    assert not found.holds
    assert "fingerprint" in found.reasons[0] and "this store keeps float16" in found.reasons[0]


@pytest.mark.parametrize("what", ["tokens", "mask", "labels"])
def test_a_store_or_file_of_other_arrays_does_not_hold(of_arrays, tmp_path, what):
    head, X, y, mask = of_arrays
    given = {"tokens": X.copy(), "labels": y.copy(), "mask": mask.copy()}
    if what == "tokens":
        given["tokens"][5, 1, 2] += 1e-12
    else:
        given[what][0] = {"mask": True, "labels": "dog"}[what]
    np.savez(tmp_path / "tokens.npz", **given)
    store = TokenStore.from_arrays(tmp_path / "store", **given, dtype="float64")
    for tokens in (tmp_path / "tokens.npz", store):
        found = verify(head, tokens)
        assert not found.holds
        assert any("fingerprint" in reason for reason in found.reasons) == (what != "labels")


def test_a_file_without_tokens_is_named(of_arrays, tmp_path):
    np.savez(tmp_path / "images.npz", images=np.zeros((4, 8, 8, 3), dtype=np.uint8), labels=[0, 1, 0, 1])
    with pytest.raises(InputError, match="holds no tokens"):
        verify(of_arrays[0], tmp_path / "images.npz")


def test_another_layout_is_told_with_both(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 5, 4)), np.arange(30) % 2
    fitted = TokenStore.from_arrays(tmp_path / "fitted", X, y, num_prefix=1, grid=(2, 2))
    other = TokenStore.from_arrays(tmp_path / "other", X, y)
    model = HeadClassifier("default", beta=0.05, n_components=3).fit(fitted)
    both = "1 prefix token and 4 patch tokens on a grid of 2 x 2, these have 5 patch tokens"
    found = verify(model, other)
    assert not found.holds and found.found is None and both in found.reasons[0]
    np.savez(tmp_path / "other.npz", tokens=X, labels=y, num_prefix=2)
    np.savez(tmp_path / "plain.npz", tokens=X, labels=y)
    for ask in (
        lambda: headwise.predict(model, other),
        lambda: headwise.explain(model, other),
        lambda: model.predict(other),
        lambda: model.head_.outputs(other),
    ):
        with pytest.raises(InputError, match=both):
            ask()
    with pytest.raises(InputError, match="these have 2 prefix tokens and 3 patch tokens"):
        headwise.predict(model, tmp_path / "other.npz")
    with pytest.raises(InputError, match="fitted on 5 tokens a sample, got 4"):
        headwise.predict(model, X[:, :4])
    # what says nothing of its layout has that of the head
    wanted = model.predict_proba(X)
    np.testing.assert_array_equal(headwise.predict(model, X)[1], wanted)
    np.testing.assert_array_equal(headwise.predict(model, tmp_path / "plain.npz")[1], wanted)
