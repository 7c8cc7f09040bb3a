"""Model cards, and heads that go to the hub and come back; the hub is a folder here."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch

from headwise.cli.commands.info import _facts
from headwise.errors import InputError
from headwise.heads import Head, HeadClassifier, HeadRegressor, ReluHead, relu, verify
from headwise.heads.card import model_card

WEIRD = ["cat|dog", "<script>x</script>", "a\n# b", "`c` [d](e)", "*e*"]


@pytest.fixture(scope="module")
def head():
    rng = np.random.default_rng(0)
    y = np.arange(20) % 5
    X = rng.normal(size=(20, 4, 5)) + 2 * np.eye(5)[y][:, None]
    found = HeadClassifier("attention", beta=0.05, gate="rank_one", num_gates=2, n_components=3).fit(X, y)
    assert found.rank_ and found.certificate_.gap > 0
    found.head_.class_names = WEIRD
    return found.head_


class FakeHub:
    """A hub in a folder; counts what it is asked."""

    def __init__(self, root: Path) -> None:
        self.root, self.calls = root, []

    def __call__(self, token=None):
        self.token = token
        return self

    def create_repo(self, repo_id, private=False, exist_ok=False):
        self.calls.append(("create", repo_id, private, exist_ok))
        (self.root / repo_id).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        self.calls.append(("upload", repo_id, commit_message))
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)
        return f"https://hub/{repo_id}/commit/1"

    def snapshot_download(self, repo_id, revision=None, allow_patterns=None):
        self.calls.append(("download", repo_id, revision))
        if not (self.root / repo_id).exists():
            raise FileNotFoundError(f"404: no repository {repo_id}\nsecond line")
        folder = self.root / "cache"
        folder.mkdir()
        for name in allow_patterns:
            if (self.root / repo_id / name).exists():
                shutil.copy(self.root / repo_id / name, folder)
        return str(folder)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    fake = FakeHub(tmp_path / "hub")
    fake.root.mkdir()
    monkeypatch.setattr(huggingface_hub, "HfApi", fake)
    monkeypatch.chdir(tmp_path)
    return fake


def test_there_and_back(hub, head):
    address = head.push_to_hub("me/my-head", token="secret", private=True, license="mit", metrics={"accuracy": 0.5})
    assert address == "https://hub/me/my-head/commit/1" and hub.token == "secret"
    assert hub.calls == [("create", "me/my-head", True, True), ("upload", "me/my-head", "Head fitted with headwise")]
    card = (hub.root / "me/my-head/README.md").read_text(encoding="utf-8")
    assert 'Head.from_pretrained("me/my-head", hub=True)' in card and 'license: "mit"' in card
    found = Head.from_pretrained("me/my-head", hub=True, revision="v1")
    assert hub.calls[-1] == ("download", "me/my-head", "v1")
    assert found.fingerprint == head.fingerprint and found.certificate.to_dict() == head.certificate.to_dict()
    assert found.class_names == WEIRD


def test_a_relu_head_goes_with_all_that_is_known_of_it(hub):
    X = np.random.default_rng(0).normal(size=(20, 3, 2))
    model = HeadRegressor("mlp", beta=1e-2, gate="gaussian", num_gates=4, condition=False)
    made = relu(model.fit(X, X[:, :, 0].mean(1)), X)
    made.push_to_hub("me/relu")
    made.save_pretrained("folder")
    assert {p.name for p in (hub.root / "me/relu").iterdir()} == {p.name for p in Path("folder").iterdir()}
    found = ReluHead.from_pretrained("me/relu", hub=True)
    assert str(found) == str(made) and found.module.fingerprint == made.module.fingerprint
    Head.from_pretrained("folder").push_to_hub("me/again")
    for name in ("relu.json", "config.json"):
        assert (hub.root / "me/again" / name).read_text() == (hub.root / "me/relu" / name).read_text()
    assert "a ReLU head is approximate" in (hub.root / "me/again" / "README.md").read_text()


def test_nothing_is_fetched_unless_asked(hub, head):
    with pytest.raises(InputError, match=r"no folder me/my-head; .*from_pretrained\('me/my-head', hub=True\)"):
        Head.from_pretrained("me/my-head")
    assert not hub.calls
    head.save_pretrained("me/my-head")
    assert Head.from_pretrained("me/my-head", hub=True).fingerprint == head.fingerprint
    assert not hub.calls, "a folder of that name goes first"


def test_what_the_hub_refuses_is_said_in_a_line(hub, head, monkeypatch):
    with pytest.raises(InputError, match=r"cannot read me/none from the hub: 404: no repository me/none$"):
        Head.from_pretrained("me/none", hub=True)
    for name in ("only-a-name", "a/b/c", "../x", "a/b`c"):
        with pytest.raises(InputError, match="give 'user/name'"):
            head.push_to_hub(name)
    with pytest.raises(InputError, match="give 'user/name'"):
        Head.from_pretrained("no-such-folder", hub=True)

    def refuse(*args, **options):
        raise huggingface_hub.errors.HTTPError("no network")

    monkeypatch.setattr(hub, "create_repo", refuse)
    with pytest.raises(InputError, match="cannot write to me/x on the hub: no network"):
        head.push_to_hub("me/x")


def test_a_missing_package_is_named(head, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"headwise\[hf\]"):
        head.push_to_hub("me/x")


def front_matter(card):
    start, told, body = card.split("---\n", 2)
    assert not start
    return told, body


def test_the_card_says_what_is_proved(head):
    told, body = front_matter(model_card(head))
    assert "library_name: headwise" in told and '"certified"' in told and "metrics" not in told
    assert "# license:" in told
    certificate = head.certificate
    for value in (certificate.gap, certificate.relative_gap, certificate.failure_probability, certificate.beta):
        assert f" {value} |" in body
    assert "On its 20 training samples" in body and certificate.context["rows"] in body
    assert "not known (the tokens came from arrays)" in body and "2 rank\\_one, seed 0" in body
    assert "```python\nimport headwise as hw\n" in body


def test_what_is_said_in_words_is_rounded_to_the_safe_side(head):
    _, body = front_matter(model_card(head))
    below, own, percent = (
        float(part.split()[0].rstrip(".:"))
        for part in (body.split("below ")[1], body.split("This one has ")[1], body.split("at most ")[1])
    )
    certificate = head.certificate
    assert below <= certificate.dual and own >= certificate.primal and percent >= 100 * certificate.relative_gap
    assert below == pytest.approx(certificate.dual, rel=1e-8) and own == pytest.approx(certificate.primal, rel=1e-8)


def test_names_are_only_names(head):
    told, body = front_matter(model_card(head, license='x"\nevil: 1', metrics={"a\nb: c": 0.25, "d|e": 1}))
    assert "evil: 1" not in told.splitlines() and "b: c" not in [line.strip("- ") for line in told.splitlines()]
    (classes,) = [line for line in body.splitlines() if line.startswith("| Classes")]
    assert classes.count(" | ") == 1 and "5: cat\\|dog" in classes
    assert "<script>" not in body and "\n# b" not in body and "[d](" not in body and "\\`c\\`" in body
    assert "| a b: c | 0.25 |" in body and "| d\\|e | 1.0 |" in body


def test_a_long_list_of_classes_is_cut(head):
    other = Head.__new__(Head)
    other.__dict__.update(head.__dict__)
    other.class_names = [f"class {i}" for i in range(300)]
    _, body = front_matter(model_card(other))
    assert "300: class 0, " in body and "class 19, and 280 more" in body


def test_a_head_without_anything(tmp_path):
    rng = np.random.default_rng(0)
    plain = HeadRegressor("linear", beta=0.1).fit(rng.normal(size=(20, 3)), rng.normal(size=20)).head_
    plain.certificate = None
    told, body = front_matter(model_card(plain))
    assert "certified" not in told and "no certificate" in body and "Classes" not in body
    plain.save_pretrained(tmp_path / "head")
    assert Head.from_pretrained(tmp_path / "head").certificate is None


def test_the_card_lies_beside_the_head_and_changes_nothing(head, tmp_path):
    folder = tmp_path / "head"
    head.save_pretrained(folder)
    assert (folder / "README.md").read_text(encoding="utf-8") == model_card(head)
    assert _facts(str(folder))["kind"] == "head"
    head.save_pretrained(folder, license="mit")
    assert 'license: "mit"' in (folder / "README.md").read_text(encoding="utf-8")
    (folder / "README.md").unlink()
    assert Head.from_pretrained(folder).fingerprint == head.fingerprint
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert "license" not in config
    outputs = Head.from_pretrained(folder)(torch.zeros(2, 4, 5, dtype=torch.float64))
    assert outputs.shape == (2, 5)


def changed(head):
    other = head.to_module(torch.float64)
    with torch.no_grad():
        other.intercept[0] += 1e-9
    return other


@pytest.mark.parametrize("make", [lambda head: head.to_module(), changed])
def test_a_head_that_is_not_that_of_its_certificate_is_saved_without_it(head, tmp_path, make):
    head.save_pretrained(tmp_path / "head")
    before = sorted(path.name for path in (tmp_path / "head").iterdir())
    make(head).save_pretrained(tmp_path / "head", overwrite=True)
    after = sorted(path.name for path in (tmp_path / "head").iterdir())
    assert set(before) - set(after) == {"certificate.json", "training.safetensors"}
    told, body = front_matter((tmp_path / "head" / "README.md").read_text(encoding="utf-8"))
    assert "certified" not in told and "not the numbers that were certified" in body
    assert "with a proof" not in body and "relative gap" not in body
    with pytest.raises(InputError, match="no claim to verify"):
        verify(tmp_path / "head", np.zeros((20, 4, 5)), np.arange(20) % 5)


def test_a_copy_that_changes_nothing_keeps_its_certificate(head, tmp_path):
    head.to_module(torch.float64).save_pretrained(tmp_path / "head")
    assert Head.from_pretrained(tmp_path / "head").certificate == head.certificate


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"license": 3}, "license must be a text such as 'apache-2.0', or None, got 3"),
        ({"license": " "}, "license must be a text"),
        ({"metrics": 3}, "metrics must map names to numbers, such as {'accuracy': 0.93}, got 3"),
        ({"metrics": {"accuracy": float("nan")}}, "finite numbers, got nan for 'accuracy'"),
        ({"metrics": {"accuracy": "high"}}, "finite numbers, got 'high' for 'accuracy'"),
        ({"metrics": {1: 0.5}}, "finite numbers, got 0.5 for 1"),
    ],
)
def test_what_no_card_can_say_is_refused_before_anything_is_written(head, tmp_path, given, said):
    with pytest.raises(InputError, match=re.escape(said)):
        head.save_pretrained(tmp_path / "head", **given)
    assert not (tmp_path / "head").exists()


def test_metrics_are_numbers_of_any_library(head, tmp_path):
    head.save_pretrained(tmp_path / "head", metrics={"a": np.float32(0.5), "b": torch.tensor(0.25), "c": 1})
    card = (tmp_path / "head" / "README.md").read_text(encoding="utf-8")
    assert "| a | 0.5 |" in card and "| b | 0.25 |" in card and "| c | 1.0 |" in card
