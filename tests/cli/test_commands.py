"""Every command through the real entry point: what it prints, and its exit code."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from headwise.blocks import BLOCKS
from headwise.cli import main
from headwise.gates import GATES
from headwise.tokens import TokenStore
from headwise.version import __version__


@pytest.fixture
def call(capsys, monkeypatch):
    """Run the command line; returns (exit code, standard output, standard error)."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*args: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in args])
        printed = capsys.readouterr()
        code = stop.value.code
        return (0 if code is None else int(code)), printed.out, " ".join(printed.err.split())

    return run


@pytest.fixture
def features(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = rng.normal(size=(60, 5, 6)).astype(np.float32)
    X[:, 2, 0] += 2 * y
    np.savez(tmp_path / "tokens.npz", X=X, y=y)
    return tmp_path / "tokens.npz"


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for k, name in enumerate(["dark", "light"]):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(90 * k, 90 + 90 * k, size=(32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def test_version_and_help(call):
    assert call("--version") == (0, f"headwise {__version__}\n", "")
    for command in ("study", "extract", "fit", "predict", "verify", "info", "doctor"):
        code, out, _ = call(command, "--help")
        assert code == 0
        assert "Usage" in out


def test_from_tokens_to_a_verified_head(call, features, tmp_path):
    out = tmp_path / "out"
    code, said, _ = call("study", "--data", features, "--out", out, "--betas", 3, "--components", 4)
    assert code == 0
    assert said.rstrip().endswith("report.html")
    code, said, _ = call("study", "--data", features, "--out", out, "--betas", 3, "--components", 4, "--json")
    assert code == 0
    assert json.loads(said)["format_version"] == 1
    assert call("verify", out / "head", "--tokens", out / "tokens")[0] == 0
    for place, kind in ((out, "study"), (out / "tokens", "token store"), (out / "head", "head")):
        code, said, _ = call("info", place, "--json")
        assert code == 0
        assert json.loads(said)["kind"] == kind
    head = tmp_path / "head"
    code, said, _ = call(
        "fit", out / "tokens", head, "--block", "attention", "--beta", 0.05, "--components", 4, "--json"
    )
    assert code == 0
    assert json.loads(said)["certificate"]["relative_gap"] <= 1e-3
    code, said, _ = call("predict", head, out / "tokens")
    assert code == 0
    assert len(list(csv.DictReader(io.StringIO(said)))) == 60


def test_every_name_that_fit_offers_is_there(call):
    _, said, _ = call("fit", "--help")
    said = " ".join(said.replace("│", " ").split())
    for name in (*BLOCKS.names(), *GATES.names()):
        assert name in said


@pytest.mark.parametrize(
    "options", [("--block", "fno"), ("--block", "attention", "--gate", "rank_one", "--num-gates", 2), ("--beta", 0.05)]
)
def test_heads_for_numbers(call, tmp_path, options):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4, 3)).astype(np.float32)
    store = TokenStore.from_arrays(tmp_path / "store", X, X[:, 0, 0] * X[:, 1, 0])
    code, said, _ = call("fit", store.path, tmp_path / "head", "--betas", 3, "--components", 3, *options)
    assert code == 0, said
    assert ("is the linear head" in said) == ("fno" in options)
    assert call("verify", tmp_path / "head", "--tokens", store.path)[0] == 0
    code, said, _ = call("predict", tmp_path / "head", store.path)
    assert code == 0
    assert said.startswith("id,output_0")


def test_a_corrupted_head_does_not_verify(call, features, tmp_path):
    out = tmp_path / "out"
    call("study", "--data", features, "--out", out, "--betas", 3, "--components", 4)
    file = out / "head" / "certificate.json"
    claim = json.loads(file.read_text())
    claim["primal"] *= 0.9
    file.write_text(json.dumps(claim))
    code, _, said = call("verify", out / "head", "--tokens", out / "tokens")
    assert code == 1
    assert "does not hold" in said


def test_images_to_a_store(call, photos, tmp_path):
    (photos / "dark" / "broken.png").write_bytes(b"not a picture")
    code, said, _ = call("extract", photos, tmp_path / "store", "--json")
    assert code == 0
    found = json.loads(said)
    assert found["shape"] == [12, 1, 65, 128]
    assert "broken.png" in found["skipped"][0][0]
    code, _, said = call("extract", photos, tmp_path / "strict", "--strict")
    assert code == 2
    assert "broken.png" in said


def test_predict_new_pictures(call, photos, tmp_path):
    store, head, new = tmp_path / "store", tmp_path / "head", tmp_path / "new"
    call("extract", photos, store)
    call("fit", store, head, "--block", "linear", "--beta", 0.1)
    code, said, _ = call("info", head, "--json")
    assert json.loads(said)["backbone"] == "embedded"
    (new / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.png"):
        (new / name).write_bytes((photos / "light" / "0.png").read_bytes())
    code, said, errors = call("predict", head, new)
    assert code == 0
    assert "skipped" not in errors
    assert said.startswith("id,predicted,probability\na.png,light,0.")
    assert "\r" not in said
    assert [row["id"] for row in csv.DictReader(io.StringIO(said))] == ["a.png", "more/b.png"]
    code, said, _ = call("predict", head, new / "a.png", "--json")
    assert [row["predicted"] for row in json.loads(said)] == ["light"]

    (new / "[bold]broken.png").write_bytes(b"not a picture")
    code, said, errors = call("predict", head, new)
    assert code == 0
    assert len(said.splitlines()) == 3
    assert "skipped 1 of 3 images that cannot be read: [bold]broken.png" in errors
    code, said, errors = call("predict", head, new, "--strict")
    assert code == 2
    assert said == ""
    assert "[bold]broken.png cannot be read" in errors
    assert call("predict", head, new / "[bold]broken.png")[0] == 2


def test_predict_needs_the_backbone_of_the_head(call, photos, features, tmp_path):
    head = tmp_path / "head"
    call("extract", photos, tmp_path / "store")
    call("fit", tmp_path / "store", head, "--block", "linear", "--beta", 0.1)
    assert call("predict", head, photos, "--backbone", "embedded", "--layer", -1)[0] == 0
    code, _, said = call("predict", head, photos, "--layer", 2)
    assert code == 2
    assert "give layer 5" in said
    config = json.loads((head / "config.json").read_text())
    config["tokens"]["origin"]["weights_hash"] = "0" * 64
    (head / "config.json").write_text(json.dumps(config))
    for more in ([], ["--backbone", "embedded"]):
        code, _, said = call("predict", head, photos, *more)
        assert code == 2
        assert "with weights 000000000000 in the head" in said
    config["tokens"]["origin"] = None
    (head / "config.json").write_text(json.dumps(config))
    code, _, said = call("predict", head, photos)
    assert code == 2
    assert "--backbone NAME on the command line" in said


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["stdy"], "did you mean study"),
        (["study", "--backbone", "embeded"], "did you mean embedded"),
        (["study", "--data", "nowhere"], "does not exist"),
        (["info", "nowhere"], "backbones are embedded, timm"),
        (["verify", "nowhere", "--tokens", "nowhere"], "is not a head"),
        (["fit", "nowhere", "head"], "is not a token store"),
        (["study", "--device", "gpu0"], "device 'gpu0' cannot be used"),
    ],
)
def test_bad_words_exit_with_2(call, args, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, printed = call(*args)
    assert code == 2
    assert said in printed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda X, y: (np.where(np.arange(X.size).reshape(X.shape) == 95, np.inf, X), y), "NaN or infinit"),
        (lambda X, y: (X, np.zeros_like(y)), "class"),
        (lambda X, y: (X, np.r_[np.zeros(59, int), 1]), "class '1' has no samples"),
        (lambda X, y: (X, y[:-1]), "labels"),
    ],
)
def test_bad_data_exits_with_2(call, features, tmp_path, change, said):
    with np.load(features) as found:
        X, y = change(found["X"], found["y"])
    np.savez(tmp_path / "bad.npz", X=X, y=y)
    code, _, printed = call("study", "--data", tmp_path / "bad.npz", "--out", tmp_path / "out")
    assert code == 2
    assert said in printed


def test_folders_of_others_are_left_alone(call, features, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    code, _, said = call("study", "--data", features, "--out", tmp_path / "mine")
    assert code == 2
    assert "did not make" in said
    code, _, said = call("study", "--data", features, "--out", features)
    assert code == 2
    assert "cannot write" in said


def test_ctrl_c_says_that_the_run_goes_on(call, features, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("headwise.heads.path.solve_path", stop)
    code, _, said = call("study", "--data", features, "--out", tmp_path / "out")
    assert code == 130
    assert "extracted tokens" in said


def test_an_unexpected_error_is_one_line_and_exits_with_70(call, features, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("nobody thought\nof this")

    monkeypatch.setattr("headwise.heads.path.solve_path", fail)
    args = ("study", "--data", features, "--out", tmp_path / "out")
    code, _, said = call(*args)
    assert code == 70
    assert "ZeroDivisionError: nobody thought of this" in said
    assert "Traceback" not in said
    monkeypatch.setenv("HEADWISE_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main([str(a) for a in args])


def test_doctor(call):
    code, said, _ = call("doctor", "--json")
    assert code == 0
    assert json.loads(said)["headwise"]
