"""Text models with their tokenizer: tiny ones that the tests save themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import headwise
from headwise.contracts import AttentionModel, Backbone, TextBackbone
from headwise.dissect import check
from headwise.errors import InputError

TEXTS = ["see you at home", "win a prize now!", "call", "Go, go, we see the prizes"]
ENCODERS = {
    "bert": ("BertConfig", {}),
    # its places count from one more than the number of the padding
    "roberta": ("RobertaConfig", {"max_position_embeddings": 17}),
}
CAUSAL = {"gpt2": ("GPT2Config", {}), "llama": ("LlamaConfig", {"num_key_value_heads": 2})}
EVERY = pytest.mark.parametrize("name", [*ENCODERS, *CAUSAL])


@pytest.fixture(scope="module")
def made(tmp_path_factory, save_text_model):
    """A text model of each kind, loaded."""
    found = {}
    for name, (config, options) in (ENCODERS | CAUSAL).items():
        folder = save_text_model(tmp_path_factory.mktemp(name), config, **options)
        found[name] = headwise.load_backbone(f"hf/{folder}")
    return found


@EVERY
def test_padding_changes_no_token(made, name):
    model = made[name]
    assert isinstance(model, TextBackbone) and isinstance(model, AttentionModel) and not isinstance(model, Backbone)
    assert (model.width, model.depth, model.preprocessing.max_tokens) == (24, 2, 16)
    batch = model.preprocess(TEXTS)
    seen = model.seen(batch)
    for layer, at in ((-1, "output"), (0, "output"), (1, "block_input")):
        (together,) = model.tokens(batch, [layer], at)
        for i, text in enumerate(TEXTS):
            alone = model.preprocess([text])
            with torch.no_grad():
                (wanted,) = model.tokens(alone, [layer], at)
            length = wanted.shape[1]
            torch.testing.assert_close(together[i, :length], wanted[0], atol=1e-5, rtol=1e-5)
            assert not seen[i, length:].any() and torch.equal(seen[i, :length], model.seen(alone)[0])
            if (layer, at) == (-1, "output"):
                torch.testing.assert_close(wanted, model.model(**alone).last_hidden_state)
    assert not any(x.requires_grad for x in model.tokens(batch))


@pytest.mark.parametrize("name", ENCODERS)
def test_a_token_in_front_that_sees_the_text_is_a_prefix_token(made, name):
    model = made[name]
    assert model.num_prefix_tokens == 1
    assert model.seen(model.preprocess(TEXTS))[:, 0].all()


@pytest.mark.parametrize("name", CAUSAL)
def test_a_token_in_front_that_sees_nothing_is_hidden(made, name):
    model = made[name]
    batch = model.preprocess(TEXTS)
    first = model.tokens(batch)[0][:, 0]
    torch.testing.assert_close(first, first[:1].expand_as(first))
    assert model.num_prefix_tokens == 0
    assert not model.seen(batch)[:, 0].any() and model.seen(batch)[:, 1].all()
    assert batch["attention_mask"][:, 0].all(), "the model itself may see it"


@EVERY
def test_tokens_added_at_the_end(made, name):
    model = made[name]
    assert model.num_suffix_tokens == 1  # [SEP]


def test_the_vocabulary_and_its_embedding(made):
    model = made["bert"]
    words, table = model.vocabulary()
    assert table.shape == (len(words), 24)
    (encoded,) = model.encode(["win a prizes"])
    ids = encoded.ids.tolist()
    rows = model.model.get_input_embeddings().weight[ids]
    assert [words.index(word) for word in ("[CLS]", "win", "a", "prize", "##s", "[SEP]")] == ids
    torch.testing.assert_close(table[ids], rows)


@EVERY
def test_records_describe_padded_texts(made, name):
    model = made[name]
    assert check(model, model.query_keys(), model.preprocess(TEXTS)).largest < 1e-9


def test_dissection_of_texts(made):
    assert headwise.dissect(made["bert"], check=made["bert"].preprocess(TEXTS), draws=2).difference < 1e-9


def test_long_texts_are_cut_and_counted(made):
    model = made["bert"]
    long = " ".join(["see", "you"] * 10)
    short, cut = model.encode(["see you", long])
    assert (len(short.ids), short.whole) == (4, 4)
    assert (len(cut.ids), cut.whole) == (16, 22)
    assert cut.ids[0] == short.ids[0] and cut.ids[-1] == short.ids[-1], "what the tokenizer adds is kept"
    (few,) = model.encode([long], max_tokens=5)
    assert few.ids.tolist() == [*cut.ids[:4], cut.ids[-1]] and few.whole == 22
    assert len(model.encode([long], max_tokens=99)[0].ids) == 16, "never more than the model takes"
    with pytest.raises(InputError, match=r"at most 2 tokens of a text are asked for, .* adds 2 to each; give at least"):
        model.encode([long], max_tokens=2)
    assert model.encode([]) == []


def test_where_tokens_stand_in_a_text(made):
    model, text = made["bert"], "Go, we see  prizes!"
    spans = model.spans(text)
    assert [text[a:b] for a, b in spans] == ["", "Go", ",", "we", "see", "prize", "s", "!", ""]
    assert len(spans) == len(model.encode([text])[0].ids)
    assert model.spans(text, max_tokens=4) == [*spans[:3], (0, 0)]
    assert model.spans("see you", max_tokens=16) == [(0, 0), (0, 3), (4, 7), (0, 0)]


def test_what_is_no_text(made):
    model = made["bert"]
    with pytest.raises(InputError, match=r"takes a list of texts \(str\), got one str"):
        model.preprocess("see you")
    with pytest.raises(InputError, match=r"got ndarray; images need another backbone"):
        model.preprocess([np.zeros((4, 4, 3), dtype=np.uint8)])
    with pytest.raises(InputError, match="takes texts: what preprocess"):
        model.tokens(torch.zeros(1, 3, 8, 8))
    with pytest.raises(InputError, match="no texts were given"):
        model.preprocess([])
    with pytest.raises(InputError, match=r"text 1 has no tokens \(1 such\)"):
        model.preprocess(["see", "\u200b"])
    with pytest.raises(InputError, match="layers 0 to 1, got 7"):
        model.tokens(model.preprocess(TEXTS), [7])
    images = headwise.load_backbone("embedded")
    with pytest.raises(InputError, match=r"takes images \(B, 3, 32, 32\), got a dict"):
        images.tokens(model.preprocess(TEXTS))
    with pytest.raises(InputError, match="an image must be PIL"):
        images.preprocess(TEXTS)


def test_the_tokenizer_is_part_of_the_preprocessing(made, save_text_model, tmp_path):
    again = headwise.load_backbone(made["bert"].name)
    assert again.preprocessing == made["bert"].preprocessing and again.weights_hash == made["bert"].weights_hash
    capitals = headwise.load_backbone(f"hf/{save_text_model(tmp_path, lower=False)}")
    assert capitals.weights_hash == again.weights_hash
    assert capitals.preprocessing.tokenizer != again.preprocessing.tokenizer


def test_tokenizers_that_are_not_read(save_text_model, tmp_path):
    folder = save_text_model(tmp_path / "model")
    told = folder / "tokenizer_config.json"
    good = json.loads(told.read_text())
    told.write_text(json.dumps(good | {"auto_map": {"AutoTokenizer": ["mine.Tokenizer", None]}}))
    with pytest.raises(InputError, match=r"code of its own in tokenizer_config\.json"):
        headwise.load_backbone(f"hf/{folder}")
    told.write_text(json.dumps(good))
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": 3}')
    with pytest.raises(InputError, match=r"the tokenizer of .* cannot be read"):
        headwise.load_backbone(f"hf/{folder}")


def test_a_tokenizer_of_another_model(save_text_model, tmp_path):
    folder = save_text_model(tmp_path / "model", vocab_size=6)
    with pytest.raises(InputError, match="does not run on the tokens of its tokenizer"):
        headwise.load_backbone(f"hf/{folder}")
