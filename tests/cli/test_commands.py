"""Every command through the real entry point: what it prints, and its exit code."""

from __future__ import annotations

import csv
import io
import json
import sys
import warnings

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from headwise.backbones import load_backbone
from headwise.blocks import BLOCKS
from headwise.cli import main
from headwise.cli.console import paragraph
from headwise.gates import GATES
from headwise.heads import Head, HeadClassifier, ReluHead
from headwise.tokens import TokenStore, extract
from headwise.version import __version__


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
    commands = (
        "study",
        "extract",
        "fit",
        "relu",
        "predict",
        "explain",
        "dissect",
        "forecast",
        "verify",
        "theory",
        "info",
        "doctor",
    )
    for command in commands:
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
    for name in {*BLOCKS.names(), *GATES.names()} - {"mixer"}:  # a mixer is an object: not for a command
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
    assert ("held-out loss" in said) == ("--beta" not in options)
    assert json.loads(call("info", store.path, "--json")[1])["classes"] is None
    assert call("verify", tmp_path / "head", "--tokens", store.path)[0] == 0
    code, said, _ = call("predict", tmp_path / "head", store.path)
    assert code == 0
    assert said.startswith("id,output_0")


def test_relu_heads(call, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 4, 3)).astype(np.float32), np.arange(40) % 2
    X[:, 0, 0] += y
    store = TokenStore.from_arrays(tmp_path / "store", X, y).path
    gated, plain, made = tmp_path / "gated", tmp_path / "plain", tmp_path / "relu"
    assert call("fit", store, gated, "--block", "mlp", "--gate", "gaussian", "--beta", 0.03, "--components", 3)[0] == 0
    assert call("fit", store, plain, "--block", "attention", "--beta", 0.03, "--components", 3)[0] == 0
    code, said, errors = call("relu", gated, made, "--tokens", store)
    assert code == 0, errors
    found = ReluHead.from_pretrained(made)
    for told in (
        f"objective {found.gated_objective:.6g}",
        f"approximate objective {found.objective:.6g}",
        f"{found.ratio:.4g} times",
        f"{found.module.rank} atoms",
        f"head: {made}",
    ):
        assert told in said
    code, said, _ = call("relu", gated, made, "--tokens", store, "--json")  # the same again goes on in its folder
    assert code == 0
    assert json.loads(said)["approximate_objective"] == found.objective
    code, said, _ = call("predict", made, store)
    probabilities = [float(row["probability"]) for row in csv.DictReader(io.StringIO(said))]
    code, said, _ = call("predict", gated, store)
    known = [float(row["probability"]) for row in csv.DictReader(io.StringIO(said))]
    assert probabilities == pytest.approx(known, abs=2e-6)
    told = json.loads(call("info", made, "--json")[1])
    assert told["kind"] == "relu head" and "certificate" not in told
    assert "approximate" in told["objective"]
    assert (told["approximate objective"], told["gated objective"]) == (found.objective, found.gated_objective)
    code, _, errors = call("verify", made, "--tokens", store)
    assert code == 2
    assert "approximate" in errors and "that of the gated problem" in errors
    assert call("explain", made, store, "--out", tmp_path / "page.html")[0] == 0

    (made / "relu.json").unlink()  # the module alone
    assert json.loads(call("info", made, "--json")[1])["gated objective"] is None
    other = tmp_path / "other"
    for head, out, wanted in (
        (plain, other, "no gates"),
        (made, other, "a ReLU head already"),
        (gated, gated, "would replace the gated one"),
    ):
        code, _, errors = call("relu", head, out, "--tokens", store)
        assert code == 2
        assert wanted in errors
    monkeypatch.setattr(sys.modules["headwise.heads.relu"], "LIMIT", 10)
    code, _, errors = call("relu", gated, other, "--tokens", store)
    assert code == 2
    assert "takes up to 10: fit on fewer samples" in errors
    assert not other.exists(), "what is refused leaves no folder"


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


