"""Comparison of layers: the same, permuted, turned, and with a planted change."""

from __future__ import annotations

import json
import math

import pytest
import torch

import headwise
from headwise.dissect import Modes, compare, modes, weighted_cosine
from headwise.dissect.modes import decompose
from headwise.errors import InputError


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer(query, key, number=0):
    u, sigma, v = decompose(query, key)
    return Modes(number, sigma, u, v, True)


def planted(sigma, width=10, seed=0, turn=None):
    """One attention head with these singular values, and directions that ``turn`` mixes among each other."""
    u, v = (torch.linalg.qr(draw(width, width, seed=seed + s)).Q[:, : len(sigma)].T for s in (0, 1))
    if turn is not None:
        u, v = turn @ u, turn @ v
    return Modes(0, torch.tensor([sigma], dtype=torch.float64), u[None], v[None], True)


@pytest.mark.parametrize("kind", ["layer", "rms", None])
def test_a_layer_against_itself(make_record, kind):
    found = modes(make_record(heads=4, head_dim=6, width=20, kind=kind, bias=True))
    made = compare(found, found, leading=3)
    (only,) = made.layers
    torch.testing.assert_close(only.similarity.diagonal(), torch.ones(4, dtype=torch.float64))
    assert only.best == ((0, 0), (1, 1), (2, 2), (3, 3)) and only.distance.max() < 1e-12
    for row in made.heads:
        assert (
            row["similarity"] == pytest.approx(1) and row["weighted_cosine_change"] == row["effective_rank_change"] == 0
        )
        assert row["query_angle"] == pytest.approx(0, abs=1e-5) == row["mean_key_angle"]
        assert row["other_head"] == row["best_head"] == row["head"]
    for pair in only.pairs:
        assert pair.modes.tolist() == [[n, n] for n in range(6)]
        torch.testing.assert_close(pair.query_cosines, torch.ones(6, dtype=torch.float64))
        torch.testing.assert_close(pair.key_cosines, torch.ones(6, dtype=torch.float64))


def test_similarity_is_that_of_the_matrices():
    one, two = (draw(2, 3, 4, 12, seed=s) for s in (0, 1))
    made = compare(layer(*one), layer(*two[:, :2]), permuted=True).layers[0]
    first, second = (query.mT @ key for query, key in (one, two[:, :2]))
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            assert float(made.similarity[i, j]) == pytest.approx(float((a * b).sum() / (a.norm() * b.norm())))
    assert made.similarity.shape == (3, 2) and len(made.pairs) == 2
    for pair, distance in zip(made.pairs, made.distance, strict=True):
        a, b = first[pair.heads[0]], second[pair.heads[1]]
        assert float(distance) == pytest.approx(float((b - a).norm() / a.norm()))


def test_permuted_heads_are_found():
    query, key = draw(2, 5, 4, 16)
    order = torch.tensor([3, 0, 4, 1, 2])
    one, two = layer(query, key), layer(query[order], key[order])
    made = compare(one, two, permuted=True)
    assert [pair.heads for pair in made.layers[0].pairs] == [(0, 1), (1, 3), (2, 4), (3, 0), (4, 2)]
    assert all(row["distance"] < 1e-12 and row["similarity"] == pytest.approx(1) for row in made.heads)
    plain = compare(one, two)
    assert [row["best_head"] for row in plain.heads] == [1, 3, 4, 0, 2]
    assert all(row["head"] == row["other_head"] and row["distance"] > 0.5 for row in plain.heads)


def test_modes_turned_within_a_degenerate_subspace_span_the_same():
    angle = torch.tensor(0.6, dtype=torch.float64)
    turn = torch.eye(5, dtype=torch.float64)
    turn[1:3, 1:3] = torch.stack((torch.stack((angle.cos(), -angle.sin())), torch.stack((angle.sin(), angle.cos()))))
    one, two = planted([5.0, 3, 3, 1, 0.5]), planted([5.0, 3, 3, 1, 0.5], turn=turn)
    for leading, dimension in ((1, 1), (2, 3), (3, 3), (4, 4)):  # two would cut the subspace
        pair = compare(one, two, leading=leading).layers[0].pairs[0]
        assert pair.dimensions == (dimension, dimension)
        assert pair.query_angles.shape == (dimension,)
        assert pair.query_angles.max() < 1e-7 and pair.key_angles.max() < 1e-7
    assert float(compare(one, two).layers[0].distance) < 1e-12, "the same matrix, in other words"
    cosines = compare(one, two).layers[0].pairs[0].query_cosines
    assert cosines[[0, 3, 4]].tolist() == pytest.approx([1, 1, 1]) and float(cosines[1]) < 0.9


