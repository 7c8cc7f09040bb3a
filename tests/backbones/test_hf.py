"""Models of transformers from a folder: tiny ones that the tests save themselves."""

from __future__ import annotations

import builtins
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import headwise
from headwise.contracts import AttentionModel, Backbone, Preprocessing
from headwise.dissect import check
from headwise.errors import InputError
from headwise.hub import cached

SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 32}
VISION = SMALL | {"image_size": 16, "patch_size": 4}
SQUARE = {
    "size": {"height": 16, "width": 16},
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
}


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason="needs transformers: pip install 'headwise[hf]'")


def save(transformers, folder, config, options, preprocessing=None, dtype=torch.float32):
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(getattr(transformers, config)(**options)).to(dtype)
    model.save_pretrained(folder)
    if preprocessing is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return model.eval()


@pytest.mark.parametrize(
    ("config", "options", "prefix"),
    [
        ("ViTConfig", VISION, 1),
        ("Dinov2WithRegistersConfig", VISION | {"num_register_tokens": 4, "mlp_ratio": 2}, 5),
        ("CLIPVisionConfig", VISION, 1),
        ("SiglipVisionConfig", VISION, 0),
    ],
)
def test_a_vision_transformer(transformers, tmp_path, config, options, prefix):
    wanted = save(transformers, tmp_path, config, options, SQUARE)
    model = headwise.load_backbone(f"hf/{tmp_path}")
    assert isinstance(model, Backbone)
    assert (model.grid, model.num_prefix_tokens, model.width, model.depth) == ((4, 4), prefix, 24, 2)
    assert model.preprocessing == Preprocessing((16, 16), (0.1, 0.2, 0.3), (0.5,) * 3, "bilinear", 1.0, "squash")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    batch = model.preprocess([picture, picture])
    (found,) = model.tokens(batch)
    with torch.no_grad():
        torch.testing.assert_close(found, wanted(pixel_values=batch).last_hidden_state)
    outputs, inputs = model.tokens(batch, [0]), model.tokens(batch, [1], "block_input")
    assert torch.equal(outputs[0], inputs[0])
    assert check(model, model.query_keys(), batch).largest < 1e-9
    assert headwise.load_backbone(f"hf/{tmp_path}").weights_hash == model.weights_hash
    assert headwise.dissect(model, check=batch, draws=2).difference < 1e-9


def test_a_study_of_images_on_a_vision_transformer(transformers, tmp_path, draw_pictures):
    """From pictures to a certified head, a checked dissection with overlays, and predictions for the same pictures."""
    save(transformers, tmp_path / "model", "ViTConfig", VISION, SQUARE)
    model = f"hf/{tmp_path / 'model'}"
    pictures = draw_pictures(tmp_path / "pictures", 30, contrast=120)
    study = headwise.study(pictures, model, tmp_path / "out", betas=2, n_components=4)
    assert study.data["dissection"]["overlays"] and study.data["backbone"]["grid"] == [4, 4]
    ids, found = headwise.predict(study.path / "head", pictures)
    stored, wanted = headwise.predict(study.path / "head", study.path / "tokens")
    assert ids == stored
    np.testing.assert_allclose(found, wanted, atol=2e-3)  # stored as float16


def test_the_vision_tower_of_two(transformers, tmp_path):
    options = {"text_config": SMALL | {"vocab_size": 50}, "vision_config": VISION, "projection_dim": 8}
    save(transformers, tmp_path, "CLIPConfig", options, SQUARE)
    model = headwise.load_backbone(f"hf/{tmp_path}")
    assert model.depth == 2 and model.num_prefix_tokens == 1
    assert check(model, model.query_keys(), torch.randn(2, 3, 16, 16)).largest < 1e-9


