"""What every family of gates must hold: fixed by the seed, nested, restored, and a problem that stays convex."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from headwise.blocks import BLOCKS
from headwise.contracts import Norm, PairGate, QueryKey, TokenShape
from headwise.errors import InputError
from headwise.gates import GATES
from headwise.gates.attention_maps import AttentionMaps
from headwise.heads import HeadClassifier, PartSpec, verify
from headwise.heads.fitted_part import FittedPart
from headwise.heads.save import load_head
from headwise.tokens import ArrayTokens, TokenStore

CHOSEN = [name for name in GATES.names() if name != "mixer"]  # that one is handed a mixer: test_mixer_gates.py
GRID, SHAPE = (2, 3), TokenShape(6, 4, (2, 3))
LEGAL = [
    (block, gate)
    for gate in CHOSEN
    for block in BLOCKS.names()
    if set(GATES.get(gate)().kinds) & set(BLOCKS.get(block).gates)
]
legal = pytest.mark.parametrize(("block", "gate"), LEGAL)


def data(n: int = 48):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n, 6, 4)), np.arange(n) % 3
    X[np.arange(n), :, y] += 1
    return X, y


def fitted(block: str, gate: str, count: int = 3, seed: int = 0):
    X, _ = data()
    own = BLOCKS.get(block)(SHAPE, gated=True)
    count = 1 if gate == "window" else count
    return own, GATES.get(gate)().fit(own, SHAPE, [torch.from_numpy(X)], count, seed), torch.from_numpy(X)


def as_mask(gate):
    return gate.mask() if isinstance(gate, PairGate) else gate


def test_there_are_gates_for_every_block_but_the_linear_one():
    assert {block for block, _ in LEGAL} == set(BLOCKS.names()) - {"linear"}


@legal
def test_the_same_seed_gives_the_same_gates_and_saved_numbers_give_them_back(block, gate):
    own, one, X = fitted(block, gate)
    _, two, _ = fitted(block, gate)
    back = GATES.get(gate)().restore(own, SHAPE, one.tensors())
    assert one.count == two.count == back.count
    for index in range(one.count):
        wanted = as_mask(one.values(X, index))
        torch.testing.assert_close(as_mask(two.values(X, index)), wanted, rtol=0, atol=0)
        torch.testing.assert_close(as_mask(back.values(X, index)), wanted, rtol=0, atol=0)
        assert float(wanted.min()) < float(wanted.max())


@pytest.mark.parametrize("gate", ["gaussian", "rank_one"])
def test_more_gates_contain_fewer_and_another_seed_gives_others(gate):
    _, few, X = fitted("attention", gate, 2)
    _, many, _ = fitted("attention", gate, 5)
    _, others, _ = fitted("attention", gate, 2, seed=1)
    for index in range(2):
        torch.testing.assert_close(as_mask(few.values(X, index)), as_mask(many.values(X, index)))
        assert not torch.equal(as_mask(few.values(X, index)), as_mask(others.values(X, index)))


def test_gates_are_kept_once():
    """On two samples of one token a direction can only split them in four ways, one of them closed."""
    own = BLOCKS.get("mlp")(TokenShape(1, 2), gated=True)
    tokens = torch.tensor([[[1.0, 0.2]], [[-0.3, 1.0]]], dtype=torch.float64)
    gates = GATES.get("gaussian")().fit(own, TokenShape(1, 2), [tokens], 50, 0)
    patterns = {tuple(gates.values(tokens, i).flatten().tolist()) for i in range(gates.count)}
    assert gates.count == len(patterns) == 3


@pytest.mark.parametrize("gate", ["rank_one", "cluster", "window"])
def test_masks_that_labels_stand_for_are_those_of_the_definition(gate):
    _, gates, X = fitted("attention", gate)
    mask = as_mask(gates.values(X, 0))
    if gate == "rank_one":
        a, b = gates.tensors()["directions"][0]
        wanted = ((X @ a >= 0)[:, :, None] == (X @ b >= 0)[:, None, :]).double()
    elif gate == "cluster":
        centres = gates.tensors()["centres"]
        labels = torch.cdist(X, centres.expand(len(X), -1, -1)).argmin(-1)
        wanted = (labels[:, :, None] == labels[:, None, :]).double() * 1.5
    else:
        place = torch.cartesian_prod(torch.arange(2), torch.arange(3))
        near = ((place[:, None] - place).abs() <= 1).all(-1).double()
        wanted = (near * 3 / near.sum(1).mean()).expand(len(X), -1, -1)
    torch.testing.assert_close(mask, wanted)


@legal
def test_gated_heads_are_certified_saved_and_verified(block, gate, tmp_path):
    X, y = data()
    store = TokenStore.from_arrays(tmp_path / "store", X, y, dtype="float64", grid=GRID)
    spec = PartSpec(block, gate=gate, num_gates=1 if gate == "window" else 2)
    model = HeadClassifier([spec], beta=0.05, n_components=3).fit(store)
    assert model.certificate_.relative_gap <= 1e-3
    assert model.certificate_.context["gates"][0]["family"] == gate
    model.head_.save_pretrained(tmp_path / "head")
    found = verify(tmp_path / "head", tmp_path / "store")
    assert found.holds, found.reasons
    tokens = torch.from_numpy(X)
    torch.testing.assert_close(load_head(tmp_path / "head")(tokens), model.head_(tokens), rtol=0, atol=0)


def test_a_changed_gate_does_not_verify(tmp_path):
    from safetensors.torch import load_file, save_file

    X, y = data()
    store = TokenStore.from_arrays(tmp_path / "store", X, y, dtype="float64")
    HeadClassifier("attention", beta=0.05, gate="rank_one", num_gates=2, n_components=3).fit(
        store
    ).head_.save_pretrained(tmp_path / "head")
    file = tmp_path / "head" / "model.safetensors"
    tensors = load_file(file)
    tensors["parts.0.gates.0.directions"][0, 0, 0] += 5
    save_file(tensors, file)
    found = verify(tmp_path / "head", tmp_path / "store")
    assert not found.holds
    assert any("gates" in reason for reason in found.reasons)


@pytest.mark.parametrize(("block", "gate"), [("attention", "rank_one"), ("attention", "gaussian"), ("mlp", "gaussian")])
def test_a_larger_nested_set_never_has_a_larger_optimum(block, gate):
    X, y = data()
    small, large = (
        HeadClassifier(block, beta=0.03, gate=gate, num_gates=count, n_components=3, tol=1e-5).fit(X, y).certificate_
        for count in (2, 6)
    )
    assert large.dual <= small.primal


def test_gates_act_inside_channel_groups():
    X, y = data()
    source = ArrayTokens(X, grid=GRID)
    spec = PartSpec("bfno", gate="gaussian", num_gates=2, options={"groups": 2})
    part = FittedPart.fit(spec, source, np.arange(len(X)), None, 3)
    assert [len(range(3)[p.columns]) for p in part.parts()] == [2, 2, 1, 1]
    assert [p.u_shape for p in part.parts()] == [(6, 2)] * 4
    model = HeadClassifier([spec], beta=0.05, grid=GRID, condition=False).fit(X, y)
    assert model.certificate_.relative_gap <= 1e-3


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"block": "mlp", "gate": "rank_one"}, "mlp takes token gates"),
        ({"block": "linear", "gate": "gaussian"}, "linear takes no gates"),
        ({"block": "attention", "gate": "gausian"}, "gaussian"),
        ({"block": "attention", "pooling": "class"}, "tokens='all'"),
    ],
)
def test_parts_that_make_no_sense_are_refused(spec, said):
    with pytest.raises(InputError, match=said):
        PartSpec(**spec)


def test_blocks_that_need_every_place_refuse_hidden_tokens():
    X, y = data()
    mask = np.ones(X.shape[:2], dtype=bool)
    mask[0, -1] = False
    with pytest.raises(InputError, match="masked"):
        HeadClassifier("fno", beta=0.1, condition=False).fit(X, y, mask=mask)
    HeadClassifier("attention", beta=0.1, gate="rank_one", n_components=3).fit(X, y, mask=mask)


def record(**more):
    """A layer of two attention heads on tokens of width 4, that share one key head where ``groups`` says so."""
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    norm = Norm("layer", 1 + 0.1 * numbers(4), numbers(4), 1e-5)
    keys = 1 if more.get("groups", 1) == 2 else 2
    told = {"query_bias": numbers(2, 3), "key_bias": numbers(keys, 3), "input_norm": norm, "scale": 0.7, **more}
    return QueryKey(0, "blocks.0.attn", numbers(2, 3, 4), numbers(keys, 3, 4), **told)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", ["layer", "rms", None])
def test_attention_maps_are_those_of_the_layer(kind, groups):
    layer = record(groups=groups)
    norm = None if kind is None else Norm(kind, layer.input_norm.weight, layer.input_norm.bias, 1e-5)
    layer = replace(layer, input_norm=norm)
    X = torch.from_numpy(data(5)[0])
    gates = AttentionMaps(layer).fit(None, SHAPE, [X], 8, 0)
    assert gates.count == 2
    x = X
    if kind == "layer":
        x = (X - X.mean(-1, keepdim=True)) / (X.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    elif kind == "rms":
        x = X / (X.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    if norm is not None:
        x = x * norm.weight + norm.bias
    for head in range(2):
        k = 0 if groups == 2 else head
        query = x @ layer.query[head].T + layer.query_bias[head]
        key = x @ layer.key[k].T + layer.key_bias[k]
        torch.testing.assert_close(gates.values(X, head), (0.7 * query @ key.mT).softmax(-1))


def test_attention_maps_leave_hidden_tokens_out():
    X = torch.from_numpy(data(5)[0])
    gates = AttentionMaps(record()).fit(None, SHAPE, [X], 8, 0)
    padded = torch.cat([X, torch.zeros(5, 2, 4)], 1)
    torch.testing.assert_close(gates.values(padded, 1)[:, :6, :6], gates.values(X, 1))


def test_attention_maps_of_layers_that_they_do_not_describe():
    with pytest.raises(InputError, match="rotary"):
        AttentionMaps(record(rotary=object()))
    with pytest.raises(InputError, match="has a causal mask; gates of its attention are not made"):
        AttentionMaps(record(causal=True))
    with pytest.raises(InputError, match="width 4, got width 5"):
        AttentionMaps(record()).fit(None, SHAPE, [torch.zeros(1, 6, 5)], 1, 0)


def test_a_head_on_the_backbones_own_attention(tmp_path):
    """The class is told by what the layer attends to; certified, saved, and the maps see tokens before conditioning."""
    layer = record()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 6, 4))
    maps = AttentionMaps(layer).fit(None, SHAPE, [torch.from_numpy(X)], 2, 0).values(torch.from_numpy(X), 0)
    seen = torch.einsum("nts,nsd->nd", maps, torch.from_numpy(X)).numpy()
    y = (seen[:, 0] > np.median(seen[:, 0])).astype(int)
    part = PartSpec("attention", gate=AttentionMaps(layer))
    store = TokenStore.from_arrays(tmp_path / "store", X, y, dtype="float64")
    model = HeadClassifier([part], beta=1e-3, n_components=3).fit(store)
    plain = HeadClassifier("attention", beta=1e-3, n_components=3).fit(store)
    assert model.certificate_.relative_gap <= 1e-3
    assert model.score(X, y) > plain.score(X, y)
    model.head_.save_pretrained(tmp_path / "head")
    back = load_head(tmp_path / "head")
    torch.testing.assert_close(back.outputs(store), model.head_.outputs(store), rtol=0, atol=0)
    assert verify(tmp_path / "head", store).holds


@pytest.mark.parametrize("given", ["embedded", [record()]])
def test_attention_maps_take_one_record(given):
    with pytest.raises(InputError, match=r"query_keys\(\)\[-1\]"):
        AttentionMaps(given)
