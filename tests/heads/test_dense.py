"""Heads with outputs of every token: one label a token."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
import torch

from headwise.blocks import BLOCKS
from headwise.blocks.attention import Attention
from headwise.contracts import TokenShape
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
from headwise.heads.attached import attach
from headwise.heads.relu import relu
from headwise.losses.multinomial import Multinomial
from headwise.penalties.nuclear import Nuclear
from headwise.solvers import HeldPasses, Problem, SpilledPasses, passes, solve, solve_proximal
from headwise.solvers.problem import Part
from headwise.tokens import ArrayTokens, TokenStore


def planted(n: int = 80, s: int = 6, d: int = 4, seed: int = 0):
    """The label of a token is the sign of a product: of its own feature and of one of the sample's first token."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, s, d))
    X[..., -1] = 0
    X[:, 0, -1] = 3  # the token that the others must look at
    key = rng.choice([-2.0, 2.0], n)
    X[:, 0, 0] = key
    y = (X[..., 1] * key[:, None] > 0).astype(int)
    return X, y


PLAIN = Conditioner(layer_norm=False)
"""A norm over four features would mix those that the planted labels depend on."""


def token_head(block: str = "attention", **options):
    return PartSpec(block, pooling="token", **options)


def labels_and_mask():
    X, y = planted()
    mask = np.ones(X.shape[:2], dtype=bool)
    mask[::2, -2:] = False
    return X, y, mask


@pytest.mark.parametrize("block", BLOCKS.names())
def test_every_block_is_certified_verified_and_kept(block, tmp_path):
    X, y = planted(40)
    y[3, 2] = -1
    model = HeadClassifier(token_head(block), beta=5e-3, grid=(2, 3)).fit(X, y)
    assert model.certificate_.relative_gap <= 1e-3
    assert model.certificate_.num_samples == 40
    found = verify(model, X, y)
    assert found.holds, found.reasons
    assert not verify(model, X, 1 - y).holds
    model.head_.save_pretrained(tmp_path / "head")
    again = Head.from_pretrained(tmp_path / "head")
    assert verify(again, X, y).holds
    wanted = model.decision_function(X)
    outputs = again(torch.from_numpy(X)).detach().numpy()
    assert outputs.shape == (40, 6, 2)
    np.testing.assert_allclose(outputs[..., 1] - outputs[..., 0], wanted, atol=1e-12)


def test_an_exported_program():
    """Every block and gate is exported by the sweep of `test_export`."""
    X, y = planted(20)
    module = HeadClassifier(token_head(), beta=5e-3).fit(X, y).to_module(torch.float64)
    tokens = torch.from_numpy(X)
    program = torch.export.export(module, (tokens[:2],), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.testing.assert_close(program.module()(tokens), module(tokens))


def test_the_raw_head_is_exactly_the_formula():
    X, y = planted()
    model = HeadClassifier(token_head(), beta=0.02, condition=False).fit(X, y)
    (part,) = model.head_.parts
    us, vs = part.u[0].detach().numpy(), part.v[0].detach().numpy()
    assert len(us) > 0
    wanted = np.zeros((*y.shape, 2))
    for i, x in enumerate(X):
        for t in range(len(x)):
            wanted[i, t] = model.intercept_ + sum(x[t] @ U @ x.T @ x @ V for U, V in zip(us, vs, strict=True))
    np.testing.assert_allclose(model.decision_function(X), wanted[..., 1] - wanted[..., 0], atol=1e-10)
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(wanted).flatten(0, 1), torch.from_numpy(y).flatten())
    Z = np.einsum("rp,rq->pq", us.reshape(len(us), -1), vs.reshape(len(vs), -1))
    value = float(loss) + 0.02 * np.linalg.norm(Z, "nuc")
    assert value == pytest.approx(model.certificate_.primal, rel=1e-9)


