from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headwise.errors import InputError
from headwise.files import claim_folder
from headwise.tokens import Augmentation, TokenStore, UnreadableImage, extract, make_splits, read_folder
from headwise.tokens import writer as writer_module
from headwise.tokens.from_arrays import shard_samples
from headwise.tokens.readers import image_array_samples


@pytest.fixture
def samples():
    images = np.random.default_rng(1).integers(0, 256, size=(30, 4, 4, 3), dtype=np.uint8)
    split = np.array(["train", "val", "test"])[np.arange(30) % 3]
    return image_array_samples(images, np.arange(30) % 2, split=split, description="noise")


OPTIONS = {"batch_size": 3, "shard_size": 6}


def content(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_tokens_are_those_of_the_backbone(samples, make_backbone, tmp_path):
    backbone, said, steps = make_backbone(), [], []
    store = extract(
        backbone,
        samples,
        tmp_path / "s",
        dtype="float32",
        announce=said.append,
        progress=lambda *a: steps.append(a),
        **OPTIONS,
    )
    images = backbone.preprocess([samples.image(i) for i in range(30)])
    assert torch.allclose(store.read().values, backbone.tokens(images, [2])[0])
    assert store.manifest.layer == 2
    assert store.grid == (2, 2)
    assert store.num_prefix == 1
    assert store.rows("val").tolist() == list(range(1, 30, 3))
    assert store.labels.tolist() == samples.labels.tolist()
    assert backbone.calls == 11  # ten batches and the one above: the timed batch is used
    assert len(said) == 1
    assert "30 images" in said[0]
    assert "MiB" in said[0]
    assert steps[-1] == ("extract tokens", 30, 30)


@pytest.mark.parametrize("stop", range(0, 10, 3))
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_resume_is_bit_identical_and_recomputes_nothing(samples, make_backbone, tmp_path, stop, kind):
    whole = extract(make_backbone(), samples, tmp_path / "whole", **OPTIONS)
    said = []
    backbone = make_backbone(stop_after=stop, stop_with=kind)
    with pytest.raises(kind):
        extract(backbone, samples, tmp_path / "parts", **OPTIONS, announce=said.append)
    finished = len(list((tmp_path / "parts").glob("shard-*")))
    assert finished == stop // 2
    if kind is KeyboardInterrupt:
        assert f"{finished} of 5 shards of tokens are finished" in said[-1]
    if finished:
        with pytest.raises(InputError, match="not finished"):
            TokenStore.open(tmp_path / "parts")
    second = make_backbone()
    resumed = extract(second, samples, tmp_path / "parts", **OPTIONS)
    assert second.images == 30 - 6 * finished
    assert resumed.fingerprint == whole.fingerprint
    assert content(resumed.path) == content(whole.path)
    third = make_backbone(stop_after=0)
    assert extract(third, samples, tmp_path / "parts", **OPTIONS).fingerprint == whole.fingerprint


def test_a_stop_loses_little_work():
    mib = 2**20
    assert shard_samples(None, mib, 1000) == 8
    assert shard_samples(None, 300, 2) == 2
    assert shard_samples(None, mib, 10_000) == 20
    assert shard_samples(None, mib, 10**7) == 32
    assert shard_samples(None, 100 * mib, 10) == 1


def test_kill_between_shard_and_manifest(samples, make_backbone, tmp_path, monkeypatch):
    whole = extract(make_backbone(), samples, tmp_path / "whole", **OPTIONS)
    real = writer_module.write_json

    def killed(path, data):
        if path.name == "manifest.json" and len(data["shards"]) == 2:
            raise SystemExit
        real(path, data)

    monkeypatch.setattr(writer_module, "write_json", killed)
    with pytest.raises(SystemExit):
        extract(make_backbone(), samples, tmp_path / "s", **OPTIONS)
    monkeypatch.undo()
    (tmp_path / "s" / ".shard-00002.safetensors.abc12.part").write_bytes(b"half")
    backbone = make_backbone()
    store = extract(backbone, samples, tmp_path / "s", **OPTIONS)
    assert backbone.images == 18
    assert content(store.path) == content(whole.path)


def test_broken_shard_is_made_again(samples, make_backbone, tmp_path):
    store = extract(make_backbone(), samples, tmp_path / "s", **OPTIONS)
    before = content(store.path)
    shard = store.path / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-2] + b"xx")
    (store.path / "shard-00003.safetensors").write_bytes(b"cut")
    backbone = make_backbone()
    extract(backbone, samples, tmp_path / "s", **OPTIONS)
    assert backbone.images == 12
    assert content(store.path) == before


