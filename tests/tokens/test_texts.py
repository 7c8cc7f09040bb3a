"""Texts from a table, and through a backbone into a store with a mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headwise.errors import InputError
from headwise.tokens import TextSamples, TokenStore, UnreadableText, extract, open_data, open_samples, read_texts
from headwise.tokens.readers import image_array_samples

LINES = [
    ("a b", "x"),
    ("one two three four", "y"),
    ("b", "x"),
    ("", "y"),
    ("a  b c", "y"),
    ("a b", "y"),
    (" ".join("word" for _ in range(20)), "x"),
    ("?", "x"),
    ("z", "y"),
]


def table(file, lines=LINES, comma="\t", head=("text", "label")):
    file.write_text("\n".join(comma.join(line) for line in (head, *lines)) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def samples(tmp_path):
    return open_data(table(tmp_path / "lines.tsv"))


def test_a_table_of_texts(samples, tmp_path):
    assert isinstance(samples, TextSamples)
    assert samples.class_names == ("x", "y") and samples.labels.tolist() == [0, 1, 0, 1, 1, 1, 0, 0, 1]
    assert samples.ids[:2] == ("line 2", "line 3") and samples.text(4) == "a  b c"
    assert dict(samples.faults) == {3: "empty", 5: "the same text as line 2, with another label"}
    assert samples.description == "texts lines.tsv: 9 texts, 2 classes"
    with pytest.raises(UnreadableText, match=r"the text in line 5 cannot be used \(empty\)"):
        samples.text(3)
    with pytest.raises(InputError, match="text 9 is asked for; there are 9"):
        samples.text(9)
    changed = open_data(table(tmp_path / "other.tsv", [("a c", "x"), *LINES[1:]]))
    assert changed.fingerprint != samples.fingerprint
    assert open_data(table(tmp_path / "same.tsv")).fingerprint == samples.fingerprint


def test_tabs_have_no_quotation_marks_and_commas_have(tmp_path):
    (tmp_path / "a.tsv").write_text('label\ttext\nx\t"a, b\ny\tsaid "no"\n')
    data = open_data(tmp_path / "a.tsv")
    assert data.texts == ('"a, b', 'said "no"')
    (tmp_path / "a.csv").write_text('\ufefflabel,text\nx,"a, b\nc"\ny,"said ""no"""\n', encoding="utf-8")
    data = open_data(tmp_path / "a.csv")
    assert data.texts == ("a, b\nc", 'said "no"')
    assert data.ids == ("line 3", "line 4"), "the last line of each"