def conic_value(X, y, weights, beta):
    """Attention with outputs of every token, written out densely without any code of the package."""
    n, s, d = X.shape
    gram = np.einsum("nsk,nsl->nkl", X, X)
    features = np.einsum("nta,nkl->ntakl", X, gram).reshape(n * s, -1)
    Z, b = cp.Variable((d * d, d * 2)), cp.Variable(2)
    columns = []
    for out in range(2):
        block = Z[:, [value * 2 + out for value in range(d)]]
        columns.append(features @ cp.reshape(block, (d**3,), order="C") + b[out])
    outputs = cp.vstack(columns).T
    w, onehot = weights.reshape(-1) / weights.sum(), np.eye(2)[y.reshape(-1)]
    loss = w @ (cp.log_sum_exp(outputs, axis=1) - cp.sum(cp.multiply(onehot, outputs), axis=1))
    problem = cp.Problem(cp.Minimize(loss + beta * cp.normNuc(Z)))
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9)
    return problem.value


def small_problem(beta: float = 0.02):
    X, y = planted(12, 3, 3)
    weights = np.random.default_rng(1).uniform(0.5, 2, y.shape)
    block = Attention(TokenShape(3, 3))
    stats = [block.statistics(torch.from_numpy(X), None)]
    loss = Multinomial(torch.from_numpy(y).flatten(), 2, torch.from_numpy(weights).flatten())
    return X, y, weights, stats, Problem([Part(block, Nuclear())], HeldPasses(stats, each=3), loss)


def test_reaches_the_conic_optimum():
    X, y, weights, _, problem = small_problem()
    optimum = conic_value(X, y, weights, 0.02)
    found, other = solve(problem, 0.02, tol=1e-7), solve_proximal(problem, 0.02, tol=1e-5)
    assert found.certificate.primal == pytest.approx(optimum, rel=1e-6)
    assert other.certificate.primal == pytest.approx(optimum, rel=1e-5)
    assert found.certificate.dual <= optimum * (1 + 1e-7)


def test_chunks_in_memory_and_on_disk_meet_the_rows_of_their_tokens(monkeypatch):
    *_, stats, problem = small_problem()
    monkeypatch.setattr(passes, "CHUNK_BYTES", 0)  # chunks of the fewest samples, 11 of these 12
    held, spilled = HeldPasses(stats, each=3), SpilledPasses(12, each=3)
    spilled.append(stats)
    assert held.num_samples == spilled.num_samples == 36
    factors = problem.zero()
    factors.u[0], factors.v[0] = torch.ones(1, 3, 3).double(), torch.ones(1, 3, 2).double()
    for other in (held, spilled):
        rows = [rows for rows, _ in other.chunks(torch.float64)]
        assert rows == [slice(0, 33), slice(33, 36)]
        found = replace(problem, passes=other)
        torch.testing.assert_close(found.outputs(factors), problem.outputs(factors))
        theta = problem.loss.gradient(problem.outputs(factors))
        torch.testing.assert_close(found.adjoint(theta), problem.adjoint(theta))


def test_attention_sees_what_a_head_of_single_tokens_cannot():
    X, y = planted(200)
    unseen, truth = planted(200, seed=1)
    scores = {
        block: HeadClassifier(token_head(block), beta=1e-3, condition=PLAIN).fit(X, y).score(unseen, truth)
        for block in ("linear", "attention")
    }
    assert scores["linear"] < 0.7
    assert scores["attention"] > 0.9


def test_hidden_tokens_have_no_label_and_no_prediction():
    X, y, mask = labels_and_mask()
    fits = []
    for poison in (1e3, 0.0):
        own, labels = X.copy(), y.copy()
        own[~mask], labels[~mask] = poison, int(poison)
        fits.append(HeadClassifier(token_head(), beta=5e-3).fit(own, labels, mask=mask))
        assert verify(fits[-1], own, labels, mask=mask).holds
    np.testing.assert_allclose(*(m.predict_proba(X, mask=mask) for m in fits), atol=1e-9)
    model = fits[0]
    assert model.classes_.tolist() == [0, 1]
    predicted, shares = model.predict(X, mask=mask), model.predict_proba(X, mask=mask)
    assert set(predicted[mask].tolist()) == {0, 1}
    assert set(predicted[~mask].tolist()) == {-1}
    assert not shares[~mask].any()
    assert not model.decision_function(X, mask=mask)[~mask].any()
    np.testing.assert_allclose(shares[mask].sum(-1), 1)
    assert model.score(X, y, mask=mask) == pytest.approx(np.mean(predicted[mask] == y[mask]))
    words = HeadClassifier(token_head(), beta=5e-3).fit(X, np.array(["no", "yes"])[y], mask=mask).predict(X, mask=mask)
    assert set(words[~mask].tolist()) == {""}
    assert ((words == "yes") == (predicted == 1))[mask].all()