def test_other_settings_are_refused_by_name(samples, make_backbone, tmp_path):
    extract(make_backbone(), samples, tmp_path / "s", **OPTIONS)
    with pytest.raises(InputError, match=r"layer: 2 there, 0 asked"):
        extract(make_backbone(), samples, tmp_path / "s", layer=0, **OPTIONS)
    with pytest.raises(InputError, match="weights_hash"):
        extract(make_backbone(weights_hash="1" * 64), samples, tmp_path / "s", **OPTIONS)
    with pytest.raises(InputError, match="source"):
        extract(make_backbone(), samples.select(np.arange(30)[::-1]), tmp_path / "s", **OPTIONS)
    other = extract(make_backbone(), samples, tmp_path / "s", layer=0, overwrite=True, **OPTIONS)
    assert other.manifest.layer == 0
    other.verify_content()


def test_what_differs_in_the_data_is_said(samples, make_backbone, tmp_path):
    def again(changed):
        with pytest.raises(InputError) as refused:
            extract(make_backbone(), changed, tmp_path / "s", **OPTIONS)
        return str(refused.value).partition("(")[2].partition(")")[0]

    extract(make_backbone(), samples, tmp_path / "s", **OPTIONS)
    assert again(samples.with_split(samples.split[::-1])) == "source: other splits there than asked"
    assert again(replace(samples, labels=samples.labels[::-1])) == "source: other labels there than asked"
    assert again(samples.select(np.arange(30)[::-1])) == "source: other samples there than asked"
    both = replace(samples, labels=samples.labels[::-1], groups=np.arange(30).astype(str))
    assert "source: other labels and groups there than asked" in again(both)
    assert "same names and labels with other content" in again(replace(samples, fingerprint="0" * 64))
    told = again(replace(samples, description="silence"))
    assert told == "source: description 'noise' there, 'silence' asked"


def test_a_store_without_hashes_of_columns_is_used_again(samples, make_backbone, tmp_path):
    extract(make_backbone(), samples, tmp_path / "s", **OPTIONS)
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    del manifest["source"]["columns"]
    (tmp_path / "s" / "manifest.json").write_text(json.dumps(manifest))
    backbone = make_backbone()
    extract(backbone, samples, tmp_path / "s", **OPTIONS)
    assert backbone.images == 0
    with pytest.raises(InputError, match="other samples, labels, splits or groups there than asked"):
        extract(backbone, samples.with_split(samples.split[::-1]), tmp_path / "s", **OPTIONS)


def test_splits_are_made_where_asked(samples, make_backbone, tmp_path):
    bare = replace(samples, split=None)
    without = extract(make_backbone(), bare, tmp_path / "none", **OPTIONS)
    assert without.split is None
    with pytest.raises(InputError, match=r"fractions=\(0.6, 0.2, 0.2\)"):
        without.rows("train")
    store = extract(make_backbone(), bare, tmp_path / "s", fractions=(0.5, 0.5, 0), seed=3, **OPTIONS)
    assert store.split.tolist() == make_splits(bare.labels, fractions=(0.5, 0.5, 0), seed=3).tolist()
    given = extract(make_backbone(), samples, tmp_path / "given", fractions=(0.6, 0.2, 0.2), **OPTIONS)
    assert given.split.tolist() == samples.split.tolist()
    for wrong in (True, "half", (0.5, "a", 0.5), (0.6, 0.3)):
        with pytest.raises(InputError, match="three shares with sum 1"):
            extract(make_backbone(), bare, tmp_path / "no", fractions=wrong, **OPTIONS)


