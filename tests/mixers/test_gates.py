"""Mixers as gates of certified heads: what they let tokens see, saved in the head and found again for new tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headwise import HeadClassifier, InputError, PartSpec, TokenStore, verify
from headwise.contracts import PairGate, TokenShape
from headwise.gates.mixer import FrozenMixer
from headwise.heads.save import load_head
from headwise.mixers import MIXERS, create, list_mixers

D, GRID = 4, (4, 6)
S = GRID[0] * GRID[1]
SHAPE = TokenShape(S, D, GRID)
GATES = {
    "softmax": {"num_heads": 2},
    "global_relation": {"head_dim": 2},
    "routing": {"num_heads": 2, "num_clusters": 3, "qkv_bias": True},
    "halo": {"num_heads": 2, "block_size": 2, "halo_size": 1},
}


def frozen(name, **more):
    torch.manual_seed(0)
    mixer = create(name, dim=D, **{**GATES[name], **more}).double().eval()
    with torch.no_grad():
        for p in mixer.parameters():
            p.add_(0.5 * torch.randn_like(p))
    return mixer


def tokens(n=60):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n, S, D)), np.arange(n) % 3
    X[np.arange(n), :, y] += 1
    return X, y


def masks(mixer, X, shape=SHAPE):
    gates = mixer.as_gate().fit(None, shape, [X], 8, 0)
    found = [gates.values(X, index) for index in range(gates.count)]
    return torch.stack([gate.mask() if isinstance(gate, PairGate) else gate for gate in found], 1)


def test_mixers_say_whether_they_can_be_gates():
    for name in list_mixers("tokens"):
        grid = {} if MIXERS.get(name).traits.grid == "none" else {"grid": (2, 2)}
        with torch.device("meta"):
            mixer = create(name, dim=576, **grid)
        assert mixer.traits.gate == (name in GATES)
        if not mixer.traits.gate:
            with pytest.raises(InputError, match=f"no gates are made of {name}"):
                mixer.as_gate()


def test_clusters_of_routing():
    mixer, X = frozen("routing"), torch.from_numpy(tokens()[0])
    labels = mixer.labels(X)
    assert len(labels.unique()) == 3
    same = (labels[..., None] == labels[..., None, :]).double()
    torch.testing.assert_close(masks(mixer, X), 1.5 * same)
    torch.testing.assert_close(masks(mixer, X[:, :5], TokenShape(5, D)), 1.5 * same[..., :5, :5])


def test_windows_of_halo():
    mixer, X = frozen("halo"), torch.from_numpy(tokens(2)[0])
    near = mixer.pair_mask(X, GRID).double()[:, None]
    found = masks(mixer, X)
    torch.testing.assert_close(found, near * found.max())
    assert float(found.sum(-1).mean()) == pytest.approx(S / 2)
    # what it takes in really is what lies there: outputs of the layer change with these tokens alone
    x = X[:1].clone().requires_grad_()
    reach = torch.stack([torch.autograd.grad(out.sum(), x, retain_graph=True)[0][0] for out in mixer(x, grid=GRID)[0]])
    assert torch.equal(reach.abs().sum(-1) > 0, near[0, 0] > 0)


def test_maps_of_softmax():
    mixer, X = frozen("softmax"), torch.from_numpy(tokens(3)[0])
    q, k, v = mixer.qkv(X).unflatten(-1, (3, 2, D // 2)).permute(2, 0, 3, 1, 4)
    found = masks(mixer, X)
    torch.testing.assert_close(found, (q @ k.mT * (D // 2) ** -0.5).softmax(-1).detach())
    torch.testing.assert_close(mixer.proj((found @ v).transpose(1, 2).flatten(2)), mixer(X))


@pytest.mark.parametrize("name", list(GATES))
def test_a_certified_head_on_a_mixer_needs_the_mixer_no_more(name, tmp_path):
    mixer, (X, y) = frozen(name), tokens()
    store = TokenStore.from_arrays(tmp_path / "store", X, y, grid=GRID, dtype="float64")
    part = PartSpec("attention", gate=mixer.as_gate())
    model = HeadClassifier([part], beta=0.01, n_components=3).fit(store)
    assert model.certificate_.relative_gap <= 1e-3
    wanted = model.head_.outputs(store)
    model.head_.save_pretrained(tmp_path / "head")
    with torch.no_grad():
        for p in [*mixer.parameters(), *mixer.buffers()]:
            p.zero_()
    back = load_head(tmp_path / "head")
    torch.testing.assert_close(back.outputs(store), wanted, rtol=0, atol=0)
    new = torch.randn(5, S, D, dtype=torch.float64)
    torch.testing.assert_close(back(new), model.head_(new), rtol=0, atol=0)
    assert verify(tmp_path / "head", store).holds


def test_what_does_not_go_together():
    X = torch.from_numpy(tokens(2)[0])
    with pytest.raises(InputError, match="halo with stride=2 gives fewer tokens"):
        frozen("halo", stride=2).as_gate()
    with pytest.raises(InputError, match="width 4, got width 3"):
        frozen("routing").as_gate().fit(None, TokenShape(S, 3), [X[..., :3]], 1, 0)
    with pytest.raises(InputError, match="needs the grid"):
        frozen("halo").as_gate().fit(None, TokenShape(S, D), [X], 1, 0)
    with pytest.raises(InputError, match=r"mixer\.as_gate"):
        HeadClassifier("attention", gate="mixer").fit(*tokens())
    with pytest.raises(InputError, match="got Linear"):
        FrozenMixer(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["softmax", "routing"])
def test_weights_that_are_no_numbers_make_no_gates(name):
    mixer, X = frozen(name), torch.from_numpy(tokens(2)[0])
    with torch.no_grad():
        (mixer.means if name == "routing" else mixer.qkv.weight)[0, 1] = torch.nan
    with pytest.raises(InputError, match=f"{name} has weights or means that are NaN or infinite.*train it"):
        mixer.as_gate().fit(None, SHAPE, [X], 1, 0)


@pytest.mark.parametrize("name", ["softmax", "gated_positional"])
def test_a_mixer_in_place_of_its_gate_is_told(name):
    mixer = create(name, dim=D, num_heads=2)
    for asks in (
        lambda: PartSpec("attention", gate=mixer),
        lambda: HeadClassifier("attention", gate=mixer).fit(*tokens()),
    ):
        with pytest.raises(InputError, match=rf"gate is a mixer \({name}\).*give gate=mixer\.as_gate\(\)"):
            asks()
