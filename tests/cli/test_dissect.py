"""``headwise dissect`` through the real entry point."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from headwise.dissect import Dissection, load_examples
from headwise.study import exploration


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(3):
        pixels = rng.integers(0, 255, size=(40, 32, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


def test_a_table_of_attention_heads(call, photos, tmp_path):
    code, said, _ = call("dissect", "embedded", "--images", photos, "--check", 2, "--out", tmp_path / "made")
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


@pytest.fixture(scope="session")
def text_model(tmp_path_factory, save_text_model):
    return f"hf/{save_text_model(tmp_path_factory.mktemp('model'))}"


@pytest.fixture
def mails(tmp_path, draw_texts):
    lines = [*draw_texts(30), (" ".join(["win", "see"] * 12), "spam"), ("", "ham")]
    file = tmp_path / "mails.tsv"
    file.write_text("body\tkind\n" + "".join(f"{text}\t{label}\n" for text, label in lines), encoding="utf-8")
    return file


def test_a_page_of_images(call, photos, tmp_path):
    out = tmp_path / "made"
    options = ("--images", photos, "--out", out, "--layers", "0,-1", "--modes", 5, "--page-size", "2MB")
    code, said, error = call("dissect", "embedded", *options)
    assert code == 0, error
    depth = len(Dissection.load(out).modes)
    layers = {line.split()[0] for line in said.splitlines()[1:] if line.split()[0].isdigit()}
    assert layers == {"0", str(depth - 1)} and f"page: {out / 'explorer.html'}" in said
    assert sorted(file.name for file in out.iterdir()) == [
        ".headwise.json", "dissection.json", "dissection.safetensors", "examples.safetensors", "explorer.html"
    ]  # fmt: skip
    assert (out / "explorer.html").stat().st_size < 2 * 2**20
    assert [each.layer for each in load_examples(out / "examples.safetensors")] == [0, depth - 1]
    assert "leaves out the directions of modes 5 to" in error
    written = (out / "dissection.json").read_text()
    code, _, error = call("dissect", "embedded", *options)  # again: nothing is made twice
    assert code == 0 and "is read and not made again" in error and "the pass goes on after them" in error
    assert (out / "dissection.json").read_text() == written
    code, _, error = call("dissect", "embedded", *options, "--seed", 1)
    assert code == 2 and "made with other settings (seed: 0 there, 1 asked)" in error and "--overwrite" in error
    code, _, error = call("dissect", "embedded", *options, "--seed", 1, "--overwrite", "--examples", 0)
    assert code == 0 and not (out / "examples.safetensors").exists() and (out / "explorer.html").exists()
    told = json.loads(call("info", out, "--json")[1])
    assert (told["kind"], told["model"], told["of these with directions"]) == ("dissection", "embedded", 5)
    assert told["samples with examples"] == 0 and told["page"] == str(out / "explorer.html")


def test_a_page_of_texts(call, text_model, mails, tmp_path):
    out = tmp_path / "made"
    options = ("--text", mails, "--text-column", "body", "--out", out)
    code, said, error = call("dissect", text_model, *options)
    assert code == 0, error
    assert "1 of 32 texts have more than 16 tokens; what is beyond was cut" in error
    assert "skipped 1 of 32 texts that cannot be used: line 33 (empty)" in error
    assert "proved: the logits rebuilt" in said
    page = (out / "explorer.html").read_text()
    assert '"kind":"texts"' in page and "line 2" in page and "at most their first 64 tokens" in page
    code, _, error = call("dissect", text_model, *options, "--strict", "--overwrite", "--check", 32)
    assert code == 2 and "line 33" in error and "empty" in error
    (tmp_path / "lines.txt").write_text("win now\nsee you later\n")
    code, said, _ = call("dissect", text_model, "--text", tmp_path / "lines.txt")
    assert code == 0 and "proved" in said
    code, said, error = call("dissect", text_model, "--out", tmp_path / "blind")
    assert code == 0 and "no texts are given (--text FILE): nothing is checked or measured" in error
    assert "there are no examples" in (tmp_path / "blind" / "explorer.html").read_text()


def test_a_stop_keeps_the_dissection(call, photos, tmp_path, monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt

    out = tmp_path / "made"
    with monkeypatch.context() as during:
        during.setattr(exploration, "top_examples", stop)
        code, _, error = call("dissect", "embedded", "--images", photos, "--out", out)
    assert code == 130 and "what is written there is kept: the same command goes on from it" in error
    assert not (out / "explorer.html").exists()
    before = Dissection.load(out).to_dict()
    monkeypatch.setattr(exploration, "dissect", stop)  # is not called again
    code, _, error = call("dissect", "embedded", "--images", photos, "--out", out)
    assert code == 0, error
    assert Dissection.load(out).to_dict() == before and (out / "explorer.html").exists()


@pytest.mark.parametrize(
    ("name", "again"), [("dissection.json", True), ("dissection.safetensors", True), ("examples.safetensors", False)]
)
def test_damaged_files_are_named_and_made_again_where_asked(call, photos, tmp_path, name, again):
    out = tmp_path / "made"
    options = ("--images", photos, "--out", out, "--layers", 0, "--modes", 2)
    assert call("dissect", "embedded", *options)[0] == 0
    (out / name).write_bytes((out / name).read_bytes()[:90])
    code, _, error = call("dissect", "embedded", *options)
    assert code == 2 and name in error and "--overwrite" in error
    code, _, error = call("dissect", "embedded", *options, "--overwrite")
    assert code == 0 and "it is made again" in error and ("is read and not made again" in error) != again
    assert len(Dissection.load(out).modes) and load_examples(out / "examples.safetensors")[0].num_samples == 3


def test_a_folder_in_the_place_of_the_page(call, photos, tmp_path):
    (tmp_path / "made").mkdir()
    options = ("--images", photos, "--out", tmp_path / "made", "--layers", 0, "--modes", 2)
    assert call("dissect", "embedded", *options)[0] == 0
    (tmp_path / "made" / "explorer.html").unlink()
    (tmp_path / "made" / "explorer.html").mkdir()
    code, _, error = call("dissect", "embedded", *options)
    assert code == 2 and "choose another folder" in error and "fault of headwise" not in error


def test_folders_of_others_are_left_alone(call, photos, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    code, _, error = call("dissect", "embedded", "--images", photos, "--out", tmp_path / "mine")
    assert code == 2 and "files that headwise did not make" in error
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--images", "empty"], "empty holds no images; files that end in"),
        (["--images", "photos", "--text", "photos"], "--images and --text are both given"),
        (["--text", "mails.tsv"], "the data are texts, and embedded takes images"),
        (["--images", "mails.tsv"], "--images mails.tsv holds texts; give them with --text"),
        (["--text", "digits"], "--text digits holds images; give them with --images"),
        (["--text", "photos"], "--text photos is a folder; give a table (CSV, TSV) or a .txt file"),
        (["--images", "photos", "--layers", ""], "--layers takes numbers such as 0,5,-1, got nothing"),
        (["--images", "photos", "--layers", "0,x"], "--layers takes numbers such as 0,5,-1, got 0,x"),
        (["--images", "photos", "--layers", "0,-99"], "(-1 is the last), got -99"),
        (["--images", "photos", "--page-size", "large"], "--page-size is 'large'; give bytes, or a size such as"),
        (["--images", "photos", "--page-size", "1KB", "--out", "small"], "give a larger size"),
        (["--images", "photos", "--max-tokens", "4"], "max_tokens is asked for, but the data are images"),
        (["--images", "photos", "--text-column", "body"], "no table of texts"),
        (["--images", "photos", "--modes", "0"], "--modes"),
    ],
)
def test_bad_options(call, photos, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "mails.tsv").write_text("text\nwin now\n")
    code, _, error = call("dissect", "embedded", *options)
    assert code == 2 and said in error
    if "small" in options:  # what was found is kept all the same
        assert Dissection.load(tmp_path / "small").check is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"auto_map": {"AutoModel": "mine.Model"}},
            "names code of its own in config.json (auto_map), which is never run",
        ),
        ({"quantization_config": {"bits": 4}}, "holds quantised weights, which are not read"),
        ({"num_attention_heads": 5}, "cannot be loaded: "),
    ],
)
def test_models_that_are_not_dissected(call, save_text_model, tmp_path, change, said):
    save_text_model(tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    (tmp_path / "model" / "mine.py").write_text("raise SystemExit('code of the model was run')")
    code, _, error = call("dissect", f"hf/{tmp_path / 'model'}", "--context", 8)
    assert code == 2 and said in error


def test_half_precision_is_said(call, save_text_model, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = save_text_model(tmp_path / "model")
    transformers.AutoModel.from_pretrained(folder).half().save_pretrained(folder)
    (tmp_path / "lines.txt").write_text("win now\nsee you later\n")
    code, _, error = call("dissect", f"hf/{folder}", "--text", tmp_path / "lines.txt", "--out", tmp_path / "made")
    assert code == 0 and "stored in float16 and run in float32" in error
    assert "stored in float16 and run in float32" in (tmp_path / "made" / "explorer.html").read_text()
