"""The main job end to end, on a small folder of images."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from typer.main import get_command

import headwise
from headwise.cli.app import build
from headwise.errors import InputError
from headwise.heads import Conditioner, verify
from headwise.heads.facts import TokenFacts
from headwise.heads.fitted_part import FittedPart
from headwise.heads.parts import resolve_parts
from headwise.solvers import factored
from headwise.study import Study
from headwise.study.data import open_tokens, three_parts, training_size
from headwise.tokens import TokenStore, open_data


@pytest.fixture
def photos(tmp_path, draw_pictures):
    """60 images of two classes with names that would break a careless page."""
    names = ["a<script>alert(1)</script>".replace("/", "\u2215"), "b\"&'"]
    return draw_pictures(tmp_path / "photos", 30, contrast=100, names=names)


def run(data, out, **more):
    return headwise.study(data, out=out, betas=3, n_components=8, **more)


def numbers(study):
    kept = json.loads(json.dumps(study.data))
    for row in [*kept["heads"], *kept["path"], *(p for path in kept["paths"].values() for p in path)]:
        row.pop("seconds")
    return {k: v for k, v in kept.items() if k not in ("created", "timings", "command")}


def test_everything_is_there_and_a_second_run_extracts_nothing(photos, tmp_path, monkeypatch):
    first = run(photos, tmp_path / "out")
    for name in ("report.html", "study.json", "head/model.safetensors", "tokens/manifest.json"):
        assert (tmp_path / "out" / name).exists()
    assert verify(tmp_path / "out" / "head", tmp_path / "out" / "tokens").holds
    page = first.report.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    options = {o for p in get_command(build()).commands["study"].params for o in p.opts}
    told = re.findall(r"<dt><code>(--[\w-]+)</code></dt>", page)
    assert len(told) == len(first.data["settings"]) and set(told) <= options
    probe, counts = first.data["forecast"], first.data["data"]["counts"]
    assert probe["spectrum"]["samples"] == sum(counts["train"]) and 'id="forecast"' in page
    assert {curve["measured"]["samples"] for curve in probe["curves"]} == {sum(counts["val"])}
    bins = first.data["calibration"]["bins"]
    assert sum(n for *_, n in bins) == first.data["comparison"]["num_test"] and 'id="calibration"' in page
    assert "&lt;script&gt;alert" in page
    assert all(h["relative_gap"] <= 1e-3 for h in first.data["heads"] if h["kind"] == "certified")
    again = Study.load(tmp_path / "out")
    assert again.data == json.loads(json.dumps(first.data))
    assert "<table" in again._repr_html_()

    model = headwise.load_backbone("embedded")
    used = []
    real = model.tokens
    monkeypatch.setattr(model, "tokens", lambda images, *a, **k: used.append(len(images)) or real(images, *a, **k))
    second = run(photos, tmp_path / "out", backbone=model)
    assert max(used) <= 2, "only the two photographs go through the backbone again"
    assert numbers(second) == numbers(first)


def test_other_settings_need_overwrite(photos, tmp_path):
    run(photos, tmp_path / "out")
    with pytest.raises(headwise.InputError, match="seed: 0 there, 1 asked"):
        run(photos, tmp_path / "out", seed=1)
    assert run(photos, tmp_path / "out", seed=1, overwrite=True).data["seed"] == 1


@pytest.mark.parametrize("step", ["extract tokens", "fit attention", "dissect the backbone", "write the report"])
def test_a_stopped_study_goes_on(photos, tmp_path, step):
    def stop(name, done, total):
        if name == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "out", progress=stop)
    assert run(photos, tmp_path / "out").report.exists()


def test_a_stopped_study_keeps_the_heads_that_were_fitted(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = rng.normal(size=(90, 4, 5)).astype(np.float32)
    X[:, :, 0] += y[:, None]
    np.savez(tmp_path / "features.npz", X=X, y=y)
    solved, real, limit = [], factored.solve, 10**6

    def stopping(problem, beta, **options):
        if len(solved) == limit:
            raise KeyboardInterrupt
        solved.append(([part.block.name for part in problem.parts], beta))
        return real(problem, beta, **options)

    monkeypatch.setattr("headwise.solvers.choice.solve", stopping)
    whole = run(tmp_path / "features.npz", tmp_path / "whole")
    every, limit = list(solved), 4
    solved.clear()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "features.npz", tmp_path / "out")
    assert len(list((tmp_path / "out" / "path").iterdir())) == 4
    limit = 10**6
    again = run(tmp_path / "features.npz", tmp_path / "out")
    assert solved == every, "nothing is solved twice"
    assert not (tmp_path / "out" / "path").exists()
    kept, first = numbers(again), numbers(whole)
    for study in (kept, first):
        study["settings"].pop("data")
    assert kept["heads"] == first["heads"] and kept["paths"] == first["paths"]


def test_tokens_from_disk(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = rng.normal(size=(90, 8)).astype(np.float32)
    X[:, 0] += y
    np.savez(tmp_path / "features.npz", X=X, y=y)
    study = run(tmp_path / "features.npz", tmp_path / "out")
    assert study.data["backbone"] is None
    assert study.data["dissection"] is None
    assert [h["name"] for h in study.data["heads"] if h["kind"] == "certified"] == ["linear, mean token"]


def test_a_relu_head_beside_the_certified_ones(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = rng.normal(size=(90, 3)).astype(np.float32)
    X[:, 0] += y
    np.savez(tmp_path / "features.npz", X=X, y=y)
    study = run(tmp_path / "features.npz", tmp_path / "out", relu=True)
    made, (row,) = study.data["relu"], [h for h in study.data["heads"] if h["name"] == "gated MLP"]
    assert row["kind"] == "certified" and row["rank"] == made["gated_atoms"]
    found = headwise.ReluHead.from_pretrained(tmp_path / "out" / "relu")
    assert made["objective"] == found.objective >= found.gated_objective == made["gated_objective"]
    assert found.module.class_names == study.head().class_names
    page = study.report.read_text(encoding="utf-8")
    assert 'id="relu"' in page and "the approximate objective" in page
    monkeypatch.setattr(sys.modules["headwise.heads.relu"], "LIMIT", 10)
    with pytest.raises(InputError, match=r"54 constraints .* takes up to 10: .* or study without relu"):
        run(tmp_path / "features.npz", tmp_path / "new", relu=True)
    assert not (tmp_path / "new").exists(), "refused before anything is made"

    def thin(*args, **options):
        raise InputError("the cone is too thin")

    monkeypatch.setattr(sys.modules["headwise.study.run"], "check_relu_size", lambda *args: None)
    monkeypatch.setattr(sys.modules["headwise.study.relu"], "relu", thin)
    refused = run(tmp_path / "features.npz", tmp_path / "out", relu=True, seed=1, overwrite=True)
    assert refused.data["relu"]["refused"] == "the cone is too thin"
    assert "the cone is too thin" in refused.report.read_text(encoding="utf-8")
    assert not (tmp_path / "out" / "relu").exists(), "nothing is left of another run"


def test_what_a_relu_head_will_take_is_known_before_there_are_tokens(tmp_path, draw_pictures):
    """The sizes counted from images, arrays and a store are those of the tokens and of a fitted part."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2, 4, 3)).astype(np.float32), np.arange(30) % 2
    np.savez(tmp_path / "views.npz", X=X, y=y)
    TokenStore.from_arrays(tmp_path / "store", X, y, num_prefix=1)
    model = headwise.load_backbone("embedded")
    how = {"layer": -1, "seed": 0, "batch_size": 64, "device": "cpu", "strict": False, "overwrite": False}
    for path in (tmp_path / "views.npz", tmp_path / "store", draw_pictures(tmp_path / "photos", 10)):
        found = open_data(path)
        tokens, rows = training_size(found, model, 0)
        out = tmp_path / f"tokens of {path.name}"
        store, _ = open_tokens(found, model, out, **how, progress=lambda *told: None, announce=None)
        assert replace(TokenFacts.of(store), origin=None) == replace(tokens, origin=None)
        training = three_parts(store, 0)[0].rows["train"]
        assert rows == len(training) * store.num_views
        for block in ("mlp", "bfno"):
            (spec,) = resolve_parts(block, tokens, "gaussian")
            ahead = FittedPart.unfitted(spec, tokens, Conditioner(n_components=2), 2)
            assert ahead.shape == FittedPart.fit(spec, store, training, Conditioner(n_components=2), 2).shape


def test_a_misspelt_backbone_leaves_no_folder(photos, tmp_path):
    with pytest.raises(headwise.InputError, match="did you mean embedded"):
        run(photos, tmp_path / "out", backbone="embeded")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"data": (np.ones((4, 3)), [0, 1, 0, 1])}, r"data is a tuple.*TokenStore\.from_arrays"),
        ({"backbone": 3}, "a backbone is needed"),
        ({"betas": 1}, "betas must be a whole number of at least 2"),
        ({"tol": 1}, "tol must be a positive number below 1"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_arguments_that_no_study_can_use(tmp_path, wrong, said):
    with pytest.raises(headwise.InputError, match=said):
        headwise.study(**{"out": tmp_path / "out", **wrong})
    assert not (tmp_path / "out").exists()