def test_tokens_without_a_label_are_those_of_weight_zero():
    X, y = planted(30)
    rng = np.random.default_rng(3)
    without = rng.uniform(size=y.shape) < 0.3
    none, gone, zero = np.where(without, -1, y), np.where(without, np.nan, y), (~without).astype(float)
    fits = [
        HeadClassifier(token_head(), beta=5e-3, tol=1e-6).fit(X, labels, sample_weight=weights)
        for labels, weights in ((none, None), (gone, None), (y, zero))
    ]
    primal = fits[0].certificate_.primal
    assert [m.certificate_.primal for m in fits] == pytest.approx([primal] * 3, rel=1e-6)
    assert verify(fits[0], X, none).holds
    assert fits[0].score(X, none) == pytest.approx(np.mean(fits[0].predict(X)[~without] == y[~without]))
    assert fits[0].score(X, y, sample_weight=zero) == pytest.approx(fits[0].score(X, none))


def test_weights_of_samples_are_those_of_their_tokens():
    X, y = planted(30)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(y))
    one = HeadClassifier(token_head(), beta=5e-3, tol=1e-6).fit(X, y, sample_weight=weights)
    each = np.repeat(weights[:, None], y.shape[1], 1)
    other = HeadClassifier(token_head(), beta=5e-3, tol=1e-6).fit(X, y, sample_weight=each)
    assert one.certificate_.primal == pytest.approx(other.certificate_.primal, rel=1e-9)
    assert verify(one, X, y).holds


def test_class_weights_count_tokens():
    X, y = planted()
    y[:, 1:4] = 0
    model = HeadClassifier(token_head("linear"), beta=10.0, class_weight="balanced").fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), 0.5, atol=1e-6)  # balanced classes, and a penalty that leaves b


def test_prefix_tokens_have_labels_where_the_parts_act_on_all_tokens():
    X, y = planted()
    patches = HeadClassifier([token_head("linear"), token_head("attention")], beta=5e-3, num_prefix=1).fit(X, y[:, 1:])
    assert patches.predict(X).shape == (80, 5)
    every = HeadClassifier(token_head(tokens="all"), beta=5e-3, num_prefix=1).fit(X, y)
    assert every.predict(X).shape == (80, 6)
    assert verify(patches, X, y[:, 1:]).holds
    with pytest.raises(InputError, match=r"\(80, 5\) is needed"):
        HeadClassifier(token_head(), num_prefix=1).fit(X, y)


@pytest.mark.parametrize("gate", ["gaussian", "rank_one", "cluster", "window", "attention_maps"])
def test_gates(gate):
    X, y = planted(40)
    spec = token_head(gate=gate, num_gates=1 if gate == "window" else 2)
    model = HeadClassifier(spec, beta=5e-3, grid=(2, 3)).fit(X, y)
    assert model.certificate_.relative_gap <= 1e-3
    assert verify(model, X, y).holds


@pytest.mark.parametrize("width", [0, 2])
def test_numbers(width):
    X, _ = planted()
    y = X[..., 1 : max(width, 1) + 1] * X[:, :1, :1]
    y = y if width else y[..., 0]
    y[2, 3] = np.nan
    fits = [
        HeadRegressor(token_head(), beta=1e-4, tol=1e-5, condition=PLAIN, solver=solver).fit(X, y)
        for solver in ("factored", "moments")
    ]
    assert fits[0].certificate_.primal == pytest.approx(fits[1].certificate_.primal, rel=1e-4)
    model = fits[0]
    assert model.predict(X).shape == y.shape
    assert model.score(X, y) > 0.95
    assert verify(model, X, y).holds


def test_several_labels_and_counts():
    X, y = planted()
    both = np.stack([y, X[..., 0] > 0], axis=-1).astype(int)
    both[0, 1] = -1
    model = HeadClassifier(token_head(), beta=5e-3, loss="binary").fit(X, both)
    assert model.predict(X).shape == model.predict_proba(X).shape == both.shape
    assert model.score(X, both) > 0.5
    counts = np.exp(X[..., 0]).round()
    counts[4] = np.nan
    rates = HeadRegressor(token_head("linear"), beta=1e-3, loss="poisson").fit(X, counts)
    assert (rates.predict(X) > 0).all()


