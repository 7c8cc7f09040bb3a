"""How far texts are padded changes nothing: coordinates, gates, heads, certificates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headwise.heads import HeadClassifier, PartSpec, verify
from headwise.heads.save import load_head
from headwise.tokens import TokenStore
from headwise.tokens.pooling import pooled_tokens

PARTS = {
    "linear": [PartSpec("linear")],
    "linear, ridge": [PartSpec("linear", penalty="ridge")],
    "prefix and attention": [PartSpec("linear", "prefix"), PartSpec("attention")],
    "attention on all": [PartSpec("attention", "all")],
    "class token as query": [PartSpec("attention", "all", pooling="class")],
    "hadamard": [PartSpec("hadamard")],
    "outputs of each token": [PartSpec("attention", pooling="token")],
    "mlp, gaussian": [PartSpec("mlp", gate="gaussian", num_gates=3)],
    "hadamard, gaussian": [PartSpec("hadamard", gate="gaussian", num_gates=3)],
    "attention, gaussian": [PartSpec("attention", gate="gaussian", num_gates=3)],
    "attention, rank-one": [PartSpec("attention", gate="rank_one", num_gates=3)],
    "attention, cluster": [PartSpec("attention", gate="cluster", num_gates=3)],
    "attention, window": [PartSpec("attention", gate="window", num_gates=1)],
    "attention, maps": [PartSpec("attention", gate="attention_maps")],
}


def ragged(padding, each=False):
    """60 samples of one prefix token and 2 to 6 others, hidden ones poisoned; labels of samples or of tokens."""
    rng = np.random.default_rng(0)
    y, lengths = np.arange(60) % 2, 3 + rng.integers(0, 5, size=60)
    X = np.full((60, 7 + padding, 4), 1e3)
    X[:, :7] = rng.normal(size=(60, 7, 4))
    X[:, :, 0] += y[:, None]
    mask = np.arange(7 + padding) < lengths[:, None]
    labels = np.where(mask, (X[..., 1] > 0), -1)[:, 1:].astype(int) if each else y
    return X, mask, labels


@pytest.mark.parametrize("name", PARTS)
def test_padding_reaches_nothing(name, tmp_path):
    parts, found = PARTS[name], []
    each = parts[0].per_token
    for padding in (0, 6):
        X, mask, y = ragged(padding, each)
        model = HeadClassifier(parts, beta=0.02, n_components=3, num_prefix=1, tol=1e-5).fit(X, y, mask=mask)
        shown = model.decision_function(X, mask=mask)
        if each:
            shown = shown[mask[:, 1:]]
        found.append((model, shown, model.certificate_))
        assert verify(model, X, y, mask=mask).holds
    (one, first, certificate), (two, second, other) = found
    for a, b in zip(one.head_._parts(), two.head_._parts(), strict=True):
        for key, value in a.fitted.tensors().items():
            torch.testing.assert_close(b.fitted.tensors()[key], value, rtol=1e-9, atol=1e-9)
        assert a.fitted.conditioner.scale == pytest.approx(b.fitted.conditioner.scale, rel=1e-9)
    # the same problem, solved twice: each lies within the other's bounds
    assert certificate.dual <= other.primal * (1 + 1e-9) and other.dual <= certificate.primal * (1 + 1e-9)
    np.testing.assert_allclose(first, second, atol=0.1)


@pytest.mark.parametrize("name", [name for name, parts in PARTS.items() if not parts[0].per_token])
def test_a_head_on_more_padding_says_the_same(name):
    """The very same atoms on tokens that are padded further."""
    X, mask, y = ragged(0)
    head = HeadClassifier(PARTS[name], beta=0.02, n_components=3, num_prefix=1).fit(X, y, mask=mask).head_
    wide, wide_mask, _ = ragged(6)
    stretched = HeadClassifier(PARTS[name], beta=0.02, n_components=3, num_prefix=1).fit(wide, y, mask=wide_mask).head_
    for mine, theirs in zip(stretched._parts(), head._parts(), strict=True):
        for to, source in ((mine.u, theirs.u), (mine.v, theirs.v)):
            for k, atoms in enumerate(source):
                to[k] = torch.nn.Parameter(atoms.detach().clone())
    stretched.intercept.data = head.intercept.detach().clone()
    with torch.no_grad():
        wanted = head(torch.from_numpy(X), torch.from_numpy(mask))
        found = stretched(torch.from_numpy(wide), torch.from_numpy(wide_mask))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_pooled_features_and_neighbours(tmp_path):
    features = []
    for padding in (0, 6):
        X, mask, y = ragged(padding)
        store = TokenStore.from_arrays(tmp_path / str(padding), X, y, mask=mask, num_prefix=1, dtype="float64")
        features.append(pooled_tokens(store))
    np.testing.assert_allclose(*features, rtol=1e-12)


def test_the_scale_of_windows_is_saved(tmp_path):
    """It is that of the training tokens, whatever is predicted later."""
    X, mask, y = ragged(0)
    head = (
        HeadClassifier(PARTS["attention, window"], beta=0.02, n_components=3, num_prefix=1).fit(X, y, mask=mask).head_
    )
    (gates,) = (cell.gates for cell in head._parts()[0].fitted.cells)
    real, place = mask[:, 1:].astype(float), np.arange(6)
    near = (np.abs(place[:, None] - place) <= 1).astype(float)
    rows = (real @ near)[mask[:, 1:]]  # what each real token sees
    assert float(gates.scale) == pytest.approx(real.sum(1).mean() / 2 / rows.mean())
    head.save_pretrained(tmp_path / "head")
    tokens, shown = torch.from_numpy(X), torch.from_numpy(mask)
    torch.testing.assert_close(load_head(tmp_path / "head")(tokens, shown), head(tokens, shown), rtol=0, atol=0)
