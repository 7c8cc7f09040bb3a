"""Evidence on texts: which token of which text, in its context, and the words that a mode points at."""

from __future__ import annotations

import pytest
import torch

import headwise
from headwise.dissect import all_modes, mode_maps, quotations, top_examples, vocabulary
from headwise.dissect.texts import in_context
from headwise.errors import InputError

TEXTS = ["see you at home", "win a prize now!", "call", "Go, go, we see the prizes", "the dinner at home", "me"]
KINDS = {
    "bert": ("BertConfig", {}),
    "gpt2": ("GPT2Config", {}),
    "llama": ("LlamaConfig", {"num_key_value_heads": 2}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory, save_text_model):
    return {
        name: headwise.load_backbone(f"hf/{save_text_model(tmp_path_factory.mktemp(name), config, **options)}")
        for name, (config, options) in KINDS.items()
    }


def batches(model, size):
    return [model.preprocess(TEXTS[i : i + size]) for i in range(0, len(TEXTS), size)]


@pytest.mark.parametrize("name", KINDS)
def test_padding_and_added_tokens_are_never_chosen(made, name):
    """Against the same texts, one by one, without padding."""
    model = made[name]
    assert model.num_suffix_tokens == 1
    context = {"context": 16} if name == "llama" else {}
    modes = all_modes(model.query_keys(), context=16)
    found = top_examples(model, batches(model, 4), per_mode=3, high_norm=True, **context)
    for layer, each in enumerate(found):
        maps = [mode_maps(model, model.preprocess([text]), layer, [(1, 2)], modes) for text in TEXTS]
        assert each.of(1, 2)
        tops = [[float(side[0, 0, 1:-1].max()) for side in sides] for sides in maps]
        scores = [query * key if min(query, key) > 0 else 0.0 for query, key in tops]
        order = sorted((i for i, score in enumerate(scores) if score > 0), key=lambda i: -scores[i])[:3]
        assert [example.sample for example in each.of(1, 2)] == order
        for example in each.of(1, 2):
            query, key = (1 + int(side[0, 0, 1:-1].argmax()) for side in maps[example.sample])
            assert (example.query_place, example.key_place) == (query, key)
            assert example.score == pytest.approx(scores[example.sample], rel=1e-4)
        assert (each.query_places != 0).all() and each.num_samples == len(TEXTS)


@pytest.mark.parametrize("name", KINDS)
def test_batches_of_texts_do_not_matter(made, name):
    model = made[name]
    one, other = (top_examples(model, batches(model, size), context=16) for size in (1, 6))
    for first, second in zip(one, other, strict=True):
        torch.testing.assert_close(first.scores, second.scores, rtol=1e-4, atol=1e-5)
        assert first.left_out == second.left_out


def test_rotary_embeddings_of_texts_need_a_context(made):
    with pytest.raises(InputError, match=r"layers\.0\.self_attn turns queries and keys by their places"):
        top_examples(made["llama"], batches(made["llama"], 4))


def test_long_texts_are_cut_and_that_is_said(made):
    model, said = made["bert"], []
    long = " ".join(["see", "you"] * 10)
    top_examples(model, [model.preprocess([long, "see you"])], announce=said.append)
    assert said[-1].startswith("1 texts fill all 16 tokens that hf/") and said[-1].endswith("was cut off")
    ids = torch.full((1, 20), 7)
    with pytest.raises(InputError, match=r"a text of 20 tokens is given, and .* takes 16; preprocess"):
        top_examples(model, [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}])
    with pytest.raises(InputError, match="takes texts: what preprocess"):
        top_examples(model, [torch.zeros(1, 3, 8, 8)])
    with pytest.raises(InputError, match="put a single batch into a list"):
        top_examples(model, model.preprocess(TEXTS))


def test_tokens_in_their_context():
    text = "one two  three,\nfour five six"
    assert str(in_context(text, (9, 14), words=1)) == "…two  [three],…"
    assert str(in_context(text, (9, 14), words=2)) == "one two  [three],\nfour…"
    assert str(in_context(text, (0, 3))) == "[one] two  three,\nfour five six"
    quote = in_context(text, (21, 25), words=3)
    assert quote.before + quote.token + quote.after == "…" + text[4:] and quote.token == "five"


@pytest.mark.parametrize("by", ["both", "query", "key"])
def test_quotations_are_of_the_tokens_that_were_found(made, by):
    model = made["bert"]
    (found, _) = top_examples(model, batches(model, 4), per_mode=4)
    sign = "+" if found.of(2, 0, by) else "-"
    quoted = quotations(model, TEXTS, found, 2, 0, by=by, sign=sign, words=2)
    examples = found.of(2, 0, by, sign)
    assert [(q.sample, q.score) for q in quoted] == [(e.sample, e.score) for e in examples] and quoted
    for quotation, example in zip(quoted, examples, strict=True):
        text = TEXTS[quotation.sample]
        for quote, place in ((quotation.query, example.query_place), (quotation.key, example.key_place)):
            if place < 0:
                assert quote is None
                continue
            start, stop = model.spans(text)[place]
            assert quote.token == text[start:stop]
            assert (quote.before + quote.token + quote.after).replace("…", "") in text