def test_full_disk(samples, make_backbone, tmp_path, monkeypatch):
    whole = extract(make_backbone(), samples, tmp_path / "whole", **OPTIONS)
    real = writer_module.replacing

    def full(path):
        if path.name == "shard-00003.safetensors":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path)

    monkeypatch.setattr(writer_module, "replacing", full)
    with pytest.raises(InputError, match="full; 3 of 5 shards"):
        extract(make_backbone(), samples, tmp_path / "s", **OPTIONS)
    monkeypatch.undo()
    backbone = make_backbone()
    assert extract(backbone, samples, tmp_path / "s", **OPTIONS).fingerprint == whole.fingerprint
    assert backbone.images == 12


def test_too_little_room(samples, make_backbone, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(1, 1, 30 * 5 * 6 * 2))
    backbone = make_backbone()
    with pytest.raises(InputError, match="free"):
        extract(backbone, samples, tmp_path / "s", **OPTIONS)
    assert backbone.calls == 0


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(2)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(5):
            pixels = rng.integers(0, 256, size=(6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    return tmp_path / "images"


def test_broken_images_are_skipped_or_refused(folder, make_backbone, tmp_path):
    whole = extract(make_backbone(), read_folder(folder), tmp_path / "whole", **OPTIONS)
    png = (folder / "cat" / "3.png").read_bytes()
    (folder / "cat" / "3.png").write_bytes(png[: len(png) // 2])
    (folder / "dog" / "0.png").write_bytes(b"not an image")
    samples, said = read_folder(folder), []
    store = extract(make_backbone(), samples, tmp_path / "s", announce=said.append, batch_size=1, shard_size=3)
    assert [name for name, _ in store.skipped] == ["cat/3.png", "dog/0.png"]
    assert "skipped 2 of 10" in said[-1]
    assert "cat/3.png" in said[-1]
    kept = [0, 1, 2, 4, 6, 7, 8, 9]
    assert store.ids == tuple(samples.ids[i] for i in kept)
    assert store.labels.tolist() == [0] * 4 + [1] * 4
    assert torch.equal(store.read(np.arange(8)[::-1].copy()).values, whole.read(kept[::-1]).values)
    with pytest.raises(UnreadableImage, match=r"cat/3\.png"):
        extract(make_backbone(), samples, tmp_path / "strict", strict=True)
    with pytest.raises(UnreadableImage, match=r"cat/3\.png"):
        extract(make_backbone(), samples, tmp_path / "s", batch_size=1, shard_size=3, strict=True)


def test_resume_with_broken_images(folder, make_backbone, tmp_path):
    for name in ("cat/0.png", "cat/1.png", "dog/4.png"):
        (folder / name).write_bytes(b"\x89PNG")
    samples, options = read_folder(folder), {"batch_size": 2, "shard_size": 2}
    whole = extract(make_backbone(), samples, tmp_path / "whole", **options)
    assert whole.manifest.shards[0].samples == 0
    with pytest.raises(RuntimeError):
        extract(make_backbone(stop_after=2), samples, tmp_path / "s", **options)
    assert content(extract(make_backbone(), samples, tmp_path / "s", **options).path) == content(whole.path)


def test_nothing_readable(folder, make_backbone, tmp_path):
    for file in folder.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match="none of the 10 images"):
        extract(make_backbone(), read_folder(folder), tmp_path / "s")


def test_non_finite_tokens_name_the_image(samples, make_backbone, tmp_path):
    image = make_backbone().preprocess([samples.image(17)])[0]
    backbone = make_backbone(nan_for=hashlib.sha256(image.numpy().tobytes()).hexdigest())
    with pytest.raises(InputError, match=r"image '17' \(number 17\) hold NaN"):
        extract(backbone, samples, tmp_path / "s", **OPTIONS)
    with pytest.raises(InputError, match="too large for float16"):
        extract(make_backbone(scale=1e6), samples, tmp_path / "big", **OPTIONS)


VIEWS = {"views": 3, "view_seed": 1, "dtype": "float32"}


def test_views(samples, make_backbone, tmp_path):
    said = []
    store = extract(make_backbone(), samples, tmp_path / "a", announce=said.append, **VIEWS, **OPTIONS)
    plain = extract(make_backbone(), samples, tmp_path / "p", dtype="float32", **OPTIONS)
    again = extract(make_backbone(), samples, tmp_path / "b", **VIEWS, batch_size=7, shard_size=30)
    other = extract(make_backbone(), samples, tmp_path / "c", **VIEWS | {"view_seed": 2}, **OPTIONS)
    assert store.num_views == 3
    assert "30 images x 3 views: 0.0 MiB" in said[0]
    assert torch.equal(store.read().values, plain.read().values)
    for view in range(3):
        assert torch.allclose(store.read(view=view).values, again.read(view=view).values, atol=1e-5)
    assert not torch.allclose(store.read(view=1).values, store.read(view=2).values)
    assert not torch.allclose(store.read(view=1).values, other.read(view=1).values)


def test_a_view_is_the_backbone_on_the_augmented_image(samples, make_backbone, tmp_path):
    augmentation = Augmentation(crop_scale=(0.3, 0.6), flip=False)
    backbone = make_backbone()
    store = extract(backbone, samples, tmp_path / "s", augmentation=augmentation, **VIEWS, **OPTIONS)
    views = [augmentation(samples.image(i), 1, i, 2) for i in (17, 4)]
    wanted = backbone.tokens(backbone.preprocess(views), [2])[0]
    assert torch.allclose(store.read([17, 4], view=2).values, wanted)


@pytest.mark.parametrize("stop", [3, 6, 20])
def test_resume_with_views_is_bit_identical(samples, make_backbone, tmp_path, stop):
    whole = extract(make_backbone(), samples, tmp_path / "whole", **VIEWS, **OPTIONS)
    with pytest.raises(RuntimeError):
        extract(make_backbone(stop_after=stop), samples, tmp_path / "parts", **VIEWS, **OPTIONS)
    second = make_backbone()
    assert content(extract(second, samples, tmp_path / "parts", **VIEWS, **OPTIONS).path) == content(whole.path)
    assert second.images == 3 * (30 - 6 * (stop // 6))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"views": 2}, "views: 3 there, 2 asked"),
        ({"views": 1}, "views: 3 there, 1 asked"),
        ({"view_seed": 5}, "view_seed: 1 there, 5 asked"),
        ({"augmentation": Augmentation(crop_scale=(0.5, 1.0))}, r"crop_scale: \[0.4, 1.0\] there, \[0.5, 1.0\] asked"),
        ({"augmentation": Augmentation(crop_ratio=(1.0, 1.0))}, "crop_ratio"),
        ({"augmentation": Augmentation(flip=False)}, "flip: True there, False asked"),
    ],
)
def test_other_views_are_refused_by_name(samples, make_backbone, tmp_path, change, said):
    store = extract(make_backbone(), samples, tmp_path / "s", **VIEWS, **OPTIONS)
    assert store.manifest.augmentation == {"crop_scale": [0.4, 1.0], "crop_ratio": [3 / 4, 4 / 3], "flip": True}
    with pytest.raises(InputError, match=said):
        extract(make_backbone(), samples, tmp_path / "s", **VIEWS | change, **OPTIONS)


def test_settings_of_views_do_not_concern_a_store_without(samples, make_backbone, tmp_path):
    first = extract(make_backbone(), samples, tmp_path / "s", view_seed=1, **OPTIONS)
    assert first.manifest.augmentation is None
    augmentation = Augmentation(flip=False)
    extract(make_backbone(stop_after=0), samples, tmp_path / "s", view_seed=2, augmentation=augmentation, **OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 3}, "layers 0 to 2"),
        ({"at": "middle"}, "block_input"),
        ({"dtype": "int8"}, "dtype"),
        ({"views": 0}, "at least 1"),
        ({"view_seed": -1}, "view_seed must be a whole number of at least 0, got -1"),
    ],
)
def test_bad_settings(samples, make_backbone, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        extract(make_backbone(), samples, tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_wrong_shape_from_the_backbone(samples, make_backbone, tmp_path):
    with pytest.raises(InputError, match="fake gives tokens of shape"):
        extract(make_backbone(width=7), samples, tmp_path / "s")


def test_errors_of_the_system_are_not_taken_for_broken_images(samples, make_backbone, tmp_path):
    def load(index):
        raise OSError(errno.EMFILE, "too many open files")

    object.__setattr__(samples, "load", load)
    with pytest.raises(OSError, match="too many open files"):
        extract(make_backbone(), samples, tmp_path / "s")


def test_a_whole_store_is_not_written_again(samples, make_backbone, tmp_path, monkeypatch):
    whole = extract(make_backbone(), samples, tmp_path / "s", **OPTIONS)

    def refuse(*args, **options):
        raise PermissionError("read-only")

    for name in ("replacing", "write_json", "write_tensors"):
        monkeypatch.setattr(writer_module, name, refuse)
    again = extract(make_backbone(stop_after=0), samples, tmp_path / "s", **OPTIONS)
    assert again.fingerprint == whole.fingerprint


def test_damaged_table_is_written_again(samples, make_backbone, tmp_path):
    store = extract(make_backbone(), samples, tmp_path / "s", **OPTIONS)
    before = content(store.path)
    (store.path / "ids.json").write_text("[]")
    extract(make_backbone(stop_after=0), samples, tmp_path / "s", **OPTIONS)
    assert content(store.path) == before


def test_a_head_is_never_overwritten(samples, make_backbone, tmp_path):
    claim_folder(tmp_path / "head", "head", {})
    with pytest.raises(InputError, match="holds a headwise head"):
        extract(make_backbone(), samples, tmp_path / "head", overwrite=True)
    assert len(content(tmp_path / "head")) == 1


def test_killed_process(samples, tmp_path):
    """A real SIGKILL in the middle of a write, then the same command again."""
    script = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from conftest import FakeBackbone
import numpy as np
from headwise.tokens import extract
from headwise.tokens import writer
from headwise.tokens.readers import image_array_samples
real = writer.replacing
def killed(path):
    if sys.argv[3] == "kill" and path.name == "shard-00002.safetensors":
        manager = real(path)
        part = manager.__enter__()
        part.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return real(path)
writer.replacing = killed
images = np.random.default_rng(1).integers(0, 256, size=(30, 4, 4, 3), dtype=np.uint8)
samples = image_array_samples(images, np.arange(30) % 2)
print(extract(FakeBackbone(), samples, sys.argv[2], batch_size=3, shard_size=6).fingerprint)
"""

    def run(folder, mode):
        command = [sys.executable, "-c", script, str(Path(__file__).parent), str(folder), mode]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=env)

    assert run(tmp_path / "s", "kill").returncode == -9
    assert list((tmp_path / "s").glob(".*.part"))
    resumed, whole = run(tmp_path / "s", "go"), run(tmp_path / "whole", "go")
    assert resumed.stdout == whole.stdout, resumed.stderr
    assert len(whole.stdout.strip()) == 64
    assert content(tmp_path / "s") == content(tmp_path / "whole")


def test_what_is_no_backbone_or_no_images(samples, make_backbone, tmp_path):
    for backbone, data, said in (
        ("embedded", "digits", r"headwise\.load_backbone\('embedded'\)"),
        (samples, make_backbone(), "a backbone is needed, got a ImageSamples"),
        (
            make_backbone(),
            TokenStore.from_arrays(tmp_path / "t", np.ones((4, 3)), range(4)),
            "images or texts are needed",
        ),
        (make_backbone(), np.ones((4, 3)), r"data is a ndarray of shape \(4, 3\).*TokenStore\.from_arrays"),
        (make_backbone(), "digit", "did you mean digits"),
    ):
        with pytest.raises(InputError, match=said):
            extract(backbone, data, tmp_path / "s")
    with pytest.raises(InputError, match="device 'gpu' cannot be used"):
        extract(make_backbone(), samples, tmp_path / "s", device="gpu")
    with pytest.raises(InputError, match="batch_size must be a whole number of at least 1"):
        extract(make_backbone(), samples, tmp_path / "s", batch_size="a")
    assert not (tmp_path / "s").exists()


def test_images_may_be_named(make_backbone, tmp_path):
    assert extract(make_backbone(), "digits", tmp_path / "s", batch_size=600).num_samples == 1797