@pytest.mark.parametrize(
    ("described", "wanted"),
    [
        (
            {"size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 16}, "do_center_crop": True},
            ((16, 16), "center", 20),
        ),
        ({"size": 16, "crop_size": 16, "do_center_crop": True}, ((16, 16), "center", 16)),
        ({"size": 16}, ((16, 16), "squash", 16)),
        ({"size": {"shortest_edge": 16}, "do_normalize": False}, ((16, 16), "center", 16)),
    ],
)
def test_how_images_are_prepared(transformers, tmp_path, described, wanted):
    save(transformers, tmp_path, "ViTConfig", VISION, described)
    how = headwise.load_backbone(f"hf/{tmp_path}").preprocessing
    size, mode, resized = wanted
    assert (how.image_size, how.crop_mode) == (size, mode)
    assert int(16 / how.crop_fraction) == resized
    assert how.mean == ((0.0,) * 3 if "do_normalize" in described else (0.5,) * 3)


def test_a_text_model(transformers, tmp_path):
    wanted = save(transformers, tmp_path, "BertConfig", SMALL | {"vocab_size": 50}, dtype=torch.float16)
    model = headwise.load_backbone(f"hf/{tmp_path}")
    assert isinstance(model, AttentionModel) and not isinstance(model, Backbone)
    assert "stored in float16 and run in float32" in model.description
    inputs = {"input_ids": torch.arange(2, 12).view(2, 5), "attention_mask": torch.ones(2, 5, dtype=torch.long)}
    with torch.no_grad():
        torch.testing.assert_close(model.tokens(inputs)[0], wanted.float()(**inputs).last_hidden_state)
    assert headwise.dissect(model, check=inputs, draws=2).difference < 1e-9


def test_what_is_never_loaded(transformers, tmp_path):
    save(transformers, tmp_path, "ViTConfig", VISION, SQUARE)
    file = tmp_path / "config.json"
    good = json.loads(file.read_text())

    def refused(said, **changes):
        file.write_text(json.dumps(good | changes))
        with pytest.raises(InputError, match=said):
            headwise.load_backbone(f"hf/{tmp_path}")

    refused("code of its own in config.json", auto_map={"AutoModel": "mine.Model"})
    refused("quantised weights", quantization_config={"bits": 4})
    refused("does not take images of 16 x 16 pixels|cannot be loaded", image_size=32)
    refused("cannot be loaded", model_type="nothing")
    file.write_text(json.dumps(good))
    (tmp_path / "preprocessor_config.json").unlink()
    refused(r"no preprocessor_config\.json")
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    refused("pickled weights are never read")
    file.unlink()
    with pytest.raises(InputError, match=r"no config\.json"):
        headwise.load_backbone(f"hf/{tmp_path}")


def test_layers_without_weights_are_refused(transformers, tmp_path):
    save(transformers, tmp_path, "BertConfig", SMALL | {"vocab_size": 50})
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    save_file({k: v for k, v in weights.items() if "pooler" not in k}, file, metadata={"format": "pt"})
    headwise.load_backbone(f"hf/{tmp_path}")  # the pooler makes no tokens
    save_file({k: v for k, v in weights.items() if "1.attention" not in k}, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks weights of its layers: encoder\.layer\.1\.attention"):
        headwise.load_backbone(f"hf/{tmp_path}")


def test_models_that_are_not_here(transformers):
    with pytest.raises(InputError, match="which model"):
        headwise.load_backbone("hf")
    with pytest.raises(InputError, match="there is no folder nowhere; give the folder of a model, or USER/NAME"):
        headwise.load_backbone("hf/nowhere")


def test_the_cache_is_asked_and_not_the_network():
    pytest.importorskip("huggingface_hub", reason="needs huggingface_hub: pip install 'headwise[hf]'")
    with pytest.raises(InputError, match=r"somebody/nothing is not in the local cache .*; fetch it first: hf download"):
        cached("somebody/nothing")


def test_without_transformers(monkeypatch):
    real = builtins.__import__

    def fail(name, *args, **kwargs):
        if name == "transformers":
            raise ImportError("No module named 'transformers'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(InputError, match=r"transformers cannot be imported .*pip install 'headwise\[hf\]'"):
        headwise.load_backbone("hf/somebody/something")
