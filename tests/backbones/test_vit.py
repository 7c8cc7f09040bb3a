"""The embedded backbone against timm's vision transformer, which its weights claim to fit."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

import headwise
from headwise.backbones.embedded import WEIGHTS, load_embedded
from headwise.backbones.timm_models import import_timm
from headwise.backbones.vit import VisionTransformer, VisionTransformerConfig
from headwise.contracts import Backbone
from headwise.errors import InputError
from headwise.files import hash_file

SIZES = {"img_size": 32, "patch_size": 4, "embed_dim": 128, "depth": 6, "num_heads": 4, "num_classes": 0}


def random_weights():
    model = VisionTransformer(VisionTransformerConfig())
    for parameter in model.parameters():  # no norm is the identity, no bias zero
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def assert_same_as_timm(weights, ours, images):
    theirs = import_timm().models.VisionTransformer(**SIZES).eval()
    theirs.load_state_dict(weights, strict=True)
    with torch.no_grad():
        torch.testing.assert_close(ours, theirs.forward_features(images), rtol=0, atol=1e-5)


def test_random_weights_give_the_tokens_of_timm():
    model, images = random_weights(), torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        ours = model(images)
    assert ours.std() > 0.1  # the comparison is of something
    assert_same_as_timm(model.state_dict(), ours, images)


def test_the_weights_of_the_package_give_the_tokens_of_timm():
    assert WEIGHTS.stat().st_size <= 6 * 2**20
    weights = {k: v.float() for k, v in load_file(WEIGHTS).items()}
    images = torch.rand(2, 3, 32, 32)
    assert_same_as_timm(weights, load_embedded().tokens(images)[0], images)


def test_embedded_weights_are_read_from_a_file(tmp_path):
    model, file = random_weights(), tmp_path / "weights.safetensors"
    save_file(model.state_dict(), file)
    found = load_embedded(file)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(found.tokens(images)[0], model(images), rtol=0, atol=0)
    assert found.weights_hash == hash_file(file)


def test_half_precision_weights_become_single(tmp_path):
    model, file = random_weights(), tmp_path / "weights.safetensors"
    save_file({k: v.half() for k, v in model.state_dict().items()}, file)
    assert {p.dtype for p in load_embedded(file).model.parameters()} == {torch.float32}


def test_what_the_package_says_of_its_backbone():
    model = headwise.load_backbone("embedded")
    assert isinstance(model, Backbone)
    assert (model.name, model.grid, model.num_prefix_tokens) == ("embedded", (8, 8), 1)
    assert (model.width, model.depth, model.num_heads) == (128, 6, 4)
    assert model.num_parameters == sum(v.numel() for v in load_file(WEIGHTS).values())
    assert model.preprocessing.image_size == (32, 32)
    assert (WEIGHTS.parent / "README.md").is_file()  # the model card


@pytest.mark.parametrize("broken", ["missing", "not weights", "other shapes", "lacks a tensor"])
def test_weights_that_cannot_be_used(tmp_path, broken):
    file = tmp_path / "weights.safetensors"
    weights = VisionTransformer(VisionTransformerConfig()).state_dict()
    if broken == "not weights":
        file.write_bytes(b"these are not weights at all")
    elif broken == "other shapes":
        save_file(VisionTransformer(VisionTransformerConfig(width=64)).state_dict(), file)
    elif broken == "lacks a tensor":
        del weights["norm.weight"]
        save_file(weights, file)
    with pytest.raises(InputError, match="the embedded weights cannot be read"):
        load_embedded(file)


def test_the_embedded_backbone_has_no_variants():
    with pytest.raises(InputError, match="no variants, got 'embedded/large'"):
        headwise.load_backbone("embedded/large")
