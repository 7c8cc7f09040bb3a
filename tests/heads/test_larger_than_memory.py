"""Statistics on disk give the same fits as statistics in memory, and a memory limit decides between them."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from headwise import HeadClassifier, HeadRegressor, TokenStore, verify
from headwise.errors import InputError
from headwise.heads import memory as memory_room
from headwise.heads.condense import condense
from headwise.heads.memory import Memory, as_memory
from headwise.heads.reading import Reading
from headwise.solvers import HeldPasses, SpilledPasses


@pytest.fixture
def small_room(monkeypatch, tmp_path):
    """A limit that leaves no room for statistics, whatever Python takes on this machine."""
    monkeypatch.setattr(Memory, "holds", lambda self, size: self.limit is None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def data(n=70, s=9, d=5):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    X = rng.normal(size=(n, s, d))
    X[np.arange(n), y] += 1
    return X, y


@pytest.mark.parametrize("gate", ["none", "rank_one"])
def test_the_same_fit_from_disk(small_room, gate):
    X, y = data()
    settings = {"beta": 1e-2, "tol": 1e-7, "n_components": 4, "gate": gate, "num_gates": 2, "max_rounds": 200}
    held = HeadClassifier("attention", **settings).fit(X, y)
    spilled = HeadClassifier("attention", **settings, max_memory="4GB").fit(X, y)
    assert spilled.certificate_.primal == pytest.approx(held.certificate_.primal, rel=1e-6)
    assert spilled.certificate_.relative_gap <= 1e-7
    assert verify(spilled.head_, spilled_source(X), y).holds


def spilled_source(X):
    from headwise.tokens import ArrayTokens

    return ArrayTokens(X)


def test_moments_from_disk(small_room):
    X, y = data()
    settings = {"beta": 1e-2, "tol": 1e-8, "condition": False, "solver": "moments"}
    held = HeadRegressor("linear", **settings).fit(X, y * 1.0)
    spilled = HeadRegressor("linear", **settings, max_memory="4GB").fit(X, y * 1.0)
    np.testing.assert_allclose(spilled.predict(X), held.predict(X), rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_what_is_read_is_what_was_written(dtype):
    passes = SpilledPasses(70)
    stats = [{"a": torch.randn(70, 3, 2).double(), "b": torch.randn(70, 500).double()}, {"a": torch.randn(70).double()}]
    for rows in (slice(0, 41), slice(41, 42), slice(42, 70)):
        passes.append([{k: v[rows] for k, v in part.items()} for part in stats])
    seen = []
    for rows, found in passes.chunks(dtype):
        seen += range(rows.start, rows.stop)
        for part, own in zip(stats, found, strict=True):
            for name, value in part.items():
                torch.testing.assert_close(own[name], value[rows].to(dtype), rtol=0, atol=0)
    assert seen == list(range(70))


def test_the_file_goes_with_the_passes(small_room):
    passes = SpilledPasses(4)
    passes.append([{"a": torch.ones(4, 2).double()}])
    assert len(list(small_room.iterdir())) == 1
    del passes
    gc.collect()
    assert not list(small_room.iterdir())


def test_a_full_disk_is_refused_before_anything_is_written(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
    with pytest.raises(InputError, match=r"(?s)GiB on disk.*TMPDIR"):
        SpilledPasses(40).append([{"a": torch.ones(40, 2).double()}])


def test_the_limit_decides():
    X, y = data()
    parts = HeadClassifier("attention", n_components=4).fit(X, y).head_.parts
    source, rows = spilled_source(X), np.arange(70)
    fitted = [part.fitted for part in parts]
    assert isinstance(condense(source, rows, fitted), HeldPasses)
    work = memory_room.WORK
    assert isinstance(condense(source, rows, fitted, Reading(Memory(work + 2**20))), HeldPasses)
    assert isinstance(condense(source, rows, fitted, Reading(Memory(work + 1000))), SpilledPasses)


@pytest.mark.parametrize(
    ("given", "size"),
    [("1GB", 2**30), ("1.5 GiB", 3 * 2**29), ("900mb", 900 * 2**20), ("2048", 2048), (7, 7), (None, None)],
)
def test_sizes(given, size, monkeypatch):
    monkeypatch.setattr(memory_room, "resident", lambda: 0)
    monkeypatch.setattr(memory_room, "WORK", 0)
    assert as_memory(given).limit == size


@pytest.mark.parametrize("given", ["much", "-1GB", 0, -5, True, 1.5, "1 PB"])
def test_impossible_sizes(given):
    with pytest.raises(InputError, match="max_memory"):
        as_memory(given)


def test_a_limit_below_what_python_takes_is_refused():
    X, y = data()
    with pytest.raises(InputError, match="give at least"):
        HeadClassifier("attention", max_memory="1MB").fit(X, y)


MEASURE = r"""
import pathlib, re, sys
from headwise import HeadClassifier, TokenStore
model = HeadClassifier("attention", beta=0.02, tol=1e-2, n_components=32, max_memory=int(sys.argv[2]))
model.fit(TokenStore.open(sys.argv[1]))
# not ru_maxrss: a new process starts with that of the one that made it
print(re.search(r"VmHWM:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc; run on Linux")
def test_a_store_larger_than_the_limit_keeps_to_it(tmp_path):
    """The store is 1.2 times the limit, its statistics in memory would be 1.6 times: the peak stays below."""
    limit, rng = 640 * 2**20, np.random.default_rng(0)
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float16, (60_000, 98, 64))
    for start in range(0, len(X), 5000):
        X[start : start + 5000] = rng.standard_normal((5000, 98, 64), dtype=np.float32)
    TokenStore.from_arrays(tmp_path / "store", X, np.arange(len(X)) % 4)
    found = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "store", str(limit)], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) * 1024 <= limit
