"""Every benchmark script runs on tiny generated data, so that none of them rots."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = pytest.mark.slow


def run(script, *args):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *map(str, args)], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_script_is_run_here():
    scripts = {path.name for path in BENCHMARKS.glob("*.py")}
    assert scripts == {
        "attention_head.py",
        "comparison.py",
        "examples.py",
        "forecast.py",
        "heads_table.py",
        "memory.py",
        "mixers.py",
        "modes.py",
        "ranking.py",
        "theory.py",
    }


def test_comparison(tmp_path):
    said = run("comparison.py", "--quick", "--out", tmp_path)
    tasks = {"attention", "peers", "classes", "samples", "path", "gated_mlp", "linear", "conic"}
    reports = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert set(reports) == tasks
    for name, report in reports.items():
        assert f"### {name}" in said
        assert report["tables"][0]["rows"]
        assert report["bars"] or name == "gated_mlp"  # without pyscnn there is nothing to hold it against
    drawn = {path.stem for path in tmp_path.glob("*.svg")}
    assert {"peers", "linear", "conic"} <= drawn
    bound = [gap for report in reports.values() for curve in report["curves"] for _, gap in curve["points"]]
    assert min(bound) > -1e-9


def test_heads_table_goes_on_where_it_stopped(tmp_path):
    first = run("heads_table.py", "--quick", "--seeds", 1, "--only", "motifs", "--out", tmp_path)
    assert "| attention | gated (rank_one) |" in first and "softmax probe" in first
    approximate = [line for line in first.splitlines() if line.startswith("| mlp | ReLU |")]
    assert "| approximate |" in approximate[0] and "of the gated head" in approximate[0]
    (tmp_path / "heads" / "motifs" / "fno-linear-0.json").unlink()
    again = run("heads_table.py", "--quick", "--seeds", 1, "--out", tmp_path)
    fitted = [line for line in again.splitlines() if line.startswith(".. motifs")]
    assert fitted == [".. motifs: fno, linear, seed 0"]
    assert (tmp_path / "heads_vit_tiny.md").is_file()


def test_attention_head(tmp_path):
    from headwise import TokenStore

    rng = np.random.default_rng(0)
    labels = np.arange(80) % 10
    tokens = rng.normal(size=(80, 5, 6)) + rng.normal(size=(10, 1, 6))[labels]
    split = np.where(np.arange(80) < 60, "train", "test")
    TokenStore.from_arrays(tmp_path / "store", tokens, labels, split=split, num_prefix=1, grid=(2, 2))
    args = ("--store", tmp_path / "store", "--components", 4, "--betas", 0.01, "--seconds", 0.2)
    assert run("attention_head.py", *args).count("| 0.01 |") == 4


def test_examples():
    said = run("examples.py", "--quick")
    assert "12 pictures, 768 modes of 24 attention heads of embedded" in said
    assert "| top images per mode / extraction |" in said


def test_forecast(tmp_path):
    said = run("forecast.py", "--quick", "--depths", 2, "--out", tmp_path)
    assert "rows of 4 with R2" in said
    (rows,) = json.loads((tmp_path / "forecast.json").read_text())["numbers"].values()
    assert [row["samples"] for row in rows] == sorted(row["samples"] for row in rows) and len(rows) == 4


def test_memory():
    said = run("memory.py", "--quick")
    assert "| kept |" in said and not list((BENCHMARKS / ".cache").glob("memory_0.01*"))


def test_modes(tmp_path):
    timm = pytest.importorskip("timm", reason="the model of this benchmark: pip install headwise[timm]")
    from safetensors.torch import save_file

    save_file(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "model.safetensors")
    given = ("--weights", tmp_path / "model.safetensors", "--rounds", 1, "--quick")
    said = run("modes.py", *given)
    assert said.count("full / ours") == 2 and "memory beyond one layer's weights" in said


def test_mixers(tmp_path):
    pytest.importorskip("timm", reason="layers of this benchmark: pip install headwise[timm]")
    only = ("softmax", "halo", "large_kernel", "routing", "gated_positional", "mlp_mixer")
    said = run("mixers.py", "--quick", "--only", *only, "--out", tmp_path)
    report = json.loads((tmp_path / "mixers.json").read_text())
    compared = {(row[0], row[1]) for row in report["tables"][0]["rows"]}
    assert {("halo", "timm HaloAttn"), ("routing", "softmax"), ("gated_positional", "timm GPSA")} <= compared
    assert all(f"| {name} |" in said for name in only)
    assert {curve["name"] for curve in report["curves"]} == set(only)
    assert (tmp_path / "mixers.svg").is_file()


def test_ranking_goes_on_where_it_stopped(tmp_path):
    said = run("ranking.py", "--quick", "--out", tmp_path)
    report = json.loads((tmp_path / "ranking.json").read_text())
    assert [row[0] for row in report["tables"][0]["rows"]] == ["forecast (ours)", "LogME", "H-score", "NCE of clusters"]
    assert len(report["numbers"]["triples"]) == 40 == said.count(": head") == said.count(": scores")
    assert all(row["relative_gap"] <= 1e-3 for row in report["numbers"]["triples"])
    (tmp_path / "ranking" / "digits" / "even-or-odd-a-1-head.json").unlink()
    again = run("ranking.py", "--quick", "--only", "digits", "--out", tmp_path)
    assert [line for line in again.splitlines() if line.startswith(".. ")] == [
        ".. digits, even or odd: a, layer 1: head"
    ]


def test_theory(tmp_path):
    said = run("theory.py", "--quick", "--out", tmp_path)
    report = json.loads((tmp_path / "theory.json").read_text())
    names = {"random_matrix", "deep_linear", "shrinkage", "transfer", "growth_law"}
    assert {row[0] for row in report["tables"][0]["rows"]} == names == set(report["numbers"])
    assert len(report["bars"]) == len(names) - 1  # the growth law draws nothing
    assert all(f"| {name} |" in said for name in names)
