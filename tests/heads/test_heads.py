"""Estimators, modules, saved heads and their verification."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from headwise.contracts import Tokens
from headwise.errors import InputError
from headwise.heads import Conditioner, Head, HeadClassifier, HeadClassifierCV, PartSpec, verify
from headwise.heads.explain import token_outputs, token_use
from headwise.heads.fitted_part import FittedPart
from headwise.tokens import ArrayTokens, TokenStore


def data(n: int = 90, s: int = 5, d: int = 6, c: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % c
    X = rng.normal(size=(n, s, d))
    X[:, 2, 0] += 2 * y
    X[:, 0, 1] -= y
    return X, y


@pytest.fixture
def saved(tmp_path):
    X, y = data()
    split = np.where(np.arange(len(y)) % 5 == 4, "val", "train")
    store = TokenStore.from_arrays(tmp_path / "store", X, y, split=split, num_prefix=1, grid=(2, 2), dtype="float32")
    model = HeadClassifierCV("default", betas=[0.05, 0.02], refit=False, n_components=4).fit(store)
    model.head_.save_pretrained(tmp_path / "head")
    return tmp_path, store, model


def test_the_raw_head_is_exactly_the_formula():
    X, y = data()
    model = HeadClassifier("attention", beta=0.05, condition=False).fit(X, y)
    (part,) = model.head_.parts
    assert len(part.u[0]) > 0
    p = np.full(X.shape[1], 1 / X.shape[1])
    wanted = []
    for x in X:
        f = model.intercept_.copy()
        for U, V in zip(part.u[0].detach().numpy(), part.v[0].detach().numpy(), strict=True):
            f += p @ (x @ U @ x.T) @ x @ V
        wanted.append(f)
    np.testing.assert_allclose(model.decision_function(X), wanted, atol=1e-12)
    # and its objective is mean loss + beta * nuclear norm
    f = torch.from_numpy(np.array(wanted))
    loss = torch.nn.functional.cross_entropy(f, torch.from_numpy(y))
    Z = torch.einsum("rp,rq->pq", part.u[0].detach().flatten(1), part.v[0].detach().flatten(1))
    value = float(loss) + 0.05 * float(torch.linalg.matrix_norm(Z, "nuc"))
    assert value == pytest.approx(model.certificate_.primal, rel=1e-9)


def test_the_class_token_is_the_only_query():
    X, y = data()
    spec = PartSpec("attention", "all", pooling="class")
    model = HeadClassifier(spec, beta=0.02, condition=False, num_prefix=1).fit(X, y)
    (part,) = model.head_.parts
    us, vs = part.u[0].detach().numpy(), part.v[0].detach().numpy()
    assert len(us) > 0
    wanted = [model.intercept_ + sum(x[0] @ U @ x.T @ x @ V for U, V in zip(us, vs, strict=True)) for x in X]
    np.testing.assert_allclose(model.decision_function(X), wanted, atol=1e-10)
    assert verify(model, X, y).holds
    with pytest.raises(InputError, match="no prefix tokens"):
        HeadClassifier(spec).fit(X, y)
    with pytest.raises(InputError, match="tokens='all'"):
        PartSpec("attention", pooling="class")


def test_ridge_linear_head_is_logistic_regression():
    X, y = data()
    beta = 0.02
    model = HeadClassifier([PartSpec("linear", "patch", "ridge")], beta=beta, tol=1e-9, condition=False).fit(X, y)
    other = LogisticRegression(C=1 / (len(y) * beta), tol=1e-9, max_iter=2000).fit(X.mean(1), y)
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(X.mean(1)), atol=1e-5)


def test_a_sum_of_blocks_is_never_worse_than_its_parts():
    X, y = data()
    fits = {
        b: HeadClassifier(b, beta=0.02, num_prefix=1, n_components=4).fit(X, y).certificate_
        for b in ("default", "linear_prefix", "attention")
    }
    assert fits["default"].dual <= fits["linear_prefix"].primal
    assert fits["default"].dual <= fits["attention"].primal
    assert max(c.relative_gap for c in fits.values()) <= 1e-3


def test_path_and_choice():
    X, y = data()
    model = HeadClassifierCV("attention", betas=5, n_components=4, tol=1e-3).fit(X, y)
    assert all(p.relative_gap <= 1e-3 for p in model.path_)
    assert model.beta_ == min(model.path_, key=lambda p: p.loss).beta
    assert model.certificate_.num_samples == len(y)  # refitted on all
    betas = [p.beta for p in model.path_]
    assert betas == sorted(betas, reverse=True)


@pytest.mark.parametrize("block", ["default", "linear", "attention", "linear_prefix"])
def test_the_module_gives_the_estimators_outputs(block):
    X, y = data()
    model = HeadClassifier(block, beta=0.01, num_prefix=1, n_components=4).fit(X, y)
    wanted = model.decision_function(X)
    np.testing.assert_allclose(model.to_module(torch.float64)(torch.from_numpy(X)).detach(), wanted, atol=1e-10)
    single = model.to_module()(torch.from_numpy(X).float()).detach()
    np.testing.assert_allclose(single, wanted, atol=1e-6 * max(1, np.abs(wanted).max()) * 10)


def test_a_saved_head_comes_back_bit_for_bit(saved):
    folder, _, model = saved
    again = Head.from_pretrained(folder / "head")
    before, after = model.head_.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert again.certificate == model.certificate_
    with pytest.raises(InputError, match="overwrite"):
        HeadClassifier("linear", beta=0.1).fit(*data()).head_.save_pretrained(folder / "head")


def test_verify_holds(saved):
    folder, _, model = saved
    found = verify(folder / "head", folder / "store")
    assert found.holds, found.reasons
    assert found.found.gap == pytest.approx(model.certificate_.gap, rel=1e-6)


@pytest.mark.parametrize(
    "name", ["intercept", "parts.0.u.0", "parts.0.v.0", "parts.1.u.0", "parts.1.v.0", "parts.1.mean"]
)
def test_verify_sees_a_corrupted_weight(saved, name):
    folder, _, _ = saved
    file = folder / "head" / "model.safetensors"
    tensors = load_file(file)
    tensors[name].view(-1)[0] += 0.01
    save_file(tensors, file)
    assert not verify(folder / "head", folder / "store").holds


def test_verify_sees_a_corrupted_token(saved):
    folder, _, _ = saved
    (shard,) = (folder / "store").glob("shard-*.safetensors")
    raw = bytearray(shard.read_bytes())
    raw[-3] ^= 1
    shard.write_bytes(raw)
    assert not verify(folder / "head", folder / "store").holds


@pytest.mark.parametrize("field", ["gap", "relative_gap", "primal"])
def test_verify_sees_a_claim_that_is_too_good(saved, field):
    folder, _, _ = saved
    file = folder / "head" / "certificate.json"
    claim = json.loads(file.read_text())
    claim[field] *= 0.9
    file.write_text(json.dumps(claim))
    assert not verify(folder / "head", folder / "store").holds


def test_tokens_of_another_shape_are_refused(saved):
    _, _, model = saved
    with pytest.raises(InputError, match="width 6, got width 7"):
        model.head_(torch.zeros(2, 5, 7))
    with pytest.raises(InputError, match="5 tokens a sample, got 4"):
        model.head_(torch.zeros(2, 4, 6))


def test_padding_never_matters():
    X, y = data()
    mask = np.ones(X.shape[:2], dtype=bool)
    mask[::2, -2:] = False
    poisoned = X.copy()
    poisoned[~mask] = 1e3
    clean = X.copy()
    clean[~mask] = 0
    fits = [HeadClassifier("attention", beta=0.01, n_components=4).fit(Z, y, mask=mask) for Z in (poisoned, clean)]
    np.testing.assert_allclose(
        fits[0].decision_function(poisoned, mask=mask), fits[1].decision_function(clean, mask=mask), atol=1e-9
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda X, y: (np.where(np.arange(X.size).reshape(X.shape) == 37, np.nan, X), y), "sample is 1"),
        (lambda X, y: (X, np.zeros(len(y))), "one class only"),
        (lambda X, y: (X, None), "y"),
        (lambda X, y: ([x[: 2 + i % 2] for i, x in enumerate(X)], y), "mask"),
        (lambda X, y: (X, y[:-1]), "labels"),
    ],
)
def test_bad_input_is_named(change, said):
    X, y = change(*data())
    with pytest.raises(InputError, match=said):
        HeadClassifier("attention").fit(X, y)


@pytest.mark.parametrize("beta", [0, -1.0, float("nan"), "x"])
def test_beta_must_be_positive(beta):
    with pytest.raises(InputError, match="beta must be a positive number"):
        HeadClassifier(beta=beta).fit(*data())


def test_unknown_words_are_answered_with_close_ones():
    with pytest.raises(InputError, match="attention"):
        HeadClassifier("atention").fit(*data())
    with pytest.raises(InputError, match="no prefix tokens"):
        HeadClassifier("linear_prefix").fit(*data())
    with pytest.raises(InputError, match="nuclear"):
        PartSpec("attention", penalty="ridge")


def test_unfitted_estimators_say_so():
    with pytest.raises(NotFittedError):
        HeadClassifier().predict(np.zeros((2, 3, 4)))


def test_the_conditioner_sees_training_rows_only():
    X, _ = data()
    rows = np.arange(60)
    other = X.copy()
    other[60:] *= 100
    spec = PartSpec("attention")
    fitted = [
        FittedPart.fit(spec, ArrayTokens(Z), rows, Conditioner(n_components=3), 2).conditioner for Z in (X, other)
    ]
    assert fitted[0].to_dict() == fitted[1].to_dict()
    assert all(torch.equal(value, fitted[1].tensors()[name]) for name, value in fitted[0].tensors().items())
    values = torch.cat([v for v, *_ in fitted[0].chunks(ArrayTokens(X), rows, spec)]).flatten(0, 1)
    whitened = values[:, :3] / fitted[0].scale
    torch.testing.assert_close(
        whitened.T @ whitened / len(whitened), torch.eye(3, dtype=torch.float64), atol=1e-5, rtol=0
    )


def test_sample_weights_count_like_repetition():
    X, y = data(30)
    weights = np.where(np.arange(30) % 3 == 0, 2, 1)
    rows = np.repeat(np.arange(30), weights)
    weighted = HeadClassifier("attention", beta=0.05, tol=1e-7, condition=False).fit(X, y, sample_weight=weights)
    repeated = HeadClassifier("attention", beta=0.05, tol=1e-7, condition=False).fit(X[rows], y[rows])
    assert weighted.certificate_.primal == pytest.approx(repeated.certificate_.primal, rel=1e-6)


def test_token_shares_are_exact_and_find_the_planted_token(saved):
    _, store, model = saved
    head = model.head_
    tokens = store.read()
    shares = token_outputs(head, tokens)
    torch.testing.assert_close(shares.sum(1) + head.intercept, head(tokens.values))
    X, y = data(300)
    planted = HeadClassifier("linear", beta=0.01, condition=False).fit(X, y)
    use = token_use(planted.head_, ArrayTokens(X), np.arange(len(y)))
    assert use.mean.sum() == pytest.approx(1)
    assert use.mean.argmax() == 2
    assert isinstance(tokens, Tokens)
