from __future__ import annotations

import hashlib
import json
import shutil
import tempfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from headwise.errors import InputError
from headwise.tokens import FORMAT_VERSION, TokenStore
from headwise.tokens.manifest import Manifest


@pytest.fixture
def store(tmp_path, tokens):
    return TokenStore.from_arrays(
        tmp_path / "store",
        tokens,
        np.arange(23) % 3,
        split=["train"] * 12 + ["val"] * 5 + ["test"] * 4 + [""] * 2,
        groups=np.arange(23) // 2,
        class_names=["a", "b", "c"],
        grid=(2, 2),
        num_prefix=1,
        ids=[f"s{i}" for i in range(23)],
        dtype="float32",
        shard_size=4,
    )


def edit(store, **changes):
    file = store.path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_round_trip_of_any_rows(data):
    n, views, s, d = (data.draw(st.integers(1, 7), label=name) for name in ("n", "views", "s", "d"))
    dtype = data.draw(st.sampled_from(["float16", "bfloat16", "float32", "float64"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    values = torch.from_numpy(rng.normal(size=(n, views, s, d)))
    mask = torch.from_numpy(rng.random((n, views, s)) < 0.6) if data.draw(st.booleans()) else None
    if mask is not None:
        mask[..., 0] = True
    rows = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=12)), dtype=np.int64)
    with tempfile.TemporaryDirectory() as folder:
        store = TokenStore.from_arrays(
            folder, values, rng.integers(0, 3, n), mask=mask, dtype=dtype, shard_size=data.draw(st.integers(1, 5))
        )
        expected = values.to(getattr(torch, dtype)).double()
        if mask is not None:
            expected = expected * mask[..., None]
        view = data.draw(st.integers(0, views - 1))
        size = data.draw(st.one_of(st.none(), st.integers(1, 4)))
        parts = list(store.chunks(rows, size, view, torch.float64))
        assert np.array_equal(np.concatenate([rows[:0], *(r for r, _ in parts)]), rows)
        for part, got in parts:
            assert torch.equal(got.values, expected[part, view])
            assert (got.mask is None) == (mask is None)
            if mask is not None:
                assert torch.equal(got.mask, mask[part, view])
        store.verify_content()


