"""A real text model: all-MiniLM-L6-v2, where it is installed."""

from __future__ import annotations

import pytest
import torch

import headwise
from headwise.heads import verify
from headwise.tokens import TokenStore

SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]


@pytest.fixture(scope="module")
def model(minilm):
    return headwise.load_backbone(minilm)


def test_sentences_are_as_alike_as_the_library_of_the_model_says(model):
    """Cosines of mean tokens, as printed by the documentation of sentence-transformers for these sentences."""
    assert (model.width, model.depth, model.num_heads, model.num_prefix_tokens) == (384, 6, 12, 1)
    assert model.preprocessing.max_tokens == 512
    batch = model.preprocess(SENTENCES)
    (tokens,), seen = model.tokens(batch), model.seen(batch)
    means = torch.where(seen[..., None], tokens, 0).sum(1) / seen.sum(1, keepdim=True)
    means = torch.nn.functional.normalize(means, dim=1)
    wanted = torch.tensor([[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]])
    torch.testing.assert_close(means @ means.T, wanted, atol=2e-4, rtol=0)


def test_its_attention_heads_are_described(model):
    found = headwise.dissect(model, check=model.preprocess(SENTENCES), draws=2)
    assert found.difference < 1e-6 and found.weighted_cosine.shape == (6, 12)


@pytest.mark.slow
def test_messages(minilm, data_dir, tmp_path):
    """Unwanted messages are told from others, with a certificate, better than the majority and by a verified head."""
    lines = (data_dir / "sms_spam" / "sms_spam.tsv").read_text(encoding="utf-8").splitlines()
    spam = [line for line in lines[1:] if line.startswith("spam")][:250]
    ham = [line for line in lines[1:] if line.startswith("ham")][:450]
    (tmp_path / "few.tsv").write_text("\n".join([lines[0], *spam, *ham]) + "\n", encoding="utf-8")
    study = headwise.study(tmp_path / "few.tsv", minilm, tmp_path / "out", max_tokens=48, betas=4, n_components=16)
    used = next(h for h in study.data["heads"] if h["chosen"])
    assert used["scores"]["test"]["accuracy"] > 0.94 and used["relative_gap"] <= 1e-3
    store = TokenStore.open(tmp_path / "out" / "tokens")
    assert store.skipped and store.num_tokens == 48
    assert verify(tmp_path / "out" / "head", store).holds
    assert 'class="quotation"' in study.report.read_text(encoding="utf-8")