def test_other_columns_splits_and_groups(tmp_path):
    lines = [(f"t{i}", "xy"[i % 2], ("train", "val", "test")[i // 2], f"g{i // 2}", "?") for i in range(6)]
    file = table(tmp_path / "a.csv", lines, ",", ("body", "kind", "split", "group", "note"))
    data = open_data(file, columns=("body", "kind"))
    assert data.split.tolist() == ["train", "train", "val", "val", "test", "test"]
    assert data.groups.tolist() == ["g0", "g0", "g1", "g1", "g2", "g2"]
    with pytest.raises(InputError, match=r"no column 'path' of images .* --text-column"):
        open_data(file)
    with pytest.raises(InputError, match="no column 'topic'; the first line must name body, topic and maybe split"):
        open_data(file, columns=("body", "topic"))
    with pytest.raises(InputError, match="cannot both be in column 'body'"):
        open_data(file, columns=("body", "body"))
    with pytest.raises(InputError, match=r"columns \('body', 'kind'\) of texts are asked for, but digits is no table"):
        open_data("digits", columns=("body", "kind"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text\tlabel\n", "lists no texts"),
        ("text\tlabel\na\n", "line 2 has no label"),
        ("text\tlabel\na\tx\nb\tx\n", "one class only"),
        ("text\tlabel\na\tx\nb\tc\ty\n", r"line 3 has more fields .* \(1 such\); replace the tabs"),
        ("text\tlabel\n\tx\n \ty\n", "all 2 texts in column 'text' are empty"),
        ("text\tlabel\tsplit\na\tx\tsome\nb\ty\t\n", "split holds 'some'"),
        ("text\ttopic\na\tx\n", "no column 'label'"),
    ],
)
def test_tables_that_are_refused(tmp_path, content, said):
    (tmp_path / "a.tsv").write_text(content)
    with pytest.raises(InputError, match=said):
        open_data(tmp_path / "a.tsv")
    with pytest.raises(InputError, match="quotation marks"):
        read_texts(table(tmp_path / "a.csv", [("a, b", "x"), ("c", "y")], ","))


def test_texts_without_labels_are_all_kept(tmp_path):
    data = open_samples(table(tmp_path / "lines.tsv"))
    assert np.isnan(data.labels).all() and data.class_names == ()
    assert dict(data.faults) == {3: "empty"}, "a repeated text needs a prediction as well"
    (tmp_path / "alone.csv").write_text("text\nhello\n")
    assert open_samples(tmp_path / "alone.csv").texts == ("hello",)


def test_tokens_and_mask_are_those_of_each_text(samples, make_text_backbone, tmp_path):
    backbone, said = make_text_backbone(), []
    store = extract(backbone, samples, tmp_path / "s", dtype="float32", batch_size=4, announce=said.append)
    assert store.grid is None and store.num_prefix == 1 and store.manifest.has_mask
    assert store.manifest.shape == (6, 1, 12, 6), "the longest text, as many tokens as the backbone takes"
    assert store.manifest.source["cut"] == 1
    assert store.manifest.preprocessing == {"tokenizer": "2" * 64, "max_tokens": 12}
    assert store.ids == ("line 2", "line 3", "line 4", "line 6", "line 8", "line 10")
    assert dict(store.skipped) == {
        "line 5": "empty",
        "line 7": "the same text as line 2, with another label",
        "line 9": "no token",
    }
    found = store.read()
    for i, name in enumerate(store.ids):
        (wanted,) = backbone.tokens(backbone.preprocess([samples.texts[samples.ids.index(name)]]), [2])
        length = wanted.shape[1]
        assert found.mask[i].tolist() == [True] * length + [False] * (12 - length)
        torch.testing.assert_close(found.values[i, :length], wanted[0])
        assert not found.values[i, length:].any()
    assert "9 texts" in said[0] and "Half of the texts have at most" in said[0]
    assert "1 were longer and are cut" in said[0]
    assert said[1] == (
        "skipped 3 of 9 texts that cannot be used: line 5 (empty), line 7 (the same text as line 2, with another "
        "label), line 9 (no token)"
    )
    store.verify_content()


def test_batches_change_nothing_and_a_stopped_run_goes_on(samples, make_text_backbone, tmp_path):
    whole = extract(make_text_backbone(), samples, tmp_path / "a", batch_size=9, shard_size=3)
    with pytest.raises(RuntimeError):
        extract(make_text_backbone(stop_after=4), samples, tmp_path / "b", batch_size=1, shard_size=3)
    second = make_text_backbone()
    again = extract(second, samples, tmp_path / "b", batch_size=2, shard_size=3)
    assert again.fingerprint == whole.fingerprint
    assert second.texts == 2, "the first two shards held four of the six"
    done = make_text_backbone(stop_after=0)
    assert extract(done, samples, tmp_path / "b", shard_size=3).fingerprint == whole.fingerprint


def test_fewer_tokens_are_another_store(samples, make_text_backbone, tmp_path):
    store = extract(make_text_backbone(), samples, tmp_path / "s", max_tokens=4)
    assert store.num_tokens == 4 and store.manifest.source["cut"] == 3
    with pytest.raises(InputError, match="shape"):
        extract(make_text_backbone(), samples, tmp_path / "s", max_tokens=5)
    with pytest.raises(InputError, match="adds 2 tokens"):
        extract(make_text_backbone(), samples, tmp_path / "t", max_tokens=2)
    assert not (tmp_path / "t").exists()


def test_what_does_not_go_together(samples, make_backbone, make_text_backbone, tmp_path):
    images = image_array_samples(np.zeros((4, 4, 4, 3), dtype=np.uint8), np.arange(4) % 2)

    def refused(said, backbone, data, **options):
        with pytest.raises(InputError, match=said):
            extract(backbone, data, tmp_path / "s", **options)

    refused("the data are texts, and fake takes images; give a text model", make_backbone(), samples)
    refused("the data are images, and fake/texts takes texts", make_text_backbone(), images)
    refused("max_tokens is asked for, but the data are images", make_backbone(), images, max_tokens=4)
    refused("max_tokens must be a whole number", make_text_backbone(), samples, max_tokens=0)
    refused("views are crops and flips of images", make_text_backbone(), samples, views=2)
    refused(r"line 5 cannot be used \(empty\)", make_text_backbone(), samples, strict=True)
    extract(make_text_backbone(), samples, tmp_path / "s")
    refused(r"line 5 cannot be used \(empty\)", make_text_backbone(), samples, strict=True)


def test_a_module_alone_makes_no_tokens(samples, tmp_path):
    import headwise

    module = headwise.load_backbone(torch.nn.MultiheadAttention(8, 2))
    with pytest.raises(InputError, match="a text model whose folder holds no tokenizer"):
        extract(module, samples, tmp_path / "s")


def test_a_store_of_texts_of_one_length(make_text_backbone, tmp_path):
    data = open_data(table(tmp_path / "a.tsv", [("a b", "x"), ("c d", "y")]))
    store = extract(make_text_backbone(), data, tmp_path / "s")
    assert store.read().mask.all()
    assert TokenStore.open(tmp_path / "s").fingerprint == store.fingerprint
