"""``headwise fit --gate attention_maps``: the layer that reads the store's tokens, or the likeness of the tokens."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from headwise import AttentionMaps, HeadClassifier, PartSpec, TokenStore, load_backbone, verify
from headwise.cli import main
from headwise.errors import InputError
from headwise.heads.save import load_head

LAYER = 2


@pytest.fixture
def call(capsys, monkeypatch):
    """Run the command line; returns the exit code and what stood on standard error."""
    monkeypatch.setenv("COLUMNS", "400")

    def run(*words: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        return int(stop.value.code or 0), " ".join(capsys.readouterr().err.split())

    return run


@pytest.fixture
def stored(call, tmp_path, draw_pictures):
    """Tokens of a few pictures, at a place of a layer of the embedded backbone."""
    photos = draw_pictures(tmp_path / "photos", 8)

    def extract(at: str, layer: int = LAYER):
        code, said = call("extract", photos, tmp_path / f"{at}{layer}", "--layer", layer, "--at", at)
        assert code == 0, said
        return tmp_path / f"{at}{layer}"

    return extract


FIT = ("--block", "attention", "--gate", "attention_maps", "--beta", "0.05", "--components", "4", "--json")


def test_maps_of_the_layer_that_reads_the_tokens(call, stored, tmp_path, monkeypatch):
    store = stored("block_input")
    code, said = call("fit", store, tmp_path / "head", *FIT)
    assert code == 0 and f"those of blocks.{LAYER}.attn of embedded" in said
    record = load_backbone("embedded").query_keys()[LAYER]
    monkeypatch.setattr("headwise.backbones.BACKBONES.get", lambda name: pytest.fail("the backbone was loaded"))
    head = load_head(tmp_path / "head")
    tokens = torch.from_numpy(np.asarray(TokenStore.open(store).read().values)).double()
    wanted = AttentionMaps(record).fit(None, None, [tokens], 1, 0)
    found = head._parts()[0].fitted.cells[0].gates
    assert found.count == len(record.query)
    torch.testing.assert_close(found.values(tokens, 1), wanted.values(tokens, 1))
    assert verify(tmp_path / "head", store).holds
    assert json.loads((tmp_path / "head" / "certificate.json").read_text())["context"]["gates"][0]["count"] > 1


def test_the_likeness_of_tokens_that_no_layer_reads(call, stored, tmp_path):
    code, said = call("fit", stored("output"), tmp_path / "head", *FIT)
    assert code == 0 and "likeness of the tokens, since these come from the output of a layer" in said
    assert load_head(tmp_path / "head")._parts()[0].fitted.cells[0].gates.count == 1


def test_from_python_tokens_that_the_layer_does_not_read_are_refused(stored):
    records = load_backbone("embedded").query_keys()
    stores = {at: TokenStore.open(stored(at)) for at in ("block_input", "output")}

    def fit(store, record):
        part = PartSpec("attention", gate=AttentionMaps(record))
        return HeadClassifier(part, beta=0.05, n_components=4, tol=0.1).fit(store)

    fit(stores["block_input"], records[LAYER])
    fit(stores["block_input"], None)
    for at, layer, holds in (("output", LAYER, "the output of"), ("block_input", LAYER + 1, "those that enter")):
        wanted = rf"blocks\.{layer}\.attn.* the store holds {holds} layer {LAYER} of embedded\. .*--at block_input"
        with pytest.raises(InputError, match=wanted):
            fit(stores[at], records[layer])
    fit(stores["output"], records[LAYER + 1])  # the same tokens under another name
    same = TokenStore.open(stored("block_input", LAYER + 1))
    np.testing.assert_array_equal(same.read().values, stores["output"].read().values)
    AttentionMaps(records[LAYER]).check_origin(None)  # nothing is known of arrays


def test_a_backbone_that_is_not_there_or_another(call, stored, tmp_path):
    store = stored("block_input")
    manifest = json.loads((store / "manifest.json").read_text())
    for name, value, reason in [("backbone", "abacus", "cannot be loaded"), ("weights_hash", "0" * 64, "made these")]:
        (store / "manifest.json").write_text(json.dumps({**manifest, name: value}))
        code, said = call("fit", store, tmp_path / "head", *FIT)
        assert code == 2 and reason in said and "rank_one" in said and not (tmp_path / "head").exists()
