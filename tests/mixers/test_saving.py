"""Mixers on disk: every mechanism comes back as it was, and damaged folders are told as what they are."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from headwise import InputError
from headwise.mixers import MIXERS, create, load

REFERENCES = Path(__file__).parent / "references"
DTYPES = (torch.float64, torch.bfloat16, torch.float32)
CASES = [
    pytest.param(name, options, DTYPES[i % 3], id=f"{name}-{i}")
    for name in MIXERS.names()
    for i, options in enumerate(runpy.run_path(str(REFERENCES / f"{name}.py"))["CASES"])
]


@pytest.mark.parametrize(("name", "options", "dtype"), CASES)
def test_saved_and_loaded(name, options, dtype, tmp_path):
    module = create(name, **options).to(dtype)
    module.save_pretrained(tmp_path / "mixer")
    again = load(tmp_path / "mixer")
    assert again.config == module.config and type(again) is type(module)
    assert module.training and not again.training
    for (a, x), (b, y) in zip(module.state_dict().items(), again.state_dict().items(), strict=True):
        assert a == b and x.dtype == y.dtype
        torch.testing.assert_close(x, y, rtol=0, atol=0)
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in module.parameters()]


@pytest.fixture
def folder(tmp_path):
    create("halo", dim=8, num_heads=2, grid=(4, 4)).save_pretrained(tmp_path / "mixer")
    return tmp_path / "mixer"


def test_a_folder_takes_a_later_state_of_its_mixer(folder):
    again = load(folder)
    with torch.no_grad():
        again.q.weight.zero_()
    again.save_pretrained(folder)
    assert not load(folder).q.weight.any()


def change(folder, **more):
    file = folder / "config.json"
    held = json.loads(file.read_text())
    file.write_text(json.dumps({**held, **more}))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"kind": "headwise head"}, "holds 'headwise head', not a headwise mixer"),
        ({"format_version": 9}, "has format 9"),
        ({"name": "hallo"}, "did you mean halo"),
        ({"name": None}, "neither name nor configuration"),
        ({"config": [8]}, "neither name nor configuration"),
        ({"config": {"num_heads": 2}}, "configuration in .* cannot be used: halo needs dim"),
        ({"config": {"dim": 8, "heads": 2}}, "cannot be used: unknown option of halo 'heads'"),
        ({"config": {"dim": 8, "name": "halo"}}, "cannot be used: unknown option of halo 'name'"),
        ({"config": {"dim": "8"}}, "cannot be used: dim must be a whole number, got '8'"),
        ({"config": {"dim": 16, "num_heads": 2}}, r"weights of .* do not belong to its configuration.*\(16, 16\)"),
    ],
)
def test_a_configuration_that_is_damaged(folder, more, says):
    change(folder, **more)
    with pytest.raises(InputError, match=says):
        load(folder)


@pytest.mark.parametrize("text", ["{", "[]", "3", '"mixer"', "\xff"])
def test_a_configuration_that_is_none(folder, text):
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"config.json is not valid JSON|holds 'something else', not a headwise mixer"):
        load(folder)
    with pytest.raises(InputError, match=r"config.json is not valid JSON|holds something else than this halo mixer"):
        create("halo", dim=8, num_heads=2, grid=(4, 4)).save_pretrained(folder)


def test_weights_that_are_damaged(folder):
    file = folder / "model.safetensors"
    held = {k: v.clone() for k, v in load_file(file).items()}
    wrong = {
        "there is no q.weight": {k: v for k, v in held.items() if k != "q.weight"},
        "there is bias, which it does not have": {**held, "bias": torch.zeros(1)},
        r"q.weight of torch.float32 \(8, 7\) in place of .* \(8, 8\)": {**held, "q.weight": torch.zeros(8, 7)},
        "q.weight of torch.int64": {**held, "q.weight": torch.zeros(8, 8, dtype=torch.long)},
    }
    for says, tensors in wrong.items():
        save_file(tensors, file)
        with pytest.raises(InputError, match=f"do not belong to its configuration: .*{says}"):
            load(folder)
    file.write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"weights of .* cannot be read"):
        load(folder)
    file.unlink()
    with pytest.raises(InputError, match=r"weights of .* cannot be read"):
        load(folder)


def test_paths_that_are_no_folder_of_a_mixer(folder, tmp_path):
    with pytest.raises(InputError, match=r"it has no config.json"):
        load(tmp_path / "nothing")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=r"file is a file; give the folder"):
        load(tmp_path / "file")
    with pytest.raises(InputError, match=r"cannot write in .*file"):
        create("softmax", dim=8).save_pretrained(tmp_path / "file")
    with pytest.raises(InputError, match="holds something else than this softmax mixer"):
        create("softmax", dim=8).save_pretrained(folder)
    (tmp_path / "full" / "model.safetensors").mkdir(parents=True)
    with pytest.raises(InputError, match=r"cannot write in .*full"):
        create("softmax", dim=8).save_pretrained(tmp_path / "full")
