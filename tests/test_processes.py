"""Several processes share a fit: the same objective, an equally valid certificate, and a clear end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from headwise import TokenStore, verify
from headwise.processes import Processes

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(101) % 3
    X = rng.normal(size=(101, 9, 5))
    X[np.arange(101), y] += 1
    split = np.where(np.arange(101) % 4 == 0, "val", "train")
    TokenStore.from_arrays(tmp_path / "store", X, y, split=split, dtype="float64", num_prefix=1)
    return tmp_path / "store"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_runs_are_a_partition(size):
    runs = [Processes(rank, size).run(10) for rank in range(size)]
    assert [i for run in runs for i in range(run.start, run.stop)] == list(range(10))
    assert max(r.stop - r.start for r in runs) - min(r.stop - r.start for r in runs) <= 1


def fit(store, out, *more, launch=()):
    command = [*(launch or [sys.executable]), "-m", "headwise", "fit", store, out, "--json", "--tol", "1e-7"]
    return subprocess.run([*map(str, command), *map(str, more)], capture_output=True, text=True)


@pytest.mark.parametrize(
    "options",
    [
        ("--block", "default", "--beta", 0.01),
        ("--block", "attention", "--gate", "cluster", "--num-gates", 3, "--betas", 3),
    ],
)
def test_two_processes_reach_the_objective_of_one(store, tmp_path, options):
    alone = fit(store, tmp_path / "alone", *options)
    both = fit(store, tmp_path / "both", *options, launch=LAUNCH)
    assert alone.returncode == both.returncode == 0, both.stderr
    one, two = (json.loads(run.stdout)["certificate"] for run in (alone, both))
    assert two["primal"] == pytest.approx(one["primal"], rel=1e-6)
    assert two["relative_gap"] <= 1e-7
    assert two["num_samples"] == one["num_samples"] == 75
    assert verify(tmp_path / "both", store).holds


def test_more_processes_than_samples(tmp_path):
    rng = np.random.default_rng(0)
    TokenStore.from_arrays(tmp_path / "tiny", rng.normal(size=(2, 4, 5)), [0, 1])
    found = fit(tmp_path / "tiny", tmp_path / "head", "--beta", 0.1, launch=[*LAUNCH[:-1], "--nproc-per-node=3"])
    assert found.returncode != 0
    assert found.stderr.count("3 processes share 2 samples; start at most 2 of them") == 1


def test_what_the_first_process_refuses_ends_all(store, tmp_path):
    assert fit(store, tmp_path / "head", "--beta", 0.1).returncode == 0
    found = fit(store, tmp_path / "head", "--beta", 0.2, launch=LAUNCH)
    assert found.returncode != 0
    assert "holds a head made with other settings" in found.stderr
    assert "start the same job again" not in found.stderr
    assert found.stderr.count("error:") == 1


ARRAYS = """
import json, sys
import numpy as np
from headwise import HeadClassifier, HeadRegressor, PartSpec, processes
from headwise.tokens import ArrayTokens

read, chunks = [], ArrayTokens.chunks


def counted(self, rows=None, size=None):
    for part, tokens in chunks(self, rows, 101):
        read.append(len(part))
        yield part, tokens


ArrayTokens.chunks = counted
rng = np.random.default_rng(0)
y = np.arange(101) % 3
X = rng.normal(size=(101, 9, 5))
X[np.arange(101), y] += 1
mask = np.ones(X.shape[:2], dtype=bool)
mask[::3, -2:] = False
settings = {"beta": 0.01, "tol": 1e-7, "max_rounds": 200}
with processes.joined() as job:
    made = [
        HeadClassifier("mlp", gate="gaussian", **settings).fit(X, y, mask=mask),
        HeadClassifier("linear", **settings).fit(X.mean(1), y),
        HeadClassifier(PartSpec("attention", pooling="token"), **settings).fit(X, np.repeat(y[:, None], 9, 1)),
        HeadRegressor("linear", solver="moments", **settings).fit(X.mean(1), X[:, 0, 0]),
    ]
    assert (51 - job.rank if job.size == 2 else 101) in read, read
    if job.first:
        print(json.dumps([(m.certificate_.primal, m.certificate_.relative_gap) for m in made]))
"""


@pytest.mark.slow
def test_arrays_in_memory_are_shared_as_stores_are(tmp_path):
    """Tokens with a mask, features of one token, outputs of every token, and the moments' solver."""
    (tmp_path / "fits.py").write_text(ARRAYS)
    runs = [
        subprocess.run([*launch, tmp_path / "fits.py"], capture_output=True, text=True)
        for launch in ([sys.executable], LAUNCH)
    ]
    assert not any(run.returncode for run in runs), runs[-1].stderr
    for one, two in zip(*(json.loads(run.stdout) for run in runs), strict=True):
        assert two[0] == pytest.approx(one[0], rel=1e-6) and two[1] <= 1e-7


def test_arrays_on_disk_are_refused_with_what_to_do(tmp_path):
    np.save(tmp_path / "features.npy", np.zeros((4, 2)))
    found = fit(tmp_path / "features.npy", tmp_path / "head")
    assert found.returncode == 2 and "headwise extract DATA STORE" in " ".join(found.stderr.split())


@pytest.mark.slow
def test_a_process_that_dies_ends_the_job_and_the_next_run_goes_on(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(2000) % 4
    X = rng.normal(size=(2000, 30, 24)).astype(np.float32)
    X[np.arange(2000), y] += 1
    split = np.where(np.arange(2000) % 5 == 0, "val", "train")
    TokenStore.from_arrays(tmp_path / "store", X, y, split=split)
    done = tmp_path / "head.path"
    command = [*LAUNCH, "-m", "headwise", "fit", tmp_path / "store", tmp_path / "head", "--block", "attention"]
    command = [*map(str, command), "--betas", "5", "--tol", "1e-5", "--json"]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (done.exists() and list(done.glob("*.safetensors"))):
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.05)
    children = [int(p) for p in subprocess.check_output(["pgrep", "-P", str(job.pid)], text=True).split()]
    os.kill(children[-1], signal.SIGKILL)
    _, said = job.communicate(timeout=120)
    assert job.returncode != 0
    assert "another process of the job ended" in said or "SIGKILL" in said
    kept = {p.name: p.stat().st_mtime_ns for p in done.glob("*.safetensors")}
    assert kept
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert not done.exists()
    assert verify(tmp_path / "head", tmp_path / "store").holds
