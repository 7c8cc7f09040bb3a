"""From a model and its data to the page that is explored: what is drawn and quoted is what was found."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

import headwise
from headwise.dissect import mode_maps, vocabulary
from headwise.errors import InputError
from headwise.report.packing import NOTHING
from headwise.study.mode_evidence import AROUND, WINDOW, modes_that_fit
from headwise.tokens import open_samples


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(7):
        pixels = rng.integers(0, 255, size=(40, 24, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((48, 80)).save(folder / f"{i}.png")
    (folder / "broken.png").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def images(photos):
    model = headwise.load_backbone("embedded")
    return model, headwise.explore(model, photos, checked=2, modes=3, per_mode=2, layers=[1, -1], batch_size=3)


def test_maps_are_the_projections_of_what_was_found(images, photos):
    model, made = images
    assert [each.layer for each in made.examples] == [1, model.depth - 1]
    evidence = made.data["evidence"]
    assert evidence["layers"] == [1, model.depth - 1] and evidence["grid"] == list(model.grid)
    assert made.examples[0].num_samples == 7
    assert any("broken.png" in note for note in made.data["notes"])
    samples = open_samples(photos)
    found = made.examples[1]
    places = np.argwhere(made.arrays[f"layer/{found.layer}/samples"][0] >= 0)
    assert {tuple(place[2:]) for place in places} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    for head, mode, sign, rank in places[:: len(places) // 6].tolist():
        number = int(found.samples[0, head, mode, sign, rank])
        name = evidence["names"][str(number)]
        batch = model.preprocess([samples.image(samples.ids.index(name))])
        sides = mode_maps(model, batch, found.layer, [(head, mode)], made.dissection.modes)
        for key, side in zip(("queries", "keys"), sides, strict=True):
            patches = (1 - 2 * sign) * side[0, 0, model.num_prefix_tokens :].numpy()
            low, high = np.percentile(patches, [30, 95])
            wanted = 63 * np.clip((patches - low) / (high - low), 0, 1)
            drawn = made.arrays[f"layer/{found.layer}/{key}"][0, head, mode, sign, rank]
            assert np.abs(drawn - wanted).max() <= 1
        picture = made.arrays[f"sample/{number}"]
        assert picture.dtype == np.uint8 and picture.shape[:2] == tuple(model.preprocessing.image_size)


def test_the_page_holds_them(images):
    model, made = images
    page = made.html()
    (told,) = re.findall(r'id="data">(.*?)</script>', page)
    data = json.loads(told)
    assert data["evidenced"] == [1, model.depth - 1] and data["evidence"][0] is None
    assert len(data["evidence"][1][0]) == 3 and len(data["heads"][0][0]["sigma"]) > 3
    assert len(repr(made)) < 500
    assert made.path is None and made.page is None
    assert len(made.html("200KB").encode()) <= 200 * 1024


@pytest.fixture(scope="module")
def texts(tmp_path_factory, save_text_model, draw_texts):
    folder = tmp_path_factory.mktemp("texts")
    model = headwise.load_backbone(f"hf/{save_text_model(folder / 'model', max_tokens=80)}")
    lines = [text for text, _ in draw_texts(20)]
    lines.append(" ".join(f"call {word}" for word in ("me", "you", "the") * 11))
    (folder / "lines.txt").write_text("\n".join(lines))
    return model, lines, headwise.explore(model, folder / "lines.txt", checked=2, per_mode=3)


def test_quotations_show_what_excites_a_side(texts):
    _, lines, made = texts
    evidence, found = made.data["evidence"], made.examples[1]
    assert evidence["by"] == ["both", "query", "key"] and evidence["kind"] == "texts"
    samples = made.arrays["layer/1/samples"]
    for n in np.unique(samples[samples >= 0]):
        assert "".join(evidence["tokens"][str(n)]) == lines[n]
    starts = made.arrays["layer/1/starts"]
    seen = 0
    for place in zip(*np.nonzero(samples >= 0), strict=True):
        query, key = (made.arrays[f"layer/1/{side}"][place] for side in ("queries", "keys"))
        at = (found.query_places[place], found.key_places[place])
        order = place[0]
        for side, levels, token in ((1, query, at[0]), (2, key, at[1])):
            if order and order != side:
                assert (levels == NOTHING).all()
            elif levels[0] != NOTHING and starts[place] <= token < starts[place] + WINDOW:
                assert levels[int(token) - starts[place]] == 63  # the strongest of its text
                seen += 1
        if order:
            assert (query != NOTHING).sum() <= AROUND and (key != NOTHING).sum() <= AROUND
    assert seen > 100
    # tokens that the tokenizer adds have no colour
    assert evidence["tokens"]["0"][0] == "" and evidence["tokens"]["0"][-1] == ""


def test_words_are_those_of_the_vocabulary(texts):
    model, _, made = texts
    found = made.data["vocabulary"][1][2][3]
    wanted = vocabulary(model, made.dissection.modes[1], 2, 3, k=3)
    for side, words in (("query", wanted.query), ("key", wanted.key)):
        for sign in "+-":
            for (token, cosine), (other, same) in zip(words[sign], found[side + sign], strict=False):
                assert token == other and cosine == pytest.approx(same, abs=1e-3)


def test_without_inputs_there_is_no_evidence(tmp_path):
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, batch_first=True)
    model = headwise.load_backbone(layer)
    made = headwise.explore(model, out=tmp_path / "made")
    assert made.examples == [] and made.data["evidence"] is None and made.data["vocabulary"] is None
    assert "was given no inputs" in made.page.read_text()
    with pytest.raises(InputError, match="makes no tokens of images or texts"):
        headwise.explore(model, "digits")


def test_without_the_norm_there_are_no_examples(photos):
    made = headwise.explore("embedded", photos, checked=1, examples=3, fold=False)
    assert made.examples == [] and any("without the norm folded in" in note for note in made.data["notes"])


def test_a_search_that_was_stopped_goes_on(photos, tmp_path, monkeypatch):
    from headwise.dissect import ExampleSearch

    settings = {"checked": 1, "modes": 2, "batch_size": 2}
    whole = headwise.explore("embedded", photos, tmp_path / "whole", **settings)
    update, count = ExampleSearch.update, [0]

    def stop(self, inputs):
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt
        update(self, inputs)

    monkeypatch.setattr(ExampleSearch, "update", stop)
    with pytest.raises(KeyboardInterrupt):
        headwise.explore("embedded", photos, tmp_path / "made", **settings)
    said: list[str] = []
    made = headwise.explore("embedded", photos, tmp_path / "made", announce=said.append, **settings)
    assert any("it is read and not made again" in line for line in said)
    assert any("goes on after them" in line for line in said)
    for ours, theirs in zip(made.examples, whole.examples, strict=True):
        assert torch.equal(ours.samples, theirs.samples) and torch.equal(ours.scores, theirs.scores)
    assert made.arrays.keys() == whole.arrays.keys()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"checked": 0}, "checked must be a whole number of at least 1"),
        ({"examples": -1}, "examples must be a whole number"),
        ({"layers": []}, "got none"),
        ({"layers": [0, True]}, "got True"),
        ({"fold": "no"}, "fold must be True or False, got 'no'"),
        ({"max_bytes": "many"}, "max_bytes is 'many'"),
        ({"modes": 0}, "modes must be a whole number of at least 1 or None"),
    ],
)
def test_options_of_the_wrong_kind(photos, options, said):
    with pytest.raises(InputError, match=said):
        headwise.explore("embedded", photos, **options)


def test_only_modes_that_may_fit_are_drawn(images):
    _, made = images
    assert modes_that_fit(made.examples, 1, 64, 10**9) == 3
    assert modes_that_fit(made.examples, 1, 64, 1) == 1


@pytest.mark.parametrize("config", ["GPT2Config", "LlamaConfig"])
def test_causal_models(save_text_model, draw_texts, tmp_path, config):
    options = {"num_key_value_heads": 2} if config == "LlamaConfig" else {}
    model = headwise.load_backbone(f"hf/{save_text_model(tmp_path / 'model', config, **options)}")
    (tmp_path / "lines.txt").write_text("\n".join(text for text, _ in draw_texts(8)))
    made = headwise.explore(model, tmp_path / "lines.txt", tmp_path / "made", checked=4, modes=2)
    samples = made.arrays["layer/1/samples"]
    assert samples.shape == (3, 4, 2, 2, 7) and (samples >= 0).any()
    page = made.page.read_text()
    assert '"kind":"texts"' in page
    assert ("the mean over the pairs of places" in page) == (config == "LlamaConfig")
