"""`verify` with changed data, changed coordinates and changed claims: none of them may pass."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

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