def test_views(call, photos, tmp_path):
    store, head = tmp_path / "store", tmp_path / "head"
    views = ("--views", 3, "--view-seed", 4, "--crop-scale", 0.5, 0.9, "--no-flip")
    code, said, errors = call("extract", photos, store, *views, "--json")
    assert code == 0, errors
    assert json.loads(said)["shape"] == [12, 3, 65, 128]
    assert "12 images x 3 views" in errors
    manifest = TokenStore.open(store).manifest
    assert manifest.augmentation == {"crop_scale": [0.5, 0.9], "crop_ratio": [3 / 4, 4 / 3], "flip": False}
    code, _, errors = call("extract", photos, store, *views[:-1])
    assert code == 2
    assert "flip: False there, True asked" in errors
    code, _, errors = call("extract", photos, tmp_path / "bad", "--crop-scale", 0.9, 0.5)
    assert code == 2
    assert "crop_scale" in errors
    assert json.loads(call("info", store, "--json")[1])["view seed"] == 4

    assert call("fit", store, head, "--block", "linear", "--beta", 0.1)[0] == 0
    assert call("verify", head, "--tokens", store)[0] == 0
    found = {}
    for which in ("first", "average"):
        code, said, _ = call("predict", head, store, "--views", which)
        assert code == 0
        found[which] = [float(row["probability"]) for row in csv.DictReader(io.StringIO(said))]
    opened, fitted = TokenStore.open(store), Head.from_pretrained(head)
    logits = sum(fitted(opened.read(view=k).values.double()) for k in range(3)) / 3
    assert found["average"] == pytest.approx(logits.softmax(1).amax(1).tolist(), abs=1e-6)
    assert found["average"] != found["first"]
    code, _, errors = call("predict", head, photos, "--views", "average")
    assert code == 2
    assert "headwise extract --views K" in errors


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


def test_explain_writes_a_page(call, features, tmp_path):
    call("study", "--data", features, "--out", tmp_path / "out", "--betas", 3, "--components", 4)
    head, page = tmp_path / "out" / "head", tmp_path / "page.html"
    code, said, _ = call("explain", head, features, "--out", page, "--samples", 3)
    assert code == 0 and said.split()[:2] == ["atom", "weight"] and said.rstrip().endswith("page.html")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    code, said, _ = call("explain", head, features, "--out", page, "--samples", 3, "--json")
    assert code == 0 and len(json.loads(said)["samples"]) == 3
    assert call("explain", head, features, "--out", page, "--samples", 0)[0] == 2


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
        (["info", "nowhere"], "backbones are embedded, hf, timm"),
        (["verify", "nowhere", "--tokens", "nowhere"], "nowhere is not a head: it does not exist"),
        (["fit", "store", "head", "--components", "0"], "'--components': Input should be greater than or equal to 1"),
        (["fit", "nowhere", "head"], "is not a token store"),
        (["study", "--device", "gpu0"], "device 'gpu0' cannot be used"),
        (["fit", "store", "head", "--solver", "fatored"], "unknown solver 'fatored'; did you mean factored"),
        (["extract", "digits", "store", "--dtype", "flaot16"], "unknown dtype 'flaot16'; did you mean float16"),
        (["extract", "digits", "store", "--at", "block"], "unknown place in a layer 'block'"),
        (["fit", "store", "head", "--seed", "-1"], "'--seed': Input should be greater than or equal to 0"),
        (["study", "--out", "/proc/nothing/here"], "cannot write in /proc/nothing/here"),
        (["study", "--out", "a" * 300], "File name too long"),
        (["extract", "digits", "a" * 300], "File name too long"),
        (["predict", "a" * 300, "b"], "File name too long"),
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--beta", "nan"], "beta must be a positive number, got nan"),
        (["--tol", "nan"], "tol must be a positive number below 1, got nan"),
        (["--beta", "0.1", "--solver", "moments"], "only the squared loss can be condensed to moments"),
        (["--block", "linear", "--gate", "gaussian"], "no part of 'linear' takes gates"),
    ],
)
def test_fits_that_cannot_be_leave_no_work_behind(call, features, tmp_path, options, said):
    assert call("extract", features, tmp_path / "store")[0] == 0
    code, _, printed = call("fit", tmp_path / "store", tmp_path / "head", *options)
    assert code == 2 and said in printed
    assert not (tmp_path / "head" / "config.json").exists()