def test_choice_of_beta_splits_by_sample():
    X, y = planted(40)
    y[5] = -1
    model = HeadClassifierCV(token_head(), betas=[0.01, 0.003], refit=False, condition=PLAIN).fit(X, y)
    train = model.head_.training_data.rows
    held_out = np.setdiff1d(np.arange(40), train)
    assert len(held_out) == 8
    assert model.certificate_.num_samples == 32
    assert verify(model, X, y).holds
    labelled = y[held_out] >= 0
    shares = model.predict_proba(X[held_out])[labelled]
    loss = -np.log(shares[np.arange(len(shares)), y[held_out][labelled]]).mean()
    assert model.path_.chosen.loss == pytest.approx(loss)


def test_folds_are_cut_between_samples():
    X, y = planted(40)
    groups = np.arange(40) // 4
    model = HeadClassifierCV(token_head(), betas=[0.003], cv=2, condition=PLAIN).fit(X, y, groups=groups)
    assert model.score(X, y) > 0.9
    with pytest.raises(InputError, match="0 held-out tokens with a label"):
        HeadClassifierCV(token_head(), betas=2, cv=[(np.arange(30), np.arange(30, 40))]).fit(
            X, np.where(np.arange(40)[:, None] < 30, y, -1)
        )
    numbers = HeadRegressorCV(token_head(), betas=[1e-3], condition=PLAIN).fit(X, X[..., 1] * X[:, :1, 0])
    assert numbers.path_.chosen.score > 0.9


def test_the_standard_error_is_that_of_samples():
    """Tokens of one sample that say the same are one draw, however many they are."""
    X, y = planted()
    X, y = np.repeat(X[:, :1], 6, 1), np.repeat(y[:, :1], 6, 1)
    many = HeadClassifierCV(token_head("linear"), betas=[0.01], condition=False).fit(X, y)
    one = HeadClassifierCV(token_head("linear"), betas=[0.01], condition=False).fit(X[:, :1], y[:, :1])
    assert many.path_[0].loss == pytest.approx(one.path_[0].loss, rel=1e-2)
    assert many.path_[0].loss_error == pytest.approx(one.path_[0].loss_error, rel=1e-2)


def test_a_store_with_labels_given(tmp_path):
    X, y = planted()
    mask = np.ones(y.shape, dtype=bool)
    mask[::3, 4:] = False
    store = TokenStore.from_arrays(tmp_path / "store", X, np.zeros(80, int), mask=mask, dtype="float64")
    model = HeadClassifier(token_head(), beta=5e-3).fit(store, y)
    assert set(model.predict(store)[~mask].tolist()) == {-1}
    assert verify(model, store, y).holds
    with pytest.raises(InputError, match="labels of tokens have shape"):
        verify(model, store)
    with pytest.raises(InputError, match="give y of shape"):
        HeadClassifier(token_head()).fit(store)


def test_atoms_add_up_and_shares_of_tokens_are_refused():
    X, y = planted(40)
    head = HeadClassifier(token_head(), beta=5e-3).fit(X, y).head_
    tokens = torch.from_numpy(X)
    by_atom = head.atom_outputs(tokens)
    assert by_atom.shape == (40, 6, len(head.atoms()), 2)
    torch.testing.assert_close(by_atom.sum(2) + head.intercept, head(tokens).detach())
    with pytest.raises(InputError, match="outputs of its own"):
        head.token_outputs(tokens)
    gated = HeadClassifier(token_head("mlp", gate="gaussian"), beta=5e-3).fit(X, y)
    with pytest.raises(InputError, match="for pooled ones"):
        relu(gated, X)


