"""Predictions of a saved head: on its store, and on the same pictures given in every other way."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import headwise
from headwise.errors import InputError
from headwise.heads import Head, HeadClassifier
from headwise.study import predict
from headwise.tokens import TokenStore, extract, open_data


@pytest.fixture(scope="module")
def made(tmp_path_factory, draw_pictures):
    """A study on 40 pictures of two classes: folders ``photos`` and ``out``."""
    root = tmp_path_factory.mktemp("made")
    headwise.study(draw_pictures(root / "photos", 20), out=root / "out", betas=3, n_components=8)
    return root


@pytest.fixture
def head(made):
    return Head.from_pretrained(made / "out" / "head")


@pytest.fixture
def stored(made, head):
    """Probabilities of the stored tokens, by the name of the picture."""
    return dict(zip(*predict(head, made / "out" / "tokens"), strict=True))


def changed(head, **facts):
    """A copy of a head whose tokens came from somewhere else, or from nowhere that is known."""
    other = copy.deepcopy(head)
    other.facts = replace(head.facts, origin={**head.facts.origin, **facts} if facts else None)
    return other


def same(found, stored, rename=lambda name: name):
    ids, probabilities = found
    np.testing.assert_allclose(probabilities, [stored[rename(name)] for name in ids], atol=1e-3)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    return len(ids)


def test_pictures_give_what_their_stored_tokens_give(made, head, stored):
    assert same(predict(head, made / "photos"), stored) == 40
    probabilities = np.array(list(stored.values()))
    assert np.ptp(probabilities[:, 0]) > 0.1, "the head says something"


def test_so_do_heads_with_attention(made):
    fitted = HeadClassifier("default", beta=0.01, n_components=8).fit(TokenStore.open(made / "out" / "tokens"))
    stored = dict(zip(*predict(fitted.head_, made / "out" / "tokens"), strict=True))
    assert same(predict(fitted.head_, made / "photos"), stored) == 40


def test_every_form_without_labels(made, head, stored, tmp_path):
    folder = tmp_path / "new"
    (folder / "more" / "deep").mkdir(parents=True)
    shutil.copy(made / "photos/low/1.png", folder / "1.png")
    shutil.copy(made / "photos/low/2.png", folder / "more/deep/2.png")
    (folder / "notes.txt").write_text("x")
    ids, _ = found = predict(head, folder)
    assert ids == ["1.png", "more/deep/2.png"]
    same(found, stored, lambda name: f"low/{name.rsplit('/', 1)[-1]}")
    assert same(predict(head, folder / "1.png"), stored, "low/{}".format) == 1
    (made / "photos" / "list.csv").write_text("path,label\nlow/3.png,\ntall/4.png,?\n")
    assert same(predict(head, made / "photos" / "list.csv"), stored) == 2
    pictures = np.stack([np.asarray(Image.open(made / f"photos/tall/{i}.png")) for i in range(3)])
    np.save(tmp_path / "pictures.npy", pictures)
    np.savez(tmp_path / "pictures.npz", images=pictures)
    for name in ("pictures.npy", "pictures.npz"):
        assert same(predict(head, tmp_path / name), stored, "tall/{}.png".format) == 3


def test_tokens_without_labels(made, head, stored, tmp_path):
    store = TokenStore.open(made / "out" / "tokens")
    values = store.read().values
    np.save(tmp_path / "tokens.npy", values.numpy())
    np.savez(tmp_path / "tokens.npz", X=values.numpy(), ids=np.array(store.ids), y=np.full(40, np.nan))
    save_file({"tokens": values}, tmp_path / "tokens.safetensors")
    for name in ("tokens.npy", "tokens.npz", "tokens.safetensors"):
        ids, probabilities = predict(head, tmp_path / name)
        assert ids == (list(store.ids) if name.endswith("npz") else [str(i) for i in range(40)])
        np.testing.assert_allclose(probabilities, list(stored.values()), atol=1e-6)
    np.save(tmp_path / "few.npy", values[:, 1:].numpy())
    with pytest.raises(InputError, match="65 tokens a sample, got 64"):
        predict(head, tmp_path / "few.npy")


def test_every_form_of_a_head_and_of_tokens_in_memory(made, head, stored):
    store = TokenStore.open(made / "out" / "tokens")
    values = store.read().values
    fitted = HeadClassifier("linear", beta=0.1).fit(store)
    wanted = list(stored.values())
    for given in (head, made / "out" / "head", str(made / "out" / "head")):
        for tokens in (values, values.numpy()):
            ids, probabilities = predict(given, tokens)
            assert ids == [str(i) for i in range(40)]
            np.testing.assert_allclose(probabilities, wanted, atol=1e-6)
        assert same(predict(given, store), stored) == 40
    np.testing.assert_allclose(predict(fitted, values)[1], fitted.predict_proba(values), atol=1e-12)
    assert same(predict(head, open_data(made / "photos")), stored) == 40
    with pytest.raises(InputError, match="65 tokens a sample, got 64"):
        predict(head, values[:, 1:])
    with pytest.raises(InputError, match=r"is not a head: it has no config\.json; its head is .*head"):
        predict(made / "out", values)
    with pytest.raises(InputError, match="a head is needed"):
        predict(None, values)
    with pytest.raises(InputError, match="device 'gpu' cannot be used"):
        predict(head, made / "photos", device="gpu")


def test_a_study_says_what_it_is_in_a_sentence(made):
    said = repr(headwise.Study.load(made / "out"))
    assert said.startswith("Study('photos on the embedded backbone': 40 samples of 2 classes; head ")
    assert "test accuracy 0." in said or "test accuracy 1." in said
    assert len(said) < 300


def test_unreadable_pictures_are_left_out_and_named(made, head, stored, tmp_path):
    shutil.copytree(made / "photos" / "low", tmp_path / "new")
    for i in range(12):
        (tmp_path / "new" / f"broken{i:02}.png").write_bytes(b"no picture")
    said = []
    assert same(predict(head, tmp_path / "new", announce=said.append), stored, "low/{}".format) == 20
    assert len(said) == 1
    assert said[0].startswith("skipped 12 of 32 images that cannot be read: broken00.png, ")
    assert said[0].endswith("broken09.png and 2 more")
    with pytest.raises(InputError, match=r"broken00\.png cannot be read"):
        predict(head, tmp_path / "new", strict=True)
    with pytest.raises(InputError, match=r"none of the 1 images .*broken00\.png"):
        predict(head, tmp_path / "new" / "broken00.png")


@pytest.mark.parametrize("at", ["output", "block_input"])
def test_the_place_in_the_backbone_is_that_of_the_head(made, tmp_path, at):
    model = headwise.load_backbone("embedded")
    store = extract(model, open_data(made / "photos"), tmp_path / "store", layer=2, at=at)
    fitted = HeadClassifier("linear", beta=0.02).fit(store)
    fitted.head_.save_pretrained(tmp_path / "head")
    head = Head.from_pretrained(tmp_path / "head")
    assert head.facts == fitted.head_.facts
    assert head.facts.origin["layer"] == 2
    assert head.facts.origin["at"] == at
    assert same(predict(head, made / "photos"), dict(zip(*predict(head, store.path), strict=True))) == 40
    assert (
        same(
            predict(head, made / "photos" / "low", layer=-4, backbone=model),
            dict(zip(*predict(head, made / "photos" / "low"), strict=True)),
        )
        == 20
    )
    with pytest.raises(InputError, match=r"layer: 3 here, 2 in the head.*give layer 2"):
        predict(head, made / "photos", layer=3)
    with pytest.raises(InputError, match="layer 6 is asked for"):
        predict(head, made / "photos", layer=6)
    with pytest.raises(InputError, match=r"layer: 5 here, 2 in the head.*tokens of embedded at layer 2"):
        predict(head, made / "out" / "tokens")


def test_another_backbone_is_refused(made, head):
    with pytest.raises(
        InputError, match=r"weights: embedded with weights .* here, embedded with weights 000000000000 "
    ):
        predict(changed(head, weights_hash="0" * 64), made / "photos")
    with pytest.raises(InputError, match=r"leave the backbone out, or .* as backbone timm/vit@FILE\.safetensors"):
        predict(changed(head, backbone="timm/vit", weights_hash="0" * 64), made / "photos", backbone="embedded")
    with pytest.raises(InputError, match="preprocessing"):
        predict(changed(head, preprocessing={}), made / "photos")
    with pytest.raises(InputError, match="own backbone cannot be loaded: unknown backbone 'mine'"):
        predict(changed(head, backbone="mine"), made / "photos")
    assert len(predict(changed(head, backbone="mine"), made / "photos" / "low", backbone="embedded")[0]) == 20
    with pytest.raises(InputError, match="does not hold tokens of this head"):
        predict(changed(head, weights_hash="0" * 64), made / "out" / "tokens")


def test_a_head_that_does_not_know_its_backbone(made, head, stored, tmp_path):
    unknown = changed(head)
    with pytest.raises(InputError, match=r"does not say which backbone.*--backbone"):
        predict(unknown, made / "photos")
    assert same(predict(unknown, made / "photos", backbone="embedded"), stored) == 40
    assert len(predict(unknown, made / "out" / "tokens")[0]) == 40
    X = torch.randn(20, 3, 7, generator=torch.Generator().manual_seed(0))
    other = HeadClassifier("linear", beta=0.1).fit(X, np.arange(20) % 2).head_
    assert other.facts.origin is None
    with pytest.raises(InputError, match="tokens of width 7, got width 128"):
        predict(other, made / "photos", backbone="embedded")


def test_folders_of_older_heads_still_load(made, tmp_path):
    shutil.copytree(made / "out" / "head", tmp_path / "head")
    file = tmp_path / "head" / "config.json"
    config = json.loads(file.read_text())
    assert config["tokens"].pop("origin")["backbone"] == "embedded"
    file.write_text(json.dumps(config))
    assert Head.from_pretrained(tmp_path / "head").facts.origin is None
    config["tokens"]["origin"] = {"backbone": "embedded"}
    file.write_text(json.dumps(config))
    with pytest.raises(InputError, match="not a complete head"):
        Head.from_pretrained(tmp_path / "head")