def test_another_layout_is_told_with_both(call, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 5, 4)), np.array(["cat", "dog"])[np.arange(30) % 2]
    store = TokenStore.from_arrays(tmp_path / "store", X, y, num_prefix=1).path
    other = TokenStore.from_arrays(tmp_path / "other", X, y).path
    head = tmp_path / "head"
    assert call("fit", store, head, "--beta", 0.1)[0] == 0
    both = "fitted on samples of 1 prefix token and 4 patch tokens, these have 5 patch tokens"
    code, _, printed = call("verify", head, "--tokens", other)
    assert code == 1 and both in printed and "num_prefix" not in printed
    code, _, printed = call("predict", head, other)
    assert code == 2 and both in printed
    code, said, _ = call("predict", head, store)
    assert code == 0 and {row["predicted"] for row in csv.DictReader(io.StringIO(said))} <= {"cat", "dog"}


def test_a_head_of_arrays_is_verified_on_their_file(call, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3, 4)), np.arange(30) % 2
    HeadClassifier("linear", beta=0.1).fit(X, y).head_.save_pretrained(tmp_path / "head")
    np.savez(tmp_path / "tokens.npz", tokens=X, labels=y)
    assert call("verify", tmp_path / "head", "--tokens", tmp_path / "tokens.npz")[0] == 0
    TokenStore.from_arrays(
        tmp_path / "store", X, y, split=np.where(np.arange(30) < 24, "train", "val"), dtype="float64"
    )
    assert json.loads(call("info", tmp_path / "store", "--json")[1])["classes"] == 2
    told = json.loads(call("fit", tmp_path / "store", tmp_path / "of_store", "--betas", 2, "--json")[1])
    assert sum(point["chosen"] for point in told["path"]) == 1
    code, _, printed = call("verify", tmp_path / "of_store", "--tokens", tmp_path / "tokens.npz")
    assert code == 1 and "these are float64 arrays" in printed and "is verified on that store" in printed
    X[0, 0, 0] += 1e-9
    np.savez(tmp_path / "tokens.npz", tokens=X, labels=y)
    code, _, printed = call("verify", tmp_path / "head", "--tokens", tmp_path / "tokens.npz")
    assert code == 1 and "fingerprint differs" in printed


def test_what_tokens_do_not_need_is_refused(call, features, tmp_path):
    code, _, printed = call("extract", features, tmp_path / "store", "--at", "block_input")
    assert code == 2 and "--at is a place in a backbone" in printed
    for option in (["--layer", "-1"], ["--backbone", "embedded"], ["--crop-scale", "0.2", "1"], ["--no-flip"]):
        code, _, printed = call("extract", features, tmp_path / "store", *option)
        assert code == 2 and "holds tokens, and" in printed and option[0] in printed
    assert call("extract", features, tmp_path / "store")[0] == 0
    assert call("fit", tmp_path / "store", tmp_path / "head", "--beta", "0.1")[0] == 0
    code, _, printed = call("predict", tmp_path / "head", tmp_path / "store", "--layer", "2")
    assert code == 2 and "no backbone is needed" in printed


