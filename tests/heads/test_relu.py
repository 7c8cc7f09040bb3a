"""ReLU heads from gated ones: the same outputs on training tokens, and honest values."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

import headwise
from headwise.contracts import Tokens
from headwise.errors import InputError
from headwise.heads import Head, HeadClassifier, HeadClassifierCV, HeadRegressor, PartSpec, relu, verify
from headwise.heads.explain import token_outputs
from headwise.heads.relu_head import ReluModule
from headwise.tokens import ArrayTokens, TokenStore

GATED = {
    "mlp": ("gaussian", 6, {}),
    "attention": ("gaussian", 4, {}),
    "mlp_mixer": ("gaussian", 3, {}),
    "fno": ("gaussian", 4, {}),
    "bfno": ("gaussian", 4, {"groups": 2}),
    "hadamard": ("gaussian", 3, {}),
}


def data(n: int = 16, s: int = 4, d: int = 2, seed: int = 0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, s, d))
    return X, (np.maximum(X @ np.array([1.0, -1.0]), 0).mean(1) > 0.45).astype(int)


def parts(block: str, gate: str, num_gates: int, options: dict, **more):
    return [PartSpec("linear"), PartSpec(block, gate=gate, num_gates=num_gates, options=options, **more)]


def value(found, X, y, beta: float) -> float:
    """The ReLU problem's value from the module alone: mean cross-entropy and weight decay."""
    decay = sum(float(p.detach().square().sum()) / 2 for name, p in found.module.named_parameters() if "parts" in name)
    loss = torch.nn.functional.cross_entropy(found.module(torch.from_numpy(X)), torch.from_numpy(y))
    return float(loss.detach()) + beta * decay


@pytest.mark.parametrize("block", GATED)
@pytest.mark.parametrize("condition", [False, True])
def test_training_outputs_are_the_gated_ones_and_the_head_is_a_relu_network(block, condition):
    X, y = data()
    gated = HeadClassifier(parts(block, *GATED[block]), beta=1e-2, condition=condition, grid=(2, 2)).fit(X, y)
    found = headwise.relu(gated, X)
    here = torch.from_numpy(X)
    np.testing.assert_allclose(found.module(here).detach(), gated.head_(here).detach(), atol=1e-8)
    assert found.objective == pytest.approx(value(found, X, y, 1e-2), rel=1e-9)
    assert found.gated_objective == gated.certificate_.primal <= found.objective
    # elsewhere: linear, plus relu of each atom's own scores, written out
    new = np.random.default_rng(1).normal(size=(5, 4, 2))
    linear, part = found.module.parts
    batch = Tokens(torch.from_numpy(new), 0, (2, 2))
    values, _ = part.fitted.conditioned(batch)
    wanted = found.module.intercept.detach() + linear(batch).detach()
    for cell, us, vs in zip(part.fitted.cells, part.u, part.v, strict=True):
        own = values[..., cell.features]
        for u, v in zip(us.detach(), vs.detach(), strict=True):
            active = cell.block.scores(own, u).clamp(min=0)
            if block == "attention":
                inner = (active @ own).mean(1)
            elif block == "hadamard":
                inner = (active * own).mean(1)
            else:
                inner = active.mean(1).reshape(len(new), -1)
            wanted[:, cell.columns] += inner @ v
    np.testing.assert_allclose(found.module(batch.values).detach(), wanted, atol=1e-10)
    shares = token_outputs(found.module, batch).sum(1) + found.module.intercept.detach()
    np.testing.assert_allclose(shares.detach(), wanted, atol=1e-10)


def test_atoms_lie_in_the_cone_of_a_gate_and_are_balanced():
    X, y = data()
    gated = HeadClassifier("attention", beta=1e-2, gate="gaussian", num_gates=4, condition=False).fit(X, y)
    found = headwise.relu(gated, X)
    (part,), (old,) = found.module.parts, gated.head_.parts
    (cell,), values = old.fitted.cells, torch.from_numpy(X)
    masks = torch.stack([cell.gates.values(values, g) for g in range(cell.gates.count)]) > 0
    for u, v in zip(part.u[0].detach(), part.v[0].detach(), strict=True):
        scores = cell.block.scores(values, u)
        inside = [bool((torch.where(mask, scores, -scores) >= -1e-10 * u.norm()).all()) for mask in masks]
        assert sum(inside) == 1
        assert float(u.norm()) == pytest.approx(float(v.norm()))
    assert found.module.rank == len(part.u[0]) <= 2 * gated.rank_


