"""``headwise dissect`` through the real entry point."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from headwise.dissect import Dissection


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(3):
        pixels = rng.integers(0, 255, size=(40, 32, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


def test_a_table_of_attention_heads(call, photos, tmp_path):
    code, said, _ = call("dissect", "embedded", "--images", photos, "--num-images", 2, "--out", tmp_path / "made")
    assert code == 0
    found = Dissection.load(tmp_path / "made")
    lines = said.splitlines()
    assert lines[0].split()[:4] == ["layer", "head", "cosine", "chance"]
    assert {"content", "key-only", "prefix", "high-norm"} < set(lines[0].split())
    assert len([line for line in lines if line.split()[:1] and line.split()[0].isdigit()]) == len(found.heads)
    assert "proved: the logits rebuilt differ from the model's by" in " ".join(said.split())
    assert f"dissection: {tmp_path / 'made'}" in said
    assert found.evidence[0].sinks.high_norm.shape[0] == 2  # images


def test_one_layer_and_json(call, photos):
    code, said, _ = call("dissect", "embedded", "--images", photos / "1.png", "--layer", 2)
    assert code == 0 and {line.split()[0] for line in said.splitlines()[1:] if line.split()[0].isdigit()} == {"2"}
    code, said, _ = call("dissect", "embedded", "--json")  # on the photographs of the package
    told = json.loads(said)
    assert code == 0 and told["check"]["largest_difference"] < 1e-6 and told["heads"][0]["layer"] == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["embedded", "--layer", 99], "embedded has layers 0 to"),
        (["embeded"], "did you mean embedded"),
        (["embedded", "--images", "digits-store"], "digits-store does not exist"),
    ],
)
def test_what_cannot_be_done_is_said(call, args, said):
    code, _, error = call("dissect", *args)
    assert code == 2 and said in error


def test_a_model_of_text_is_not_checked(call, tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'headwise[hf]'")
    size = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 32}
    transformers.AutoModel.from_config(transformers.LlamaConfig(**size, vocab_size=50)).save_pretrained(tmp_path)
    code, said, error = call("dissect", f"hf/{tmp_path}", "--context", 12)
    assert code == 0 and "nothing is checked or measured" in error and "content" not in said.splitlines()[0]
    assert "among 12 tokens" in " ".join(said.split())
    code, _, error = call("dissect", f"hf/{tmp_path}")
    assert code == 2 and "give context" in error
    code, _, error = call("dissect", f"hf/{tmp_path}", "--images", tmp_path)
    assert code == 2 and "takes no images" in error
