"""What cannot be dissected, or is asked for in the wrong way, is refused by name; what is left out is said."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import headwise
from headwise.dissect import Dissection, dissect, mode_maps, modes
from headwise.errors import InputError


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(12, 3, 16, norm_first=True, batch_first=True)
    return headwise.load_backbone(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))


@pytest.fixture(scope="module")
def found(encoder):
    return dissect(encoder, torch.randn(2, 5, 12), draws=2)


def test_a_model_without_attention():
    with pytest.raises(InputError, match="Sequential has no attention layer that is understood"):
        headwise.load_backbone(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))


def test_a_model_on_the_meta_device():
    with torch.device("meta"):
        layer = nn.TransformerEncoderLayer(12, 3, 16, norm_first=True, batch_first=True)
    model = headwise.load_backbone(layer)
    for inputs in (None, torch.randn(1, 4, 12)):
        with pytest.raises(InputError, match=r"meta device: its weights have no numbers; load them first"):
            dissect(model, inputs)


def test_a_quantised_model():
    layer = nn.TransformerEncoderLayer(12, 3, 16, norm_first=True, batch_first=True)
    layer.self_attn.in_proj_weight = nn.Parameter(torch.zeros(36, 12, dtype=torch.int8), requires_grad=False)
    with pytest.raises(InputError, match=r"weights of torch\.int8: quantised models are not read"):
        headwise.load_backbone(layer)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_taken_up_and_said(dtype):
    layer = nn.TransformerEncoderLayer(12, 3, 16, norm_first=True, batch_first=True).to(dtype)
    found = dissect(headwise.load_backbone(layer), torch.randn(2, 5, 12, dtype=dtype), draws=2)
    assert found.difference < 1e-6 and found.modes[0].u.dtype == torch.float64
    assert found.modes[0].about == f"of weights in {str(dtype).removeprefix('torch.')}"
    assert layer.self_attn.in_proj_weight.dtype == dtype  # the model is left as it was


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fold": "no"}, "fold must be True or False, got 'no'"),
        ({"context": 0}, "context must be a whole number of at least 1 or None"),
        ({"draws": 1.5}, "draws must be a whole number"),
        ({"seed": "x"}, "seed must be a whole number"),
    ],
)
def test_options_of_the_wrong_kind(encoder, options, said):
    with pytest.raises(InputError, match=said):
        dissect(encoder, **options)


@pytest.mark.parametrize("places", [3, "ab", (1,), (1, 2, 3), ("a", 0), (0, -1), (0.5, 1)])
def test_places_of_the_wrong_kind(make_record, make_rotary, places):
    for record in (make_record(), make_record(rotary=make_rotary(2))):
        with pytest.raises(InputError, match="place"):
            modes(record, places=places)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (("a", 0), "layer must be a whole number of at least 0, got 'a'"),
        ((-1, 0), "layer must be a whole number of at least 0, got -1"),
        ((0, None), "head must be a whole number"),
        ((2, 0), "layers are 0 to 1, got 2"),
        ((0, 3), "layer 0 has attention heads 0 to 2, got 3"),
    ],
)
def test_attention_heads_that_are_not_there(found, at, said):
    with pytest.raises(InputError, match=said):
        found.modes_of(*at)


@pytest.mark.parametrize("pair", [(0, 4), (3, 0), ("a", 0), (0, -1)])
def test_modes_that_are_not_there(encoder, pair):
    with pytest.raises(InputError, match=r"attention head|the mode"):
        mode_maps(encoder, torch.randn(1, 4, 12), 0, [pair])


def test_what_is_printed_is_short(found):
    for each in (found, found.modes[0], found.evidence[0], found.evidence[0].sinks, found.check):
        assert len(repr(each)) < 200 and "tensor" not in repr(each)
    assert repr(found).startswith("Dissection(2 layers, 6 attention heads; logits within ")
    assert repr(found.modes[1]) == "Modes(layer 1: 3 attention heads, 4 modes of width 12)"


def test_a_bounded_file_keeps_the_numbers(encoder, found, tmp_path):
    records = encoder.query_keys()
    found.save(tmp_path / "made", modes=2, records=records)
    again = Dissection.load(tmp_path / "made")
    assert again.to_dict() == found.to_dict()
    for ours, theirs, record in zip(again.modes, found.modes, records, strict=True):
        assert ours.u.shape == (3, 2, 12) and torch.equal(ours.u, theirs.u[:, :2])
        assert torch.equal(ours.sigma, theirs.sigma) and ours.sigma.shape == (3, 4)
        assert again.modes_of(record.layer, 1) == found.modes_of(record.layer, 1)
    numbers = json.loads((tmp_path / "made" / "dissection.json").read_text())
    assert "leaves out the directions of modes 2 to 3" in numbers["left_out"]
    again.save(tmp_path / "twice")  # what is left stays what it is
    assert Dissection.load(tmp_path / "twice").to_dict() == found.to_dict()


def test_factors_are_those_of_the_matrix(encoder, found, tmp_path):
    from safetensors.torch import load_file

    found.save(tmp_path / "made", records=encoder.query_keys())
    tensors = load_file(tmp_path / "made" / "dissection.safetensors")
    each = found.modes[1]
    matrix = torch.einsum("hnd,hn,hne->hde", each.u, each.sigma, each.v)
    product = tensors["layers.1.query"].double().mT @ tensors["layers.1.key"].double()
    assert torch.allclose(product, matrix, atol=1e-5 * float(matrix.abs().max()))
    takes = 2 * 2 * 3 * 12 * 8  # bytes of one mode of all attention heads
    found.save(tmp_path / "small", max_bytes=3 * takes + 10, records=encoder.query_keys())
    small = load_file(tmp_path / "small" / "dissection.safetensors")
    assert small["layers.0.u"].shape == (3, 3, 12) and "layers.0.query" not in small
    said = json.loads((tmp_path / "small" / "dissection.json").read_text())["left_out"]
    assert "modes 3 to 3" in said and "the factors of the query-key matrices" in said and "0 MiB" in said
    with pytest.raises(InputError, match="modes must be a whole number of at least 1"):
        found.save(tmp_path / "none", modes=0)