def test_hidden_tokens_and_class_token_queries_and_weights():
    X, y = data(s=5)
    mask = np.ones((16, 5), dtype=bool)
    mask[::3, 4:] = False
    model = HeadClassifier("attention", beta=1e-2, gate="gaussian", num_gates=3, n_components=2)
    model.fit(X, y, sample_weight=np.arange(16) % 4 / 2, mask=mask)
    found = headwise.relu(model, X, mask=mask)
    outputs = found.module(torch.from_numpy(X), torch.from_numpy(mask)).detach()
    np.testing.assert_allclose(outputs, model.head_(torch.from_numpy(X), torch.from_numpy(mask)).detach(), atol=1e-8)
    spec = PartSpec("attention", "all", gate="gaussian", num_gates=3, pooling="class")
    model = HeadClassifier([spec], beta=1e-2, n_components=2, num_prefix=1).fit(X, y)
    found = headwise.relu(model, X)
    outputs = found.module(torch.from_numpy(X)).detach()
    np.testing.assert_allclose(outputs[:, 1] - outputs[:, 0], model.decision_function(X), atol=1e-8)


@pytest.mark.parametrize("loss", ["squared", "huber", "poisson", "cox"])
def test_any_loss(loss):
    X, _ = data(n=12)
    y = np.maximum(X[:, :, 0], 0).mean(1)
    if loss == "cox":
        y = np.stack([y + 0.1, np.arange(12) % 3 > 0], axis=1)
    model = HeadRegressor("mlp", loss=loss, beta=3e-3, gate="gaussian", num_gates=6, condition=False).fit(X, y)
    assert model.rank_ > 0
    found = headwise.relu(model, X)
    wanted = model.head_.outputs(ArrayTokens(X))
    np.testing.assert_allclose(found.module(torch.from_numpy(X)).detach(), wanted, atol=1e-8)
    assert found.objective >= found.gated_objective


def trained(X, y, neurons: int, beta: float, seed: int) -> float:
    """Objective that direct training of a ReLU network reaches from one random start."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(neurons, X.shape[2], generator=generator, dtype=torch.float64, requires_grad=True)
    v = torch.randn(neurons, y.shape[1], generator=generator, dtype=torch.float64, requires_grad=True)
    tokens, targets = torch.from_numpy(X), torch.from_numpy(y)

    def objective():
        f = torch.einsum("nsr,rc->nc", (tokens @ u.T).relu(), v) / X.shape[1]
        return (f - targets).square().sum() / (2 * len(X)) + beta * (u.square().sum() + v.square().sum()) / 2

    optimiser = torch.optim.LBFGS([u, v], max_iter=60, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def closure():
        optimiser.zero_grad()
        found = objective()
        found.backward()
        return found

    optimiser.step(closure)
    return float(objective().detach())


@pytest.mark.parametrize("seed", range(2))
def test_bounds_with_every_pattern(seed):
    """With all patterns as gates: gated bound <= best trained ReLU network <= the ReLU head's value."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(4, 2, 2)), rng.normal(size=(4, 2))
    beta = 0.02
    model = HeadRegressor("mlp", beta=beta, gate="gaussian", num_gates=500, condition=False, fit_intercept=False).fit(
        X, y
    )
    # 8 tokens are 8 lines through the origin of the plane, which cut it into 16 patterns (a closed one is left out)
    closed = (np.sign(X.reshape(-1, 2) @ rng.normal(size=(2, 5000))) < 0).all(0).any()
    assert len(model.head_.parts[0].u) == 16 - closed
    found = relu(model, X)
    best = min(trained(X, y, 8, beta, start) for start in range(4))
    assert found.certificate.dual <= best
    assert best <= found.objective
    assert found.certificate.dual <= found.gated_objective <= found.objective