def test_the_layout_of_arrays_is_told(call, photos, features, tmp_path):
    np.save(tmp_path / "x.npy", np.load(features)["X"])
    np.save(tmp_path / "x.labels.npy", np.load(features)["y"])
    _, said, _ = call("extract", tmp_path / "x.npy", tmp_path / "plain")
    assert "of each sample 0 prefix and 5 patch tokens; where the first are class" in said
    code, said, _ = call("extract", tmp_path / "x.npy", tmp_path / "store", "--num-prefix", 1, "--grid", "2x2")
    store = TokenStore.open(tmp_path / "store")
    assert (code, store.num_prefix, store.grid) == (0, 1, (2, 2))
    assert said.endswith("of each sample 1 prefix and 4 patch tokens on a grid of 2 x 2\n")
    _, said, _ = call("extract", tmp_path / "x.npy", tmp_path / "store", "--num-prefix", 1, "--grid", "2x2", "--json")
    assert json.loads(said)["num_prefix"] == 1 and json.loads(said)["grid"] == [2, 2]
    np.savez(tmp_path / "told.npz", X=np.load(features)["X"], y=np.load(features)["y"], num_prefix=1)
    for data, option, why in (
        (tmp_path / "x.npy", ["--grid", "2x3"], "do not make 5 tokens"),
        (tmp_path / "x.npy", ["--grid", "2,2"], "rows and columns are needed"),
        (tmp_path / "x.npy", ["--num-prefix", 6], "samples have 5 tokens"),
        (tmp_path / "told.npz", ["--num-prefix", 2], "says num_prefix 1; leave one out"),
        (photos, ["--num-prefix", 1], "--num-prefix is for arrays"),
        (photos, ["--grid", "2x2"], "--grid is for arrays"),
    ):
        code, _, said = call("extract", data, tmp_path / "no", *option)
        assert code == 2 and why in said
    assert not (tmp_path / "no" / "manifest.json").exists()


def test_the_command_and_python_make_the_same_store(call, photos, tmp_path):
    assert call("extract", photos, tmp_path / "store", "--seed", 1)[0] == 0
    settings = {"fractions": (0.6, 0.2, 0.2), "seed": 1}
    before = (tmp_path / "store" / "manifest.json").stat().st_mtime_ns
    made = extract(load_backbone("embedded"), photos, tmp_path / "store", **settings)
    assert (tmp_path / "store" / "manifest.json").stat().st_mtime_ns == before
    assert set(made.split) == {"train", "val", "test"}


def test_warnings_are_one_sentence_of_the_first_process(call, monkeypatch):
    def warned() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.warn("a gap\nis left", UserWarning, stacklevel=1)

    monkeypatch.setattr("headwise.cli.app.build", lambda: lambda **_: warned() or sys.exit(0))
    assert call("fit") == (0, "", "warning: a gap is left")
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert call("fit") == (0, "", "")


def test_info_says_where_in_the_layer_tokens_were_taken(call, photos, tmp_path):
    assert call("extract", photos, tmp_path / "store", "--at", "block_input")[0] == 0
    _, printed, _ = call("info", tmp_path / "store", "--json")
    assert json.loads(printed)["taken at"] == "block_input"


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
    assert "finished solutions of the beta paths are kept" in said
    monkeypatch.setattr(sys.modules["headwise.study"], "predict", stop)
    code, _, said = call("predict", tmp_path / "out" / "head", features)
    assert "kept" not in said


def test_arrays_to_a_store_to_a_head(call, features, tmp_path):
    store, head = tmp_path / "store", tmp_path / "head"
    code, _, said = call("fit", features, head)
    assert code == 2
    assert "it is a file. Make one" in said
    assert "headwise extract DATA STORE" in said
    code, _, said = call("extract", features, store, "--views", 2)
    assert code == 2
    assert "views are made of images" in said
    assert call("extract", features, store)[0] == 0
    assert TokenStore.open(store).manifest.dtype == "float32"
    assert set(TokenStore.open(store).split) == {"train", "val", "test"}
    code, _, said = call("extract", store, tmp_path / "again")
    assert code == 2
    assert "is a token store already" in said
    assert call("extract", features, tmp_path / "half", "--dtype", "float16")[0] == 0
    assert TokenStore.open(tmp_path / "half").manifest.dtype == "float16"
    assert call("fit", store, head, "--block", "linear", "--beta", 0.1)[0] == 0