def test_what_cannot_be_is_refused(monkeypatch):
    X, y = planted(40)
    with pytest.raises(InputError, match="tokens='patch' or tokens='all'"):
        PartSpec("linear", "prefix", pooling="token")
    for other in (PartSpec("linear"), token_head("linear", tokens="all")):
        with pytest.raises(InputError, match="pooling='token' and the same tokens"):
            HeadClassifier([token_head(), other]).fit(X, y)
    with pytest.raises(InputError, match=r"\(40, 6\) is needed"):
        HeadClassifier(token_head()).fit(X, y[:, 0])
    with pytest.raises(InputError, match="no token has a label"):
        HeadClassifier(token_head()).fit(X, np.full_like(y, -1))
    with pytest.raises(InputError, match="one class only"):
        HeadClassifier(token_head()).fit(X, 2 * y - 1)  # -1 is no class here
    with pytest.raises(InputError, match="no token with a label has a positive weight"):
        HeadClassifier(token_head()).fit(
            X, np.where(np.arange(6) < 2, y, -1), sample_weight=(np.arange(6) > 2) * np.ones((40, 1))
        )
    with pytest.raises(InputError, match="survival times"):
        HeadRegressor(token_head(), loss="cox").fit(X, np.ones((40, 6, 2)))
    with pytest.raises(InputError, match=r"\(40,\) or \(40, 6\) is needed"):
        HeadClassifier(token_head()).fit(X, y, sample_weight=np.ones((40, 5)))
    monkeypatch.setattr(BLOCKS.get("linear"), "per_token", False)
    with pytest.raises(InputError, match="block linear gives one output a sample"):
        token_head("linear")


def test_views_move_tokens(tmp_path):
    X, y = planted(20)
    store = TokenStore.from_arrays(tmp_path / "store", np.stack([X, X], axis=1), np.zeros(20, int), dtype="float64")
    with pytest.raises(InputError, match="crops and flips move tokens"):
        HeadClassifier(token_head(), beta=5e-3).fit(store, y)
    model = HeadClassifier(token_head(), beta=5e-3).fit(ArrayTokens(X), y)
    assert model.predict(store).shape == y.shape
    with pytest.raises(InputError, match="not averaged over views"):
        model.predict(store, views="average")


def test_one_module_from_pixels():
    from headwise.backbones import load_backbone

    backbone = load_backbone("embedded")
    images = np.random.default_rng(0).integers(0, 256, size=(4, 32, 32, 3), dtype=np.uint8)
    tokens = backbone.tokens(backbone.preprocess(images))[0].numpy()
    y = np.arange(4 * 64).reshape(4, 64) % 3
    model = HeadClassifier(token_head("linear"), beta=0.01, num_prefix=1, grid=(8, 8)).fit(tokens, y)
    found = attach(model.head_, backbone).predict(list(images))
    assert np.array(found).shape == (4, 64)
    assert np.mean(np.array(found) == model.predict(tokens)) > 0.99  # float32 against float64


def test_text_classes_without_a_label():
    """An empty text, None and NaN are no class; predictions use the empty text for hidden tokens."""
    X, y = planted(40)
    names = np.array(["no", "yes"], dtype=object)[y]
    wanted = HeadClassifier(token_head(), beta=5e-3).fit(X, np.where(np.arange(6) == 2, -1, y))
    for nothing in ("", None, np.nan):
        labels = names.copy()
        labels[:, 2] = nothing
        model = HeadClassifier(token_head(), beta=5e-3).fit(X, labels)
        assert model.classes_.tolist() == ["no", "yes"]
        assert model.certificate_.primal == pytest.approx(wanted.certificate_.primal, rel=1e-9)


def test_labels_of_tokens_in_a_store(tmp_path):
    X, y = planted(40)
    store = TokenStore.from_arrays(tmp_path / "store", X, y, dtype="float64")
    found = HeadClassifier(token_head(), beta=5e-3).fit(store)
    assert found.certificate_.primal == HeadClassifier(token_head(), beta=5e-3).fit(store, y).certificate_.primal


def test_shapes_and_infinite_labels_of_tokens():
    X, y = planted(40)
    with pytest.raises(InputError, match=r"classes of tokens have shape \(40, 6, 1\)"):
        HeadClassifier(token_head()).fit(X, y[..., None])
    numbers = y.astype(float)
    numbers[3, 2] = np.inf
    with pytest.raises(InputError, match="give NaN where a token has no label"):
        HeadRegressor(token_head()).fit(X, numbers)