def test_words_and_certificate():
    X, y = data()
    model = HeadClassifier("mlp", beta=1e-2, gate="gaussian", num_gates=6, condition=False).fit(X, y)
    found = headwise.relu(model.head_, X)
    said = str(found)
    assert f"approximate objective {found.objective:.6g}" in said
    assert f"{found.gated_objective:.6g}" in said
    assert "certified" not in said
    assert "of the gated problem alone" in said
    assert found.certificate.primal == model.certificate_.primal
    assert "no certificate" in found.certificate.context["about"]
    assert found.module.certificate is None
    with pytest.raises(InputError, match="no certificate"):
        verify(found.module, ArrayTokens(X), y)


def test_saved_and_loaded(tmp_path):
    X, y = data()
    split = np.where(np.arange(16) % 4 == 3, "val", "train")
    store = TokenStore.from_arrays(tmp_path / "store", X, y, split=split, grid=(2, 2), dtype="float32")
    model = HeadClassifierCV(
        parts("mlp_mixer", *GATED["mlp_mixer"]), betas=[0.05, 0.01], refit=False, n_components=2
    ).fit(store)
    found = headwise.relu(model, store)
    found.save_pretrained(tmp_path / "relu")
    back = headwise.ReluHead.from_pretrained(tmp_path / "relu")
    assert str(back) == str(found)
    assert back.module.fingerprint == found.module.fingerprint
    module = Head.from_pretrained(tmp_path / "relu")
    assert isinstance(module, ReluModule)
    assert torch.equal(module(torch.from_numpy(X)), found.module(torch.from_numpy(X)))
    small = found.module.to_module()
    np.testing.assert_allclose(
        small(torch.from_numpy(X)).detach(), found.module(torch.from_numpy(X)).detach(), atol=1e-4
    )
    model.head_.save_pretrained(tmp_path / "gated")
    with pytest.raises(InputError, match="not a ReLU head"):
        headwise.ReluHead.from_pretrained(tmp_path / "gated")
    # another head in the same folder: nothing of the first is left to be read as its own
    found.module.save_pretrained(tmp_path / "gated", overwrite=True)
    assert Head.from_pretrained(tmp_path / "gated").certificate is None
    assert not (tmp_path / "gated" / "certificate.json").exists()
    other = headwise.relu(HeadClassifier(model.block, beta=0.02, n_components=2).fit(store), store)
    with pytest.raises(InputError, match="overwrite"):
        other.save_pretrained(tmp_path / "relu")
    wrong = (tmp_path / "relu" / "relu.json").read_text()
    other.module.save_pretrained(tmp_path / "relu", overwrite=True)
    assert str(headwise.ReluHead.from_pretrained(tmp_path / "relu")) == str(other)
    (tmp_path / "relu" / "relu.json").write_text(wrong)
    with pytest.raises(InputError, match="another head"):
        headwise.ReluHead.from_pretrained(tmp_path / "relu")
    other.module.to_module().save_pretrained(tmp_path / "relu", overwrite=True)  # nothing is known of a changed head
    with pytest.raises(InputError, match=r"no relu\.json"):
        headwise.ReluHead.from_pretrained(tmp_path / "relu")


def test_what_cannot_be_done_is_refused():
    X, y = data()
    fit = {"beta": 1e-2, "condition": False, "grid": (2, 2)}
    with pytest.raises(InputError, match="no gates"):
        headwise.relu(HeadClassifier("attention", **fit).fit(X, y), X)
    with pytest.raises(InputError, match="got HeadClassifier"):
        headwise.relu(HeadClassifier("attention"), X)
    window = HeadClassifier("attention", gate="window", num_gates=1, **fit).fit(X, y)
    with pytest.raises(InputError, match="other than 0 and 1"):
        headwise.relu(window, X)
    clusters = HeadClassifier("mlp_mixer", gate="cluster", num_gates=2, **fit).fit(X, y)
    with pytest.raises(InputError, match=r"atom 0 of gate 0 of 'mlp_mixer .* empty interior"):
        headwise.relu(clusters, X)
    model = HeadClassifier("mlp", gate="gaussian", num_gates=3, **fit).fit(X, y)
    with pytest.raises(InputError, match="not the tokens"):
        headwise.relu(model, X + 1)
    with pytest.raises(InputError, match="float32 copy"):
        headwise.relu(model.to_module(), X)
    with pytest.raises(InputError, match="a ReLU head already"):
        headwise.relu(headwise.relu(model, X).module, X)


