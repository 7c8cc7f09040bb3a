"""The rules of the comparison: one objective for all, peers that solve the same problem, fits that go on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import harness
import numpy as np
import pytest
import torch
from harness.data import synthetic
from harness.heads.datasets import duplicate_motifs
from harness.kept import kept
from harness.measure import Curve, Moment, Setting, bounded, follow
from harness.mixing import seconds_of
from harness.peers.conic import features
from harness.peers.ours import Ours
from harness.peers.pooled_adam import PooledAdam
from harness.peers.proximal import Proximal
from harness.peers.scikit import Scikit
from harness.peers.textbook import Textbook
from harness.peers.token_adamw import TokenAdamW, TokenAttention
from harness.report import Bar

from headwise import Conditioner, PartSpec
from headwise.heads.fitting import prepare
from headwise.heads.targets import bind, encode
from headwise.solvers import Factors


@pytest.fixture(scope="module")
def setting():
    made = synthetic(60, s=4, d=4)
    loss = bind("multinomial", encode("classes", made.labels))
    prepared = prepare(made.source, made.rows(), loss, (PartSpec("attention"),), Conditioner(n_components=3))
    return bounded(prepared.problem, 0.03, 1e-7, prepared=prepared)


def some_factors(setting, atoms=20):
    (part,), c = setting.problem.parts, setting.problem.loss.num_outputs
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(atoms, *part.u_shape, generator=generator)
    v = torch.randn(atoms, part.k, c, generator=generator)
    return Factors([0.1 * u], [3 * v], torch.ones(c))


def test_the_objective_is_that_of_z_whatever_the_factors(setting):
    factors = some_factors(setting)  # unbalanced, more than Z has rows, float32
    z = (factors.u[0].flatten(1).T.double() @ factors.v[0].flatten(1).double()).reshape(16, 4, 3)
    outputs = torch.einsum("npk,pkc->nc", torch.from_numpy(features(setting.problem)), z) + 1
    dense = torch.nn.functional.cross_entropy(outputs, setting.problem.loss.targets)
    dense = dense + setting.beta * torch.linalg.matrix_norm(z.flatten(1), "nuc")
    assert setting.objective(factors) == pytest.approx(float(dense), rel=1e-6)


@pytest.mark.parametrize(
    ("peer", "target"),
    [
        (Ours(tols=(1e-4,)), 1e-4),
        (Textbook(), 1e-4),
        (Proximal(first=1.0), 1e-4),
        (PooledAdam(0.03, atoms=8, batch=20), 1e-2),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_peers_come_to_the_proved_optimum(setting, peer, target):
    curve = follow(peer, setting, 60.0, target)  # no claim of speed: a busy machine may take its time
    assert not curve.said
    assert -1e-9 <= curve.best <= target
    assert curve.seconds_to(target) is not None


def test_the_module_over_tokens_is_the_same_function(setting):
    factors = some_factors(setting, atoms=5)
    tokens = TokenAdamW.conditioned(setting)
    module = TokenAttention(tokens.shape[-1], 3, 5)
    with torch.no_grad():
        for mine, given in zip(
            (module.u, module.v, module.b), (factors.u[0], factors.v[0], factors.intercept), strict=True
        ):
            mine.copy_(given)
        outputs = module(tokens)
    np.testing.assert_allclose(outputs.double(), setting.problem.outputs(factors.to(torch.float64)), atol=1e-4)


def test_scikit_learn_solves_the_same_ridge_problem():
    made = synthetic(90)
    loss = bind("multinomial", encode("classes", made.labels))
    part = PartSpec("linear", penalty="ridge")
    prepared = prepare(made.source, made.rows(), loss, (part,), Conditioner(n_components=None))
    setting = bounded(prepared.problem, 0.02, 1e-8)
    assert follow(Scikit(), setting, 10.0, 1e-6).best <= 1e-6


def test_pyscnn_solves_the_same_gated_problem():
    pytest.importorskip("scnn", reason="pyscnn is a peer: pip install headwise[bench]")
    from harness.context import QUICK, Context
    from harness.peers.scnn import Scnn
    from harness.tasks.gated_mlp import problem_of

    from headwise.solvers import beta_max

    problem, x, y, gates = problem_of(Context(None, QUICK, quick=True), 3, 4)
    setting = bounded(problem, 0.05 * beta_max(problem), 1e-7, x=x, y=y, gates=gates)
    assert follow(Scnn("float64", first=40), setting, 10.0, 1e-4).best <= 1e-4


class Slow:
    """Never gets there."""

    name, restarts = "slow", False

    def run(self, setting, budget, skip=0):
        import time

        while True:
            time.sleep(0.02)
            yield Moment(some_factors(setting))


def test_a_peer_that_does_not_get_there_is_cut_and_its_gap_kept(setting):
    curve = follow(Slow(), setting, 0.1, 1e-3)
    assert curve.seconds_to(1e-3) is None
    assert curve.best > 1e-3
    assert 2 <= len(curve.points) <= 7
    assert all(a < b for (a, _), (b, _) in zip(curve.points, curve.points[1:], strict=False))


def test_a_peer_that_fails_says_why(setting):
    class Broken(Slow):
        def run(self, setting, budget, skip=0):
            raise RuntimeError("out of digits")
            yield

    curve = follow(Broken(), setting, 1.0, 1e-3)
    assert curve == Curve("slow", [], "RuntimeError: out of digits")


def test_bars_know_their_direction():
    assert Bar("time", 11.0, 12).met and not Bar("time", 13.0, 12).met
    assert Bar("ratio", 60.0, 50, "x", at_least=True).met and not Bar("ratio", 40.0, 50, "x", at_least=True).met
    assert Bar("never ran", None, 1).met is None


MEMORY = """
import torch
from harness.mixing import peak_of