def test_quotations_of_other_texts_are_refused(made):
    model = made["bert"]
    (found, _) = top_examples(model, batches(model, 4))
    with pytest.raises(InputError, match="the examples are of 6 texts, got 5"):
        quotations(model, TEXTS[1:], found, 0, 0)
    with pytest.raises(InputError, match="give the texts of the pass in their order"):
        quotations(model, ["me"] * 6, found, 0, 0)
    with pytest.raises(InputError, match="modes 0 to 5 here, got 6"):
        quotations(model, TEXTS, found, 0, 6)
    with pytest.raises(InputError, match="words must be"):
        quotations(model, TEXTS, found, 0, 0, words=0)
    with pytest.raises(InputError, match="embedded takes no texts"):
        quotations(headwise.load_backbone("embedded"), TEXTS, found, 0, 0)


def test_planted_words_come_first(tmp_path, save_text_model):
    model = headwise.load_backbone(f"hf/{save_text_model(tmp_path)}")
    found = all_modes(model.query_keys())[0]
    names, table = model.vocabulary()
    assert len(names) == len(table) == len(set(names)) and {"[CLS]", "win", "##s"} <= set(names)
    plain = vocabulary(model, found, 1, 3, k=4)
    for sides in (plain.query, plain.key):
        for words in sides.values():
            assert len(words) == 4 and [c for _, c in words] == sorted((c for _, c in words), reverse=True)
    rows = model.model.get_input_embeddings().weight.data
    with torch.no_grad():
        u, v = found.u[1, 3], found.v[1, 3]
        for word, direction in (("win", u), ("home", -u), ("##s", -3 * v)):
            rows[names.index(word)] = direction
    told = vocabulary(model, found, 1, 3, k=2)
    assert told.query["+"][0] == ("win", pytest.approx(1, abs=1e-5))
    assert told.query["-"][0] == ("home", pytest.approx(1, abs=1e-5))
    assert told.key["-"][0] == ("##s", pytest.approx(1, abs=1e-5)) and len(told.key["+"]) == 2


def test_words_of_what_is_not_there(made):
    model = made["bert"]
    found = all_modes(model.query_keys())[0]
    with pytest.raises(InputError, match="modes 0 to 5 here, got 9"):
        vocabulary(model, found, 0, 9)
    with pytest.raises(InputError, match="embedded takes no texts"):
        vocabulary(headwise.load_backbone("embedded"), found, 0, 0)
    narrow = all_modes(headwise.load_backbone(torch.nn.MultiheadAttention(8, 2)).query_keys())[0]
    with pytest.raises(InputError, match="an embedding of width 24, and layer 0 reads 8"):
        vocabulary(model, narrow, 0, 0)


def test_a_real_model(minilm):
    """MiniLM: what is quoted is where the maps are largest, and the words of a mode are those of its directions."""
    model = headwise.load_backbone(minilm)
    texts = [
        "The weather is lovely today.",
        "It's so sunny outside!",
        "He drove to the stadium.",
        "Rain, rain, and rain.",
    ]
    assert (model.num_prefix_tokens, model.num_suffix_tokens) == (1, 1)
    modes = all_modes(model.query_keys())
    found = top_examples(model, [model.preprocess(texts)], modes=modes, per_mode=2, most_modes=2, high_norm=True)
    for layer in (0, 5):
        quoted = quotations(model, texts, found[layer], 3, 1)
        query, key = mode_maps(model, model.preprocess(texts), layer, [(3, 1)], modes)
        for quotation in quoted:
            text, spans = texts[quotation.sample], model.spans(texts[quotation.sample])
            for quote, side in ((quotation.query, query), (quotation.key, key)):
                place = 1 + int(side[quotation.sample, 0, 1 : len(spans) - 1].argmax())
                assert quote.token == text[slice(*spans[place])]
        assert len(quoted) == 2 and quoted[0].score >= quoted[1].score > 0
    told = vocabulary(model, modes[0], 3, 1, k=5)
    names, table = model.vocabulary()
    word, cosine = told.key["+"][0]
    cosines = table.double() @ modes[0].v[3, 1] / table.double().norm(dim=1)
    assert cosine == pytest.approx(float(cosines[names.index(word)]), abs=1e-5)
    assert cosine == pytest.approx(float(cosines.max()), abs=1e-5)
