"""Damaged folders of dissections are named, whatever is wrong with them."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import headwise
from headwise import Dissection, InputError
from headwise.dissect import load_examples


@pytest.fixture
def saved(tmp_path):
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, batch_first=True)
    found = headwise.dissect(headwise.load_backbone(layer), check=torch.randn(2, 5, 8), draws=2)
    found.save(tmp_path / "made")
    return tmp_path / "made"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("effective_rank", None),
        ("layers.0.high_norm", None),
        ("layers.0.u", lambda x: x[:1]),
        ("layers.0.v", lambda x: x * torch.nan),
    ],
)
def test_tensors_that_do_not_fit(saved, name, change):
    file = saved / "dissection.safetensors"
    tensors = load_file(file)
    value = tensors.pop(name)
    if change is not None:
        tensors[name] = change(value).contiguous()
    save_file(tensors, file)
    with pytest.raises(InputError, match="damaged"):
        Dissection.load(saved)


@pytest.mark.parametrize("key", ["layers", "dissection"])
@pytest.mark.parametrize("value", [None, 5])
def test_numbers_that_do_not_fit(saved, key, value):
    file = saved / "dissection.json"
    numbers = json.loads(file.read_text())
    if value is None:
        del numbers[key]
    else:
        numbers[key] = value
    file.write_text(json.dumps(numbers))
    with pytest.raises(InputError, match="damaged"):
        Dissection.load(saved)


def test_a_file_in_place_of_a_folder(saved):
    with pytest.raises(InputError, match="cannot be read"):
        Dissection.load(saved / "dissection.json")


@pytest.mark.parametrize("told", ["{bad", "[1]", '{"format_version": 1}'])
def test_examples_that_say_nothing_of_themselves(tmp_path, told):
    save_file({"0.scores": torch.zeros(1)}, tmp_path / "file", {"examples": told})
    with pytest.raises(InputError, match="cannot be read"):
        load_examples(tmp_path / "file")