print(peak_of(lambda: torch.ones(25 * 2**20).sum()))
before = torch.ones(25 * 2**20)  # a peak of the past does not count
del before
print(peak_of(lambda: torch.ones(10 * 2**20).sum()))
"""


def test_memory_is_what_a_run_adds():
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("memory is read from Linux's /proc")
    # a process of its own: one that has run for long fills what it holds already
    paths = os.pathsep.join(filter(None, [str(Path(harness.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    found = subprocess.run(
        [sys.executable, "-c", MEMORY],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    large, small = map(int, found.stdout.split())
    assert large == pytest.approx(100 * 2**20, rel=0.05)
    assert small == pytest.approx(40 * 2**20, rel=0.1)


def test_layers_are_timed_in_turn():
    order = []
    found = seconds_of({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, 0.0)
    assert order == ["a", "b", "a", "b", "b", "a", "a", "b"]  # the first two are not counted
    assert {name: len(times) for name, times in found.items()} == {"a": 3, "b": 3}
    slow = seconds_of({"a": lambda: time.sleep(0.01)}, 50, 0.0, budget=0.02)
    assert len(slow["a"]) == 3


def test_a_fit_that_was_kept_is_not_made_again(tmp_path):
    made = []

    def work():
        made.append(1)
        return {"accuracy": len(made)}

    file = tmp_path / "cell" / "0.json"
    assert kept(file, {"beta": 1.0}, work, "first") == {"accuracy": 1}
    assert kept(file, {"beta": 1.0}, work, "again") == {"accuracy": 1}
    assert kept(file, {"beta": 2.0}, work, "other settings") == {"accuracy": 2}


def test_tokens_of_the_motif_task_look_alike_one_by_one():
    made = duplicate_motifs(4000, 10, 10)
    values = made.source.read() if hasattr(made.source, "read") else next(iter(made.source.chunks()))[1]
    values = values.values
    motifs = torch.linalg.svd(values.flatten(0, 1)[:2000])[2]
    means = [(values[made.labels == label] @ motifs.T).mean((0, 1)) for label in (0, 1)]
    assert float((means[0] - means[1]).abs().max()) < 0.03
    # what tells them apart is the Gram matrix: a motif that stands twice
    overlap = (values @ values.transpose(1, 2)).flatten(1).sort(1).values[:, -7]
    assert float(overlap[made.labels == 1].median() - overlap[made.labels == 0].median()) > 0.4


def test_settings_keep_the_bound_below_every_objective(setting):
    assert isinstance(setting, Setting)
    assert setting.gap(setting.problem.zero()) > 0