def test_properties(store, tokens):
    assert (store.num_samples, store.num_views, store.num_tokens, store.width) == (23, 1, 5, 3)
    assert (store.num_prefix, store.grid, store.class_names) == (1, (2, 2), ("a", "b", "c"))
    assert store.labels.dtype == np.int64
    assert store.labels.tolist() == (np.arange(23) % 3).tolist()
    assert store.rows("val").tolist() == [12, 13, 14, 15, 16]
    assert store.split[21:].tolist() == ["", ""]
    assert store.manifest.split_names == ("train", "val", "test")
    assert store.groups.tolist() == [str(i // 2) for i in range(23)]
    assert store.ids[22] == "s22"
    chosen = np.arange(23) % 2 == 0
    assert torch.equal(store.read(chosen).values, torch.from_numpy(tokens[chosen]))
    assert store.read(np.zeros(0, int)).values.shape == (0, 5, 3)
    with pytest.raises(InputError, match="train, val, test"):
        store.rows("dev")
    with pytest.raises(InputError, match="row 23"):
        store.read([23])
    with pytest.raises(InputError, match="view 1"):
        store.read([0], view=1)


def test_labels_of_all_kinds(tmp_path, tokens):
    text = TokenStore.from_arrays(tmp_path / "t", tokens, ["dog", "cat", *["cat"] * 21])
    assert text.class_names == ("cat", "dog")
    assert text.labels[:2].tolist() == [1, 0]
    real = TokenStore.from_arrays(tmp_path / "r", tokens, np.linspace(0, 1, 23))
    assert real.labels.dtype == np.float64
    assert real.class_names == ()
    with pytest.raises(InputError, match="label of sample 3"):
        TokenStore.from_arrays(tmp_path / "n", tokens, np.where(np.arange(23) == 3, np.nan, 0.5))
    with pytest.raises(InputError, match="label 2 has no class name"):
        TokenStore.from_arrays(tmp_path / "c", tokens, np.arange(23) % 3, class_names=["a", "b"])


def test_whole_numbers(tmp_path):
    values = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    store = TokenStore.from_arrays(tmp_path, values, [0, 1, 0, 1], shard_size=3)
    assert torch.equal(store.read().values, torch.from_numpy(values).float())


def test_memory_map_and_matrix(tmp_path, tokens):
    np.save(tmp_path / "x.npy", tokens[:, 0])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    store = TokenStore.from_arrays(tmp_path / "s", mapped, np.arange(23) % 2, dtype="float32")
    assert torch.equal(store.read().values[:, 0], torch.from_numpy(tokens[:, 0]))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_tokens_name_the_sample(tmp_path, tokens, value):
    tokens[[9, 11], 2, 1] = value
    ids = [f"img{i}" for i in range(23)]
    with pytest.raises(InputError, match=r"'img9' \(row 9\) hold NaN.*2 such"):
        TokenStore.from_arrays(tmp_path / "s", tokens, np.arange(23) % 2, ids=ids)
    hidden = np.ones((23, 5), dtype=bool)
    hidden[[9, 11], 2] = False
    store = TokenStore.from_arrays(tmp_path / "m", tokens, np.arange(23) % 2, mask=hidden)
    assert torch.isfinite(store.read().values).all()
    assert torch.equal(store.read().mask, torch.from_numpy(hidden))


def test_values_beyond_float16(tmp_path, tokens):
    tokens[4, 0, 0] = 1e5
    with pytest.raises(InputError, match=r"row 4.*too large for float16"):
        TokenStore.from_arrays(tmp_path / "s", tokens, np.arange(23) % 2)
    assert (
        TokenStore.from_arrays(tmp_path / "s32", tokens, np.arange(23) % 2, dtype="float32").read([4]).values.max()
        == 1e5
    )


def test_ragged_and_bad_shapes(tmp_path):
    with pytest.raises(InputError, match=r"ragged.*mask"):
        TokenStore.from_arrays(tmp_path / "s", [np.ones((2, 3)), np.ones((4, 3))], [0, 1])
    with pytest.raises(InputError, match="grid"):
        TokenStore.from_arrays(tmp_path / "s", np.ones((2, 5, 3)), [0, 1], grid=(2, 3))
    with pytest.raises(InputError, match="one label for each"):
        TokenStore.from_arrays(tmp_path / "s", np.ones((2, 5, 3)), [0, 1, 1])
    with pytest.raises(InputError, match="hides all tokens of sample 1"):
        TokenStore.from_arrays(tmp_path / "s", np.ones((2, 2, 3)), [0, 1], mask=[[True, True], [False, False]])


def test_fingerprint_depends_on_tokens_alone(tmp_path, tokens):
    def make(name, values=tokens, labels=None, **options):
        y = np.arange(23) % 2 if labels is None else labels
        return TokenStore.from_arrays(tmp_path / name, values, y, shard_size=5, **options).fingerprint

    first = make("a")
    assert make("b") == first
    assert make("c", labels=np.arange(23) % 3) == first
    other = tokens.copy()
    other[22, 4, 2] += 1
    assert make("d", other) != first
    assert make("e", num_prefix=1) != first
    assert make("f", grid=(1, 5)) != first


def test_damage_is_found(store):
    file = store.path / "shard-00002.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=r"shard-00002.safetensors has changed"):
        TokenStore.open(store.path).verify_content()
    file.write_bytes(whole[:-3])
    with pytest.raises(InputError, match=r"shard-00002.safetensors is cut short"):
        TokenStore.open(store.path)
    file.write_bytes(b"\xff" * 20)
    with pytest.raises(InputError, match="shard-00002"):
        TokenStore.open(store.path)
    file.unlink()
    with pytest.raises(InputError, match=r"shard-00002.safetensors is missing"):
        TokenStore.open(store.path)


def test_damaged_table(store):
    file = store.path / "samples.safetensors"
    save_file({"labels": torch.arange(23)}, file)
    with pytest.raises(InputError, match="class code has no name"):
        TokenStore.open(store.path)
    file.write_bytes(b"")
    with pytest.raises(InputError, match=r"samples.safetensors cannot be read"):
        TokenStore.open(store.path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": FORMAT_VERSION + 1}, "newer headwise"),
        ({"format_version": True}, "format_version"),
        ({"shape": [23, 1, 5]}, "shape"),
        ({"shape": [24, 1, 5, 3]}, "shape says 24"),
        ({"num_prefix": 9}, "num_prefix"),
        ({"dtype": "object"}, "dtype"),
        ({"extra": 1}, "unknown field extra"),
        ({"complete": False}, "not finished"),
        ({"shards": [{"name": "../../secret", "samples": 23, "sha256": "0" * 64}]}, "not named"),
    ],
)
def test_hostile_manifests(store, changes, message):
    edit(store, **changes)
    with pytest.raises(InputError, match=message):
        TokenStore.open(store.path)


def test_check_lists_what_differs(store):
    store.check({"dtype": "float32", "grid": (2, 2), "num_prefix": 1})
    with pytest.raises(InputError) as error:
        store.check({"dtype": "float16", "layer": 3, "num_prefix": 1})
    said = str(error.value)
    assert "dtype: 'float16' asked, 'float32' there" in said
    assert "layer: 3 asked, None there" in said
    assert "num_prefix" not in said


def test_store_moves_and_holds_no_absolute_path(store, tokens, tmp_path):
    shutil.move(store.path, tmp_path / "elsewhere")
    moved = TokenStore.open(tmp_path / "elsewhere")
    assert moved.fingerprint == store.fingerprint
    assert torch.equal(moved.read([22]).values[0], torch.from_numpy(tokens[22]))
    assert str(tmp_path) not in (moved.path / "manifest.json").read_text()


def test_writing_again(tmp_path, tokens):
    y = np.arange(23) % 2
    first = TokenStore.from_arrays(tmp_path / "s", tokens, y, shard_size=4)
    written = {file.name: file.stat().st_mtime_ns for file in first.path.glob("shard-*")}
    again = TokenStore.from_arrays(tmp_path / "s", tokens, y, shard_size=4)
    assert again.fingerprint == first.fingerprint
    assert written == {file.name: file.stat().st_mtime_ns for file in first.path.glob("shard-*")}
    with pytest.raises(InputError, match="other tokens"):
        TokenStore.from_arrays(tmp_path / "s", tokens + 1, y, shard_size=4)
    with pytest.raises(InputError, match="dtype"):
        TokenStore.from_arrays(tmp_path / "s", tokens, y, shard_size=4, dtype="float32")
    short = TokenStore.from_arrays(tmp_path / "s", tokens[:5], y[:5], shard_size=4, overwrite=True)
    assert short.num_samples == 5
    assert len(list(short.path.glob("shard-*"))) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match="did not make"):
        TokenStore.from_arrays(tmp_path / "mine", tokens, y, overwrite=True)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_format_version_1_still_opens(tmp_path):
    """A store written by hand, byte for byte what version 1 promises."""
    values = torch.arange(2 * 1 * 3 * 2, dtype=torch.float16).reshape(2, 1, 3, 2)
    save_file({"tokens": values}, tmp_path / "shard-00000.safetensors")
    save_file(
        {"labels": torch.tensor([1, 0]), "split": torch.tensor([0, 255], dtype=torch.uint8)},
        tmp_path / "samples.safetensors",
    )
    (tmp_path / "ids.json").write_text('["x", "y"]')
    digest = hashlib.sha256((tmp_path / "shard-00000.safetensors").read_bytes()).hexdigest()
    manifest = {
        "format_version": 1,
        "backbone": "vit",
        "weights_hash": "ab",
        "layer": 11,
        "at": "output",
        "preprocessing": {"image_size": [224, 224]},
        "dtype": "float16",
        "shape": [2, 1, 3, 2],
        "num_inputs": 3,
        "shard_size": 3,
        "num_prefix": 1,
        "grid": [1, 2],
        "has_mask": False,
        "class_names": ["no", "yes"],
        "split_names": ["train"],
        "group_names": [],
        "shards": [{"name": "shard-00000.safetensors", "samples": 2, "sha256": digest}],
        "samples": {},
        "skipped": [["z", "UnidentifiedImageError"]],
        "complete": True,
        "source": {"description": "by hand", "hash": "cd"},
        "augmentation": None,
        "seed": 0,
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    store = TokenStore.open(tmp_path)
    store.verify_content()
    assert torch.equal(store.read([1, 0]).values, values[[1, 0], 0].float())
    assert store.split.tolist() == ["train", ""]
    assert store.skipped == (("z", "UnidentifiedImageError"),)
    assert Manifest.from_json(store.manifest.to_json(), "manifest") == store.manifest


def test_no_store(tmp_path):
    with pytest.raises(InputError, match="not a token store"):
        TokenStore.open(tmp_path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ids": ["a", "b", "a", "c"]}, r"ids must differ; 'a' is given more than once"),
        ({"tokens": np.ma.masked_less(np.arange(12.0).reshape(4, 3), 2)}, "tokens are a NumPy masked array"),
        ({"labels": np.ma.masked_equal([0, 1, 0, 1], 1)}, "labels are a NumPy masked array"),
        ({"grid": 3}, "grid must be two whole numbers"),
        ({"num_prefix": 0.5}, "num_prefix must be a whole number"),
    ],
)
def test_arrays_that_would_be_misread_are_refused(tmp_path, changed, said):
    given = {"tokens": np.ones((4, 3)), "labels": [0, 1, 0, 1]} | changed
    with pytest.raises(InputError, match=said):
        TokenStore.from_arrays(tmp_path / "s", **given)
