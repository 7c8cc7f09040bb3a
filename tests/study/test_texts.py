"""Texts from a table to a report, a certified head, and predictions for other texts."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import torch

import headwise
from headwise.cli import main
from headwise.errors import InputError
from headwise.heads import verify
from headwise.study import Study, quotations
from headwise.study.data import training_size
from headwise.study.quotations import MOST_TOKENS, quoted
from headwise.tokens import TokenStore, open_data

EVIL = "free <script>alert(1)</b>"


def write(file, lines, head="text\tlabel"):
    file.write_text("\n".join([head, *("\t".join(line) for line in lines)]) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def made(tmp_path_factory, save_text_model, draw_texts):
    """A study of 90 texts, one of them empty, one twice, one longer than the model takes, and one that is no good."""
    folder = tmp_path_factory.mktemp("texts")
    lines = draw_texts(86)
    lines += [(EVIL, "spam"), ("", "ham"), lines[0], (" ".join(["win", "see"] * 12), "spam")]
    write(folder / "mails.tsv", lines)
    model = f"hf/{save_text_model(folder / 'model')}"
    code = _call("study", "--data", folder / "mails.tsv", "--backbone", model, "--out", folder / "out", "--betas", 2,
                 "--components", 4)  # fmt: skip
    assert code == 0
    return folder, model


def _call(*args):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in args])
    return stop.value.code or 0


def test_a_study_of_texts(made):
    folder, model = made
    data = Study.load(folder / "out").data
    store = TokenStore.open(folder / "out" / "tokens")
    assert store.manifest.has_mask and store.num_prefix == 1 and store.num_tokens == 16
    assert verify(folder / "out" / "head", store).holds
    assert data["backbone"]["name"] == model and data["backbone"]["grid"] is None
    assert data["data"]["cut"] == 1 and data["data"]["num_samples"] == 88
    assert data["data"]["skipped"] == ["line 89: empty", "line 90: the same text as line 2"]
    assert "2 texts are empty or the same as an earlier one, and are left out" in data["warnings"]
    assert "1 text is longer than 16 tokens; what is beyond them is left out" in data["warnings"]
    heads = {h["name"]: h for h in data["heads"]}
    assert {"words", "linear, prefix token", "linear, mean token", "attention", "default head"} <= set(heads)
    assert all(h["relative_gap"] <= 1e-3 for h in heads.values() if h["kind"] == "certified")
    assert data["dissection"]["check"]["largest_difference"] < 1e-6 and not data["dissection"]["overlays"]
    card = (folder / "out" / "head" / "README.md").read_text(encoding="utf-8")
    assert "text token" in card and "patch token" not in card + json.dumps(data)
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert "4 of the test texts" in page and 'class="quotation"' in page and "photograph" not in page.lower()
    assert "<script>alert" not in page
    texts = data["token_use"]["texts"]
    assert {"ham", "spam"} == {t["label"] for t in texts}
    samples = open_data(folder / "mails.tsv")
    source = dict(zip(samples.ids, samples.texts, strict=True))
    for text in texts:
        assert "".join(piece for piece, _ in text["pieces"]) == source[text["name"]]


def test_what_is_shown_of_a_text_adds_up(made):
    """Numbers of the pieces and of the other tokens are all that the head says of the predicted class."""
    folder, _ = made
    data = Study.load(folder / "out").data
    store = TokenStore.open(folder / "out" / "tokens")
    head = headwise.Head.from_pretrained(folder / "out" / "head")
    if data["token_use"]["head"] != next(h["name"] for h in data["heads"] if h["chosen"]):
        pytest.skip("another head is shown")
    for text in data["token_use"]["texts"]:
        tokens = store.read([store.ids.index(text["name"])])
        outputs = head(tokens.values, tokens.mask)[0].detach() - head.intercept.detach()
        shown = sum(value for _, value in text["pieces"] if value is not None) + text["others"]
        k = head.output_names.index(text["predicted"])
        assert shown == pytest.approx(float(outputs[k] - outputs.mean()), abs=1e-4)


def test_other_texts_are_predicted_in_any_batch(made, tmp_path, capsys, draw_texts):
    folder, model = made
    store = TokenStore.open(folder / "out" / "tokens")
    capsys.readouterr()
    assert _call("predict", folder / "out" / "head", folder / "mails.tsv") == 0
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert len(rows) == 89, "a repeated text has a prediction, an empty one has none"
    ids, wanted = headwise.predict(folder / "out" / "head", store)
    for name, each in zip(ids, wanted, strict=True):
        assert float(rows[name]["probability"]) == pytest.approx(each.max(), abs=2e-2), "float16 on disk"
    said, alone = [], write(tmp_path / "one.tsv", [(" ".join(["see", "home"] * 20),), ("you win",)], "body")
    names, found = headwise.predict(
        folder / "out" / "head", alone, columns=("body", "label"), backbone=model, announce=said.append
    )
    assert names == ["line 2", "line 3"] and found.shape == (2, 2)
    assert said == [
        "1 of 2 texts have more than 16 tokens, the most that the head was fitted on; what is beyond them was cut"
    ]
    same = ("--text-column", "body", "--label-column", "kind")  # of a study; labels are not needed
    assert _call("predict", folder / "out" / "head", alone, *same, "--json") == 0
    assert [row["probability"] for row in json.loads(capsys.readouterr().out)] == pytest.approx(found.max(1), abs=1e-5)
    empty = write(tmp_path / "none.tsv", [("",), ("\u200b",)], "text")
    with pytest.raises(InputError, match="has a token of"):
        headwise.predict(folder / "out" / "head", empty)


def test_an_explanation_quotes_the_texts(made, tmp_path):
    folder, _ = made
    found = headwise.explain(folder / "out" / "head", folder / "mails.tsv", samples=5)
    head = headwise.Head.from_pretrained(folder / "out" / "head")
    page = found.save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert 'class="quotation"' in page and "<script>alert" not in page
    for sample in found.data["samples"]:
        assert sample["map_key"] is None
        parts = [value for value in (sample["prefix"], sample["patch"]) if value is not None]
        assert sample["value"] == pytest.approx(sample["intercept"] + sum(parts), abs=1e-5)
    assert (
        head.facts.num_tokens == 16
        and found.data["kind"] == "texts"
        and "patch tokens" not in page.split('<dl class="words">')[0]
    )
    card = (folder / "out" / "head" / "README.md").read_text(encoding="utf-8")
    assert 'hw.predict(head, "FILE.tsv"' in card and "attach" not in card.split("## Certificate")[0]


def test_words_without_a_share_are_not_coloured(made, tmp_path):
    """Of a head on the class token words have none, however their numbers are rounded."""
    folder, _ = made
    fit = ("fit", folder / "out" / "tokens", tmp_path / "head", "--block", "linear_prefix", "--beta", 0.1)
    assert _call(*fit) == 0
    out = tmp_path / "page.html"
    columns = ("--label-column", "label")
    assert _call("explain", tmp_path / "head", folder / "mails.tsv", "--out", out, "--samples", 3, *columns) == 0
    page = out.read_text(encoding="utf-8")
    assert "no word has a share of its own, and none is coloured" in page and 'class="quotation"' in page
    assert 'style="--l' not in page.split('class="quotation"', 1)[1]


def test_extraction_from_the_command_line(made, tmp_path, capsys):
    _, model = made
    lines = [(f"see {'you ' * (i % 5)}{w}", k) for i, (w, k) in enumerate([("win", "s"), ("home", "h")] * 9)]
    table = write(tmp_path / "a.csv", [(",".join(line),) for line in dict(lines).items()], "body,kind")
    common = ("extract", table, tmp_path / "store", "--backbone", model, "--max-tokens", 6)
    assert _call(*common) == 2
    assert "no column 'path'" in " ".join(capsys.readouterr().err.split())
    assert _call(*common, "--text-column", "body", "--label-column", "kind") == 0
    store = TokenStore.open(tmp_path / "store")
    assert store.num_tokens == 6 and store.class_names == ("h", "s") and store.manifest.source["cut"] > 0
    capsys.readouterr()
    assert _call("info", tmp_path / "store", "--json") == 0
    assert json.loads(capsys.readouterr().out)["texts cut"] == store.manifest.source["cut"]
    assert _call("info", model, "--json") == 0
    assert json.loads(capsys.readouterr().out)["input"] == "texts, at most 16 tokens"
    fit = ("--block", "attention", "--beta", 0.05, "--components", 4)
    assert _call("fit", tmp_path / "store", tmp_path / "head", *fit) == 0
    assert _call("verify", tmp_path / "head", "--tokens", tmp_path / "store") == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backbone": "embedded"}, "the data are texts, and embedded takes images"),
        ({"max_tokens": 2}, "adds 2 to each; give at least 3"),
        ({"columns": ("text", "topic")}, "no column 'topic'"),
        ({"data": "digits"}, "the data are images, and .* takes texts"),
        ({"data": "digits", "backbone": "embedded", "max_tokens": 9}, "max_tokens is asked for, and digits holds no"),
    ],
)
def test_what_a_study_refuses_before_it_makes_a_folder(made, tmp_path, options, said):
    folder, model = made
    with pytest.raises(InputError, match=said):
        headwise.study(**{"data": folder / "mails.tsv", "backbone": model, "out": tmp_path / "out"} | options)
    assert not (tmp_path / "out").exists()


def test_other_settings_are_told(made, tmp_path):
    folder, model = made
    lines = [line.split("\t") for line in (folder / "mails.tsv").read_text(encoding="utf-8").splitlines()[1:70]]
    table = write(tmp_path / "b.tsv", lines, "body\tkind")
    how = {"betas": 2, "n_components": 3, "tol": 0.02, "columns": ("body", "kind"), "max_tokens": 8}
    first = headwise.study(table, model, tmp_path / "out", **how)
    assert first.data["settings"]["text_column"] == "body" and first.data["settings"]["max_tokens"] == 8
    page = first.report.read_text(encoding="utf-8")
    assert all(f"<code>{name}</code>" in page for name in ("--text-column", "--label-column", "--max-tokens"))
    found = open_data(table, ("body", "kind"))
    facts, rows = training_size(found, headwise.load_backbone(model), 0, max_tokens=8)
    assert (facts.num_tokens, facts.num_prefix, facts.grid) == (8, 1, None) and rows == 41
    with pytest.raises(InputError, match="max_tokens: 8 there, 9 asked"):
        headwise.study(table, model, tmp_path / "out", **how | {"max_tokens": 9})


def test_a_backbone_that_cannot_be_dissected_costs_no_study(save_text_model, draw_texts, tmp_path, monkeypatch):
    """Heads on a causal model are fitted and certified all the same."""

    def refuse(*args):
        raise InputError("layers.0.self_attn is of an unknown kind")

    monkeypatch.setattr(quotations, "dissect", refuse)
    model = f"hf/{save_text_model(tmp_path / 'model', 'LlamaConfig', num_key_value_heads=2)}"
    study = headwise.study(
        write(tmp_path / "a.tsv", draw_texts(60)), model, tmp_path / "out", betas=2, n_components=3, tol=0.02
    )
    assert study.data["dissection"] is None
    assert any("is not dissected" in warning and "unknown kind" in warning for warning in study.data["warnings"])
    store = TokenStore.open(tmp_path / "out" / "tokens")
    assert store.num_prefix == 0 and not store.read().mask[:, 0].any()
    assert study.report.exists()


def test_quotations():
    text = "ab cd" + " x" * MOST_TOKENS
    spans = [(0, 0), (0, 2), (3, 5), *((6 + 2 * i, 7 + 2 * i) for i in range(MOST_TOKENS)), (0, 0)]
    pieces, others = quoted(text, spans, np.arange(len(spans) + 3.0))
    assert pieces[:4] == [("ab", 1.0), (" ", None), ("cd", 2.0), (" ", None)] and pieces[-1] == (" …", None)
    assert sum(value is not None for _, value in pieces) == MOST_TOKENS
    assert others == len(spans) - 1
    # two tokens of parts of one character, and text behind the last token
    assert quoted("é end", [(0, 1), (0, 1), (2, 5)], np.array([1.0, 2.0, 4.0])) == (
        [("é", 3.0), (" ", None), ("end", 4.0)],
        0.0,
    )
    assert quoted("a b", [(0, 1)], np.ones(1)) == ([("a", 1.0), (" b", None)], 0.0)


def test_attach_takes_no_texts(made):
    folder, model = made
    head = headwise.Head.from_pretrained(folder / "out" / "head")
    with pytest.raises(InputError, match="attach makes a module from pixels"):
        head.attach(headwise.load_backbone(model))


def test_masked_tokens_of_a_store_predict_as_texts_do(made, tmp_path):
    """A store that was padded less or more is refused by its number of tokens, never misread."""
    folder, model = made
    shorter = headwise.extract(headwise.load_backbone(model), folder / "mails.tsv", tmp_path / "s", max_tokens=9)
    with pytest.raises(InputError, match="16 tokens a sample, got 9"):
        headwise.predict(folder / "out" / "head", shorter)
    assert torch.isfinite(shorter.read().values).all()