def test_angles_are_those_that_are_planted():
    one, angle = planted([5.0, 3, 1]), 0.3
    other = torch.linalg.qr(torch.cat((one.u[0].T, draw(10, 1, seed=9)), 1)).Q[:, 3]  # none of the query directions
    u = one.u.clone()
    u[0, 1] = math.cos(angle) * u[0, 1] + math.sin(angle) * other
    two = Modes(0, one.sigma, u, one.v, True)
    (row,) = compare(one, two, leading=2).heads
    assert row["query_angle"] == pytest.approx(math.degrees(angle)) and row["key_angle"] == pytest.approx(0, abs=1e-5)
    assert row["mean_query_angle"] == pytest.approx(math.degrees(angle) / 2)
    cosines = compare(one, two).layers[0].pairs[0].query_cosines
    assert cosines.tolist() == pytest.approx([1, math.cos(angle), 1])


def test_modes_are_matched_through_a_new_order_and_new_signs():
    one = planted([5.0, 4, 2, 1])
    order = [2, 0, 3, 1]
    signs = torch.tensor([1.0, -1, -1, 1], dtype=torch.float64)[:, None]
    u, v = signs * one.u[0, order], signs * one.v[0, order]
    v[3] = -v[3]  # what mode 1 looked for, it avoids
    two = Modes(0, torch.tensor([[6.0, 4, 3, 2]], dtype=torch.float64), u[None], v[None], True)
    pair = compare(one, two).layers[0].pairs[0]
    assert pair.modes.tolist() == [[0, 1], [1, 3], [2, 0], [3, 2]]
    assert pair.query_cosines.tolist() == pytest.approx([1, 1, 1, 1])
    assert pair.key_cosines.tolist() == pytest.approx([1, -1, 1, 1])
    assert pair.rows[2] == pytest.approx(
        {"mode": 2, "other_mode": 0, "sigma": 2.0, "other_sigma": 6.0, "query_cosine": 1.0, "key_cosine": 1.0}
    )


def test_a_change_of_one_head_is_found():
    torch.manual_seed(0)
    module = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 3, enable_nested_tensor=False
    )
    before = headwise.dissect(headwise.load_backbone(module), draws=1)
    with torch.no_grad():  # keys of attention head 2 in layer 1
        module.layers[1].self_attn.in_proj_weight[16 + 8 : 16 + 12] += 0.2 * draw(4, 16).float()
    after = headwise.dissect(headwise.load_backbone(module), draws=1)
    made = compare(before, after)
    changed = [(row["layer"], row["head"]) for row in made.heads if row["distance"] > 1e-9]
    assert changed == [(1, 2)]
    (row,) = (row for row in made.heads if row["distance"] > 1e-9)
    assert row["similarity"] < 0.99 and row["key_angle"] > 1 and row["query_angle"] < 1e-4
    cosines = [float(weighted_cosine(found.modes[1])[2]) for found in (before, after)]
    assert row["weighted_cosine_change"] == pytest.approx(cosines[1] - cosines[0])
    told = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert repr(made).startswith("Comparison(3 layers, 12 attention heads; distances")
    assert repr(made.layers[1].pairs[2]) == "MatchedHeads(attention heads 2 and 2, 4 modes)"
    assert len(told["heads"]) == 12 and told["layers"][1]["best"] == [[0, 0], [1, 1], [2, 2], [3, 3]]


def test_modes_without_a_singular_value_have_no_directions():
    one, two = planted([5.0, 3, 0, 0]), planted([5.0, 3, 0, 0])
    two.u[0, 2:], two.v[0, 2:] = two.u[0, 2:].flip(0), -two.v[0, 2:]
    pair = compare(one, two, leading=4).layers[0].pairs[0]
    assert pair.dimensions == (2, 2) and pair.query_angles.max() < 1e-7


def test_heads_of_other_widths():
    """Fewer modes on one side: those that there are are matched."""
    one, two = planted([5.0, 3, 2, 1]), planted([5.0, 3])
    pair = compare(one, two, leading=4).layers[0].pairs[0]
    assert pair.modes.tolist() == [[0, 0], [1, 1]] and pair.dimensions == (4, 2)
    assert pair.query_angles.max() < 1e-7 and len(pair.query_angles) == 2


def test_what_cannot_be_compared():
    one = layer(*draw(2, 3, 4, 16))
    with pytest.raises(InputError, match=r"width 16 and 12, which share no directions; .* effective ranks can still"):
        compare(one, layer(*draw(2, 3, 4, 12)))
    with pytest.raises(InputError, match=r"have 3 and 2 attention heads; compare\(..., permuted=True\)"):
        compare(one, layer(*draw(2, 2, 4, 16)))
    with pytest.raises(InputError, match=r"there are 2 layers and 1; name those that belong together"):
        compare([one, one], one)
    with pytest.raises(InputError, match="the norm is folded into one of them alone"):
        compare(one, Modes(0, one.sigma, one.u, one.v, False))
    with pytest.raises(InputError, match="the directions of 2 of 4 modes are known"):
        compare(one, Modes(0, one.sigma, one.u[:, :2], one.v[:, :2], True))
    for given in ([], ["modes"]):
        with pytest.raises(InputError, match=r"compare takes two results of headwise\.dissect"):
            compare(given, given)
    with pytest.raises(InputError, match="leading must be a whole number"):
        compare(one, one, leading=0)
