"""Several views of a sample: the loss takes their mean, and everything else knows the sample alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from headwise.errors import InputError
from headwise.heads import (
    Conditioner,
    Head,
    HeadClassifier,
    HeadClassifierCV,
    HeadRegressor,
    HeadRegressorCV,
    PartSpec,
    verify,
)
from headwise.heads.compare import Splits, certified_results
from headwise.heads.fitting import build_problem, prepare
from headwise.heads.targets import bind, encode
from headwise.solvers import certify
from headwise.tokens import ArrayTokens, TokenStore

N, K = 60, 3


def data(n: int = N, views: int = K, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 3)
    X = rng.normal(size=(n, views, 5, 4))
    X[np.arange(n), :, :, y] += 1
    return X, y


def store_of(path, X, y, **options):
    return TokenStore.from_arrays(path, X, y, num_prefix=1, grid=(2, 2), dtype="float64", **options)


@pytest.fixture
def viewed(tmp_path):
    return store_of(tmp_path / "viewed", *data(), shard_size=25)


PARTS = [PartSpec("linear", "prefix"), PartSpec("attention", gate="rank_one", num_gates=2)]


def test_equal_views_are_one_view(tmp_path):
    n = 600  # more than what sets the scale of the coordinates
    X, y = data(n, 1)
    weights = np.random.default_rng(1).uniform(0.5, 2, n)
    one = store_of(tmp_path / "one", X, y)
    many = store_of(tmp_path / "many", np.repeat(X, K, axis=1), y)
    fits = [HeadClassifier(PARTS, beta=0.05, tol=1e-6).fit(s, sample_weight=weights) for s in (one, many)]
    assert fits[1].certificate_.primal == pytest.approx(fits[0].certificate_.primal, abs=1e-8)
    before, after = (fit.head_.tensors() for fit in fits)
    for name, value in before.items():
        if ".u." not in name and ".v." not in name:
            torch.testing.assert_close(value, after[name], atol=1e-8, rtol=0)
    np.testing.assert_allclose(fits[0].decision_function(one), fits[1].decision_function(one), atol=1e-8)
    assert [fit.certificate_.num_samples for fit in fits] == [n, n]
    assert [fit.certificate_.context["views"] for fit in fits] == [1, K]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_certificate_is_that_of_weighted_rows(viewed, weighted):
    """The problem written out: n K rows, each with its share of the weight of its sample."""
    X, y = data()
    rows = np.sort(np.random.default_rng(2).choice(N, 40, replace=False))
    weights = np.random.default_rng(1).uniform(0.5, 2, len(rows)) if weighted else None
    loss = bind("multinomial", encode("classes", y[rows]), weights, views=K)
    prepared = prepare(viewed, rows, loss, PARTS, Conditioner(n_components=3), weights)
    solution = prepared.solver(0.02, tol=1e-6)
    head = prepared.head(solution, [0, 1, 2])
    every = ArrayTokens(X[rows].reshape(-1, 5, 4), num_prefix=1, grid=(2, 2))
    shares = None if weights is None else np.repeat(weights / K, K)
    explicit = bind("multinomial", encode("classes", np.repeat(y[rows], K)), shares)
    problem = build_problem(every, np.arange(len(rows) * K), explicit, prepared.parts, True)
    wanted, _ = certify(problem, solution.factors, 0.02, centre=False)
    found = head.certificate
    for name in ("primal", "dual"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=1e-10), name
    assert wanted.relative_gap <= 1e-6
    assert (found.num_samples, wanted.num_samples) == (len(rows), len(rows) * K)
    # and the loss is the weighted mean over samples of the mean over views
    f = head.outputs(every).view(-1, K, 3)
    own = torch.nn.functional.cross_entropy(
        f.flatten(0, 1), torch.from_numpy(y[rows]).repeat_interleave(K), reduction="none"
    )
    w = np.ones(len(rows)) if weights is None else weights
    mean = float((torch.from_numpy(w / w.sum()) * own.view(-1, K).mean(1)).sum())
    penalty = 0.02 * float(problem.penalty(solution.factors))
    assert mean + penalty == pytest.approx(found.primal, rel=1e-9)


def test_a_fit_on_raw_tokens_is_that_on_all_rows(viewed):
    X, y = data()
    weights = np.random.default_rng(1).uniform(0.5, 2, N)
    options = {"beta": 0.02, "tol": 1e-6, "condition": False}
    found = HeadClassifier("attention", **options).fit(viewed, sample_weight=weights)
    flat = HeadClassifier("attention", num_prefix=1, **options)
    flat.fit(X.reshape(-1, 5, 4), np.repeat(y, K), sample_weight=np.repeat(weights, K))
    assert found.certificate_.primal == pytest.approx(flat.certificate_.primal, rel=2e-6)


def test_coordinates_and_gates_are_those_of_the_samples_themselves(viewed, tmp_path):
    X, y = data()
    first = store_of(tmp_path / "first", X[:, 0], y)
    fits = [HeadClassifier(PARTS, beta=0.05).fit(s) for s in (viewed, first)]
    numbers = [{k: v for k, v in fit.head_.tensors().items() if "parts" in k} for fit in fits]
    same = [k for k in numbers[0] if ".u." not in k and ".v." not in k]
    assert same and all(torch.equal(numbers[0][k], numbers[1][k]) for k in same)
    assert fits[0].certificate_.primal != pytest.approx(fits[1].certificate_.primal, rel=1e-3)


@pytest.mark.parametrize("solver", ["moments", "proximal"])
def test_other_solvers_see_the_views_too(tmp_path, solver):
    X, _ = data()
    y = X[..., 0].mean((1, 2))
    store = store_of(tmp_path / "s", X, y)
    fits = [HeadRegressor("linear", beta=0.01, tol=1e-6, solver=s).fit(store) for s in (solver, "factored")]
    assert fits[0].certificate_.primal == pytest.approx(fits[1].certificate_.primal, rel=2e-6)


def test_averaged_predictions(viewed, tmp_path):
    X, y = data()
    model = HeadClassifier("attention", beta=0.02).fit(viewed)
    each = [model.decision_function(ArrayTokens(X[:, k], num_prefix=1, grid=(2, 2))) for k in range(K)]
    average = np.mean(each, axis=0)
    np.testing.assert_array_equal(model.decision_function(viewed), each[0])
    np.testing.assert_allclose(model.decision_function(viewed, views="average"), average, atol=1e-12)
    probabilities = torch.from_numpy(average).softmax(1).numpy()
    np.testing.assert_allclose(model.predict_proba(viewed, views="average"), probabilities, atol=1e-12)
    np.testing.assert_array_equal(model.predict(viewed, views="average"), average.argmax(1))
    rows = np.array([7, 2, 7])
    np.testing.assert_allclose(model.head_.outputs(viewed, rows, "average"), average[rows], atol=1e-12)
    np.testing.assert_array_equal(
        model.predict_proba(X[:, 0], views="average"), model.predict_proba(X[:, 0]), "arrays have one view"
    )
    with pytest.raises(InputError, match="unknown views 'all'"):
        model.predict(viewed, views="all")
    counts = store_of(tmp_path / "counts", X, np.random.default_rng(0).poisson(2, N).astype(float))
    rates = HeadRegressor("linear", beta=0.02, loss="poisson").fit(counts)
    logs = [np.log(rates.predict(ArrayTokens(X[:, k], num_prefix=1, grid=(2, 2)))) for k in range(K)]
    np.testing.assert_allclose(rates.predict(counts, views="average"), np.exp(np.mean(logs, axis=0)), rtol=1e-10)
    two = store_of(tmp_path / "two", X, y == 1)
    model = HeadClassifier("linear", beta=0.02).fit(two)
    each = [model.decision_function(ArrayTokens(X[:, k], num_prefix=1, grid=(2, 2))) for k in range(K)]
    np.testing.assert_allclose(model.decision_function(two, views="average"), np.mean(each, axis=0), atol=1e-12)


def test_the_comparison_of_heads_takes_the_views(viewed):
    """What a study does with a store that has views."""
    _, y = data()
    rows = {part: np.arange(N)[k::3] for k, part in enumerate(("train", "val", "test"))}
    splits = Splits(rows, {part: y[own] for part, own in rows.items()}, np.arange(3))
    (result,) = certified_results(viewed, splits, ["linear"], conditioner=Conditioner(), betas=2, tol=1e-3)
    assert result.head.certificate.context["views"] == K
    assert result.head.certificate.num_samples == N // 3
    assert verify(result.head, viewed).holds
    outputs = result.head.outputs(viewed, rows["test"])
    np.testing.assert_allclose(result.probabilities, outputs.softmax(1), atol=1e-12)


def test_held_out_samples_are_scored_by_view_0(tmp_path):
    """Whatever the other views of the held-out samples are, nothing changes; those of training samples do count."""
    X, y = data()
    split = np.where(np.arange(N) % 4 == 3, "val", "train")
    other, trained = X.copy(), X.copy()
    other[split == "val", 1:] *= 50
    trained[split == "train", 1:] *= 2
    fits = []
    for name, values in (("a", X), ("b", other), ("c", trained)):
        store = store_of(tmp_path / name, values, y, split=split)
        fits.append(HeadClassifierCV("attention", betas=[0.05, 0.02], refit=False).fit(store))
    losses = [[point.loss for point in fit.path_] for fit in fits]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]
    assert fits[0].certificate_.num_samples == (split == "train").sum()


def test_folds_and_groups_never_part_the_views_of_a_sample(tmp_path):
    """Views that would give the label away across a split: samples of noise, all views of a sample equal."""
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(N, 1, 3, 30)), K, axis=1)
    y = rng.integers(0, 2, N)
    store = TokenStore.from_arrays(tmp_path, X, y, groups=np.arange(N) // 2, dtype="float64")
    model = HeadClassifierCV("linear", betas=[1e-3], cv=4).fit(store)
    assert model.path_.chosen.score < 0.75
    assert model.score(X[:, 0], y) > 0.9
    assert model.certificate_.num_samples == N


@pytest.mark.parametrize("estimator", [HeadRegressor, HeadRegressorCV])
def test_cox_refuses_views(tmp_path, estimator):
    X, _ = data()
    survival = np.stack([np.random.default_rng(0).uniform(1, 2, N), np.ones(N)], axis=1)
    store = store_of(tmp_path / "s", X, survival)
    with pytest.raises(InputError, match=r"counts all samples together.*3 views.*--views 1"):
        estimator("linear", loss="cox").fit(store)
    HeadRegressor("linear", beta=0.1, loss="cox").fit(ArrayTokens(store.read().values), survival)


@pytest.fixture
def saved(viewed, tmp_path):
    model = HeadClassifier("attention", beta=0.02).fit(
        viewed, sample_weight=np.random.default_rng(1).uniform(0.5, 2, N)
    )
    model.head_.save_pretrained(tmp_path / "head")
    return tmp_path / "head", viewed.path


def test_verify(saved):
    head, store = saved
    found = verify(head, store)
    assert found.holds, found.reasons
    assert found.found.primal == pytest.approx(found.claimed.primal, rel=1e-12)
    assert found.found.gap == pytest.approx(found.claimed.gap, rel=1e-6)
    assert found.found.num_samples == found.claimed.num_samples == N
    assert Head.from_pretrained(head).certificate.context["views"] == K


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda claim: claim["context"].update(views=1), "objective"),
        (lambda claim: claim["context"].pop("views"), "objective"),
        (lambda claim: claim["context"].update(views=2), "2 views are claimed, 3 there"),
        (lambda claim: claim["context"].update(views="all"), "'all' views are claimed"),
        (lambda claim: claim.update(num_samples=N * K), "60 training samples"),
        (lambda claim: claim.update(gap=claim["gap"] / 2), "gap"),
    ],
)
def test_verify_sees_a_changed_claim(saved, change, said):
    head, store = saved
    claim = json.loads((head / "certificate.json").read_text())
    change(claim)
    (head / "certificate.json").write_text(json.dumps(claim))
    found = verify(head, store)
    assert not found.holds
    assert any(said in reason for reason in found.reasons), found.reasons


def test_verify_sees_a_changed_view(saved, tmp_path):
    """Tokens of the last view alone differ."""
    head, _ = saved
    X, y = data()
    X[30, 2] *= 1.5
    found = verify(head, store_of(tmp_path / "changed", X, y, shard_size=25))
    assert not found.holds
    assert any("fingerprint" in reason for reason in found.reasons)
    assert any("objective" in reason for reason in found.reasons), "the view is seen, not its hash alone"