def test_fit_refuses_another_head_before_the_work(call, features, tmp_path, monkeypatch):
    store, head = tmp_path / "store", tmp_path / "head"
    call("extract", features, store)
    fit = ("fit", store, head, "--block", "linear")
    assert call("fit", store, head, "--block", "linaer")[0] == 2
    assert not head.exists()
    assert call(*fit, "--beta", 0.1)[0] == 0
    assert call(*fit, "--beta", 0.1, "--max-memory", "2GB")[0] == 0
    monkeypatch.setattr("headwise.heads.HeadClassifier.fit", lambda *a, **k: pytest.fail("fitted"))
    code, _, said = call(*fit, "--beta", 0.2)
    assert code == 2
    assert "made with other settings (beta: 0.1 there, 0.2 asked); give another folder" in said
    _, _, said = call(*fit, "--beta", 0.1, "--components", 8)
    assert "other settings (components: 64 there, 8 asked)" in said
    _, _, said = call(*fit, "--betas", 3)
    assert "other settings (beta: 0.1 there, none asked, betas: none there, 3 asked, seed:" in said
    monkeypatch.undo()
    assert call(*fit, "--beta", 0.2, "--overwrite")[0] == 0
    assert call("verify", head, "--tokens", store)[0] == 0


def test_a_damaged_store_is_named(call, features, tmp_path):
    store, head = tmp_path / "store", tmp_path / "head"
    call("extract", features, store)
    call("fit", store, head, "--block", "linear", "--beta", 0.1)
    shard = store / "shard-00000.safetensors"
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(content)
    code, out, said = call("predict", head, store)
    assert (code, out) == (2, "")
    assert "shard-00000.safetensors has changed" in said
    code, out, said = call("verify", head, "--tokens", store)
    assert (code, out) == (1, "")
    assert 0 < said.index("has changed") < said.index("claimed:")


def test_a_beta_far_too_large_is_noted(call, features, tmp_path):
    call("extract", features, tmp_path / "store")
    for block in ("attention", "linear"):
        code, said, _ = call("fit", tmp_path / "store", tmp_path / block, "--block", block, "--beta", 1e9)
        assert code == 0
        assert "predicts the class frequencies for every sample" in " ".join(said.split())
    code, said, _ = call("fit", tmp_path / "store", tmp_path / "small", "--block", "linear", "--beta", 0.05)
    assert "frequencies" not in said


def test_numbers_keep_their_units(capsys):
    console = Console(width=20)
    paragraph(console, "an accuracy of 97.5\u202f% is reached")
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "an accuracy of",
        "97.5\u202f% is reached",
    ]


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


def test_forecasts(call, tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    X = rng.normal(size=(120, 4, 6)) + 1.5 * rng.normal(size=(3, 6))[y][:, None]
    store = TokenStore.from_arrays(tmp_path / "store", X, y).path
    coarse = TokenStore.from_arrays(tmp_path / "coarse", X, y // 2).path
    options = ("forecast", "--tokens", store, "--auxiliary", coarse, "--out", tmp_path / "out")
    code, said, errors = call(*options)
    assert code == 0, errors
    for told in ("96 samples, all 6 features", "modes of the labels are above the noise", "stop at time", "coarse: "):
        assert told in said
    assert said.rstrip().endswith(str(tmp_path / "out"))
    written = json.loads((tmp_path / "out" / "forecast.json").read_text())
    with Image.open(tmp_path / "out" / "forecast.png") as figure:
        assert figure.width > 1000
    told = json.loads(call("info", tmp_path / "out", "--json")[1])
    assert (told["kind"], told["samples"], told["finding"]) == ("forecast", 96, written["status"])
    assert "with twice the samples" in told["probe of depth 2"]
    code, said, _ = call(*options, "--json")  # the same again
    assert code == 0
    assert json.loads(said) == written
    code, _, errors = call(*options, "--seed", 1)
    assert code == 2
    assert "made with other settings" in errors and "overwrite" in errors
    assert call(*options, "--seed", 1, "--overwrite", "--no-train")[0] == 0
    (tmp_path / "out" / "forecast.json").write_text(json.dumps({**written, "format_version": 2}))
    assert "was written by a newer headwise" in call("info", tmp_path / "out")[2]
    code, _, errors = call("forecast", "--tokens", tmp_path / "nowhere")
    assert code == 2
    assert "not a token store" in errors
