"""Overlays on tokens with a planted patch: where a mode fires is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from headwise.backbones.plain import PlainBackbone
from headwise.backbones.vit import VisionTransformer, VisionTransformerConfig
from headwise.contracts import Norm, Preprocessing, QueryKey
from headwise.dissect import modes, overlays
from headwise.dissect.evidence import contributions, project

GRID = (3, 5)
WIDTH = 12


def planted(sigma, *, query_at, key_at, feature=(0, 1), prefix=2, sign=1.0, norm=None):
    """A stand-in for a backbone: one layer, one attention head, tokens that fire at one patch for each side."""
    sigma = torch.tensor(sigma, dtype=torch.float64)
    eye = torch.eye(WIDTH, dtype=torch.float64)
    count = len(sigma)
    query = eye[:count].clone()
    key = sigma[:, None] * eye[:count]
    key[0] = sigma[0] * eye[feature[1]] if feature[1] < count else sigma[0] * eye[WIDTH - 1]
    tokens = 0.05 * torch.randn(1, prefix + 15, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    tokens[0, prefix + query_at, 0] += 4 * sign
    tokens[0, prefix + key_at, WIDTH - 1 if feature[1] >= count else feature[1]] += 4 * sign
    if prefix:
        tokens[0, 0, 0] = tokens[0, 0, WIDTH - 1] = 9.0  # a class token that fires more than any patch
    record = QueryKey(0, "attn", query[None], key[None], input_norm=norm)
    return SimpleNamespace(
        query_keys=lambda: [record],
        tokens=lambda images, layers, at: [tokens for _ in layers],
        num_prefix_tokens=prefix,
        grid=GRID,
    )


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("norm", [None, Norm("rms", None, None, 1e-6)])
def test_the_planted_patches_are_brightest(sign, prefix, norm):
    # the sign of a mode is free, so a feature that fires with the other sign must look the same
    model = planted([5.0, 2, 1], query_at=7, key_at=11, feature=(0, 99), sign=sign, prefix=prefix, norm=norm)
    (made,) = overlays(model, torch.zeros(1))
    assert (made.image, made.layer, made.head, made.mode) == (0, 0, 0, 0)
    assert np.argmax(made.query_map) == 7 and np.argmax(made.key_map) == 11
    assert made.query_map.shape == GRID and made.query_map.dtype == np.float32
    assert made.sigma == pytest.approx(5) and made.cosine == pytest.approx(0, abs=1e-12)
    assert made.share > 0.9 and not made.degenerate


def test_a_grouping_mode_has_the_same_patch_on_both_sides():
    (made,) = overlays(planted([5.0, 2, 1], query_at=3, key_at=3, feature=(0, 0)), torch.zeros(1))
    assert np.argmax(made.query_map) == np.argmax(made.key_map) == 3
    assert made.cosine == pytest.approx(1)


@pytest.mark.parametrize(
    ("sigma", "degenerate"), [([2.0, 1.95, 1], True), ([2.0, 1.85, 1], False), ([2.0], False), ([5.0, 1, 1], False)]
)
def test_near_singular_values_are_marked(sigma, degenerate):
    (made,) = overlays(planted(sigma, query_at=3, key_at=3, feature=(0, 0)), torch.zeros(1))
    assert made.mode == 0 and made.degenerate is degenerate


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    module = VisionTransformer(VisionTransformerConfig(image_size=16, width=32, depth=5, num_heads=2))
    half = (0.5, 0.5, 0.5)
    return PlainBackbone("small", module, module, Preprocessing((16, 16), half, half), (4, 4), 1, "none")


def test_patches_of_high_norm_are_labelled():
    (made,) = overlays(planted([5.0, 2, 1], query_at=7, key_at=11, feature=(0, 99)), torch.zeros(1))
    assert made.high_norm == (7, 11)


def test_maps_of_a_model(model):
    made = overlays(model, torch.randn(2, 3, 16, 16), per_layer=2, max_layers=3)
    assert [(o.layer, o.image) for o in made] == [(x, i) for x in (0, 2, 4) for i in (0, 0, 1, 1)]
    for overlay in made:
        assert 0 < overlay.share <= 1 and -1 <= overlay.cosine <= 1
        for values in (overlay.query_map, overlay.key_map):
            assert values.shape == (4, 4) and values.min() == 0 and values.max() == 1
    assert len(overlays(model, torch.randn(1, 3, 16, 16))) == 5  # no layer twice


def test_attention_heads_come_by_their_share(model):
    made = overlays(model, torch.randn(1, 3, 16, 16), per_layer=2)
    for first, second in zip(made[::2], made[1::2], strict=True):
        assert first.head != second.head and first.share >= second.share


def test_shares_sum_to_one_and_follow_the_logits(make_record):
    record = make_record(scale=1.0)
    found = modes(record)
    tokens = torch.randn(2, 9, 16, dtype=torch.float64)
    query, key = project(found, tokens)
    share = contributions(found, query, key)
    assert share.shape == (2, 3, 4) and float(share.min()) >= 0
    torch.testing.assert_close(share.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    # each mode's own logits, centred over keys: their squared norms are in the ratio of the shares
    logits = torch.einsum("hn,bhns,bhnt->bhnst", found.sigma, query, key)
    energy = (logits - logits.mean(-1, keepdim=True)).square().sum((-1, -2))
    torch.testing.assert_close(share, energy / energy.sum(-1, keepdim=True))


def test_tokens_of_zero_have_no_share(make_record):
    found = modes(make_record())
    query, key = project(found, torch.zeros(1, 9, 16))
    assert not contributions(found, query, key).any()