def test_atoms_are_those_of_the_network_and_sum_to_its_outputs():
    X, y = data(s=5)
    specs = [PartSpec("linear", "prefix"), PartSpec("attention", gate="gaussian", num_gates=3)]
    model = HeadClassifier(specs, beta=1e-2, condition=False, num_prefix=1).fit(X, y)
    found = headwise.relu(model, X)
    atoms, (_, part) = found.module.atoms(), found.module.parts
    own = [atom for atom in atoms if atom.part == 1]
    assert len(own) == len(part.u[0]) > 0  # (a, v) and (b, -v) are two atoms, though as matrices they nearly cancel
    norms = part.u[0].detach().flatten(1).norm(dim=1) * part.v[0].detach().flatten(1).norm(dim=1)
    assert sorted(atom.weight for atom in own) == pytest.approx(sorted(norms.tolist()))
    assert own[0].block == "attention with ReLU on the patch tokens"
    new = torch.from_numpy(np.random.default_rng(1).normal(size=(6, 5, 2)))
    sums = found.module.atom_outputs(new).sum(1) + found.module.intercept.detach()
    np.testing.assert_allclose(sums, found.module(new).detach(), atol=1e-9)
    assert found.module.clusters(new) == []


def test_every_view_counts(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 2, 4, 2)).astype(np.float32), np.arange(12) % 2
    store = TokenStore.from_arrays(tmp_path / "store", X, y, dtype="float32")
    model = HeadClassifier("mlp", beta=1e-2, gate="gaussian", num_gates=6, condition=False).fit(store)
    found = headwise.relu(model, store)
    every = X.reshape(24, 4, 2)
    here = torch.from_numpy(every)
    np.testing.assert_allclose(found.module(here).detach(), model.head_(here).detach(), atol=1e-8)
    assert found.objective == pytest.approx(value(found, every, np.repeat(y, 2), 1e-2), rel=1e-9)


def test_progress_tells_of_every_atom():
    X, y = data()
    model = HeadClassifier("mlp", beta=1e-2, gate="gaussian", num_gates=6, condition=False).fit(X, y)
    told = []
    found = headwise.relu(model, X, progress=lambda step, done, total: told.append((done, total)))
    assert told == [(k + 1, model.rank_) for k in range(model.rank_)]
    assert found.ratio == found.objective / found.gated_objective


def test_the_card_promises_nothing(tmp_path):
    X, y = data()
    model = HeadClassifier("mlp", beta=1e-2, gate="gaussian", num_gates=6, condition=False).fit(X, y)
    found = headwise.relu(model, X)
    found.save_pretrained(tmp_path / "relu")
    card = (tmp_path / "relu" / "README.md").read_text()
    assert f"| objective, approximate | {found.objective} |" in card
    assert f"| objective of the gated head | {found.gated_objective} |" in card
    assert "# Head: mlp with ReLU on the patch tokens" in card and "a ReLU head is approximate" in card
    assert "convex" not in card and "certified" not in card


def test_too_many_constraints_are_counted(monkeypatch):
    X, y = data()
    model = HeadClassifier("attention", beta=1e-2, gate="gaussian", num_gates=3, condition=False).fit(X, y)
    # the function of the same name hides the module
    monkeypatch.setattr(sys.modules["headwise.heads.relu"], "LIMIT", 1000)
    with pytest.raises(InputError, match=r"256 constraints .* on 4 numbers, 1,024 in all; .* up to 1,000"):
        headwise.relu(model, X)


def test_gates_that_are_patterns_whatever_their_family():
    X, y = data()
    model = HeadClassifier("attention", beta=1e-2, gate="rank_one", num_gates=4, condition=False).fit(X, y)
    found = headwise.relu(model, X)
    np.testing.assert_allclose(
        found.module(torch.from_numpy(X)).detach(), model.head_(torch.from_numpy(X)).detach(), atol=1e-8
    )
    # the nearer of two centres is the sign of a linear score with a constant
    model = HeadClassifier("mlp", beta=1e-2, gate="cluster", num_gates=2).fit(X, y)
    assert headwise.relu(model, X).objective >= model.certificate_.primal
