"""Prefix tokens, sinks and high-norm patches, planted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from headwise.contracts import QueryKey, Windows
from headwise.dissect import high_norm_tokens, modes
from headwise.dissect.logits import logit_parts, record_logits
from headwise.dissect.seen import Seen
from headwise.dissect.sinks import attention, find_sinks

WIDTH = 8


def small_tokens(count=6, samples=2):
    return 0.1 * torch.randn(samples, count, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def seen(record, tokens, used=None):
    logits = record_logits(record, tokens)
    if used is None:
        used = torch.ones(logits.shape, dtype=torch.bool)
    return Seen(0, record, tokens, logits, used)


def look(record, tokens, prefix=0, used=None):
    layer = seen(record, tokens, used)
    found = modes(record)
    return layer, find_sinks(layer, found, logit_parts(record, tokens, found.turn), prefix)


def planted(bias=False):
    """Two attention heads: one looks for feature 1 from feature 0 (or from its bias), one for what is its like."""
    eye = torch.eye(WIDTH, dtype=torch.float64)
    query = torch.stack([torch.stack([3 * eye[0], eye[3]]), eye[4:6]])
    key = torch.stack([torch.stack([eye[1], 0.1 * eye[2]]), eye[4:6]])
    record = QueryKey(0, "attn", query, key, scale=2.0)
    if bias:
        pull = torch.tensor([[3.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
        record = replace(record, query=query * torch.tensor([0.0, 1.0])[:, None, None], query_bias=pull)
    return record


def test_the_mode_that_serves_a_sink_is_found():
    tokens = small_tokens()
    tokens[..., 0] += 2  # every token asks
    tokens[:, 2, 1] += 3  # one answers
    layer, found = look(planted(), tokens)
    assert found.places == ({2: 1.0}, {})
    assert float(found.served["sink"].mass[0]) > 0.99 and float(found.served["sink"].mass[1]) == 0
    name, share = found.served["sink"].leading(0)
    assert name == "mode 0" and share > 0.99
    assert set(found.served) == {"sink"}
    torch.testing.assert_close(attention(layer), layer.logits.softmax(-1))


def test_a_sink_of_the_bias_is_served_by_the_keys_alone():
    tokens = small_tokens()
    tokens[:, 2, 1] += 3
    _, found = look(planted(bias=True), tokens)
    assert found.places[0] == {2: 1.0}
    name, share = found.served["sink"].leading(0)
    assert name == "key_only" and share > 0.99


def test_prefix_tokens_are_told_apart_from_sinks():
    tokens = small_tokens()
    tokens[..., 0] += 2
    tokens[:, 0, 1] += 3
    layer, found = look(planted(), tokens, prefix=2)
    maps = attention(layer)
    torch.testing.assert_close(found.served["prefix"].mass, maps[..., :2].sum(-1).mean((0, 2)))
    assert found.served["prefix"].leading(0)[0] == "mode 0" and found.places[0] == {0: 1.0}


@pytest.mark.parametrize("kind", ["prefix", "high_norm"])
def test_what_serves_a_kind_sums_to_its_advantage(make_record, kind):
    record = make_record(kind="layer", bias=True, causal=True, seed=2)
    record = replace(record, bias=torch.randn(3, 7, 7, dtype=torch.float64))
    tokens = torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    tokens[0, 3] *= 20
    used = torch.ones(2, 3, 7, 7, dtype=torch.bool).tril()
    layer, found = look(record, tokens, 2, used)
    assert found.high_norm.nonzero().tolist() == [[0, 3]]
    special = torch.zeros(2, 7, dtype=torch.bool)
    special[:, :2] = True
    if kind == "high_norm":
        special = found.high_norm
    served = found.served[kind]
    for head in range(3):
        wanted = []
        for sample in range(2):
            for query in range(7):
                line, shown = layer.logits[sample, head, query], used[sample, head, query]
                inside, outside = line[shown & special[sample]], line[shown & ~special[sample]]
                if len(inside) and len(outside):
                    wanted.append(inside.mean() - outside.mean())
        got = served.modes[head].sum() + sum(values[head] for values in served.apart.values())
        torch.testing.assert_close(got, torch.stack(wanted).mean())


def test_the_last_token_of_a_causal_layer_is_no_sink():
    tokens = small_tokens()
    used = torch.ones(2, 2, 6, 6, dtype=torch.bool).tril()
    tokens[..., 0] += 2
    tokens[:, 5, 1] += 5  # it looks at itself, and no other may
    _, found = look(planted(), tokens, used=used)
    assert 5 not in found.places[0]


def test_padding_takes_no_part():
    tokens = small_tokens()
    tokens[..., 0] += 2
    tokens[:, 2, 1] += 3
    tokens[1, 4:] = 100.0
    used = torch.ones(2, 2, 6, 6, dtype=torch.bool)
    used[1, :, 4:] = False
    used[1, :, :, 4:] = False
    layer, found = look(planted(), tokens, used=used)
    assert not attention(layer)[1, :, 4:].any() and not attention(layer)[1, :, :, 4:].any()
    assert found.places[0] == {2: 1.0} and float(found.served["sink"].mass[0]) > 0.99
    assert not found.high_norm[1, 4:].any()


def test_high_norm_tokens_within_windows(make_record):
    record = make_record(window=Windows(torch.tensor([[0, 3], [2, 1]])))
    tokens = torch.ones(1, 4, 16, dtype=torch.float64)
    tokens[0, 1] *= 10
    _, found = look(record, tokens, prefix=3)
    assert found.high_norm.tolist() == [[False, True, False, False]]
    assert "prefix" not in found.served and "high_norm" in found.served


def test_high_norms_are_judged_by_the_median_of_their_sample():
    tokens = torch.ones(2, 5, 3)
    tokens[1] *= 100
    tokens[1, 2] *= 3.1
    tokens[:, 0] *= 1000
    assert high_norm_tokens(tokens, prefix=1).nonzero().tolist() == [[1, 2]]
    assert high_norm_tokens(tokens).nonzero().tolist() == [[0, 0], [1, 0], [1, 2]]
    real = torch.ones(2, 5, dtype=torch.bool)
    real[:, 0] = False
    assert high_norm_tokens(tokens, real=real).nonzero().tolist() == [[1, 2]]
