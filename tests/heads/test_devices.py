"""Fits on another device: the same objective, valid certificates, heads on the processor, nothing left behind.

Where there is no accelerator a pretended one stands in: tensors that say they lie elsewhere, computed on the processor,
and refuse to be mixed with tensors that do not. It finds every tensor that a fit makes in the wrong place.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch.utils._python_dispatch import TorchDispatchMode

from headwise import Conditioner, HeadClassifier, HeadClassifierCV, HeadRegressor, PartSpec, TokenStore, predict, verify
from headwise.blocks import BLOCKS
from headwise.cli import main
from headwise.devices import choose_device, fitting_device, has_float64, heads_device
from headwise.errors import InputError
from headwise.gates import GATES
from headwise.heads import Head, relu
from headwise.heads import condense as condense_file
from headwise.heads.compare import Splits, certified_results
from headwise.heads.memory import Memory
from headwise.losses import LOSSES
from headwise.processes import _take_device
from headwise.solvers import certify, solve
from headwise.tokens import ArrayTokens

ELSEWHERE = "lazy"
"""A kind of device that every torch knows by name and none has."""
PLACED = ("copy_", "_to_copy")


class Elsewhere(torch.Tensor):
    """A tensor that says it lies on another device."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Elsewhere:
        told = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, held.shape, device=ELSEWHERE, **told)
        made.held = held
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.numpy:
            if not (kwargs or {}).get("force"):
                raise TypeError("a tensor on a device has no numpy array")
            return args[0].held.numpy()
        if func is torch.Tensor.tolist:
            return args[0].held.tolist()
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


def compute(func: Any, args: Any, kwargs: Any) -> Any:
    name, asked = func.overloadpacket.__name__, kwargs.get("device")
    there = here = False

    def taken(x: torch.Tensor) -> torch.Tensor:
        nonlocal there, here
        if isinstance(x, Elsewhere):
            there = True
            return x.held
        here |= x.ndim > 0  # one number may come from the processor
        return x

    own_args, own = each(taken, list(args)), {key: each(taken, value) for key, value in kwargs.items()}
    if there and here and name not in PLACED:
        raise RuntimeError(f"{func} mixes devices")
    found = func(*own_args, **({**own, "device": torch.device("cpu")} if asked is not None else own))
    if name.endswith("_") and not name.startswith("_"):
        return args[0]
    goes = torch.device(asked).type == ELSEWHERE if asked is not None else there
    return each(Elsewhere, found) if goes else found


def each(change: Any, value: Any) -> Any:
    """The tensors in a value, changed; lists are what operators take and give besides."""
    if isinstance(value, torch.Tensor):
        return change(value)
    return type(value)(each(change, x) for x in value) if type(value) in (list, tuple) else value


class Pretend(TorchDispatchMode):
    """Inside, the pretended device is there."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and its import takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


GRID = (2, 2)
BLOCK_AND_GATE = [(block, "none") for block in BLOCKS.names()] + [
    (block, gate)
    for gate in GATES.names()
    for block in BLOCKS.names()
    if gate != "mixer" and set(GATES.get(gate)().kinds) & set(BLOCKS.get(block).gates)
]
TARGETS = {
    "multinomial": lambda y, z: y,
    "binary": lambda y, z: np.stack([y == 1, z > 0], 1).astype(int),
    "squared": lambda y, z: np.stack([z, y + z], 1),
    "huber": lambda y, z: z,
    "poisson": lambda y, z: np.floor(np.exp(z)),
    "cox": lambda y, z: np.stack([np.exp(z), np.arange(len(z)) % 3 > 0], 1),
}
"""A new loss adds one line."""


def data(n: int = 24):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    X = rng.normal(size=(n, 5, 4))
    X[np.arange(n), 1:, y] += 1
    return X, y, X[:, :, 0].mean(1) + 0.1 * rng.normal(size=n)


def model(block="attention", loss="multinomial", **more):
    kind = HeadClassifier if LOSSES.get(loss).kind in HeadClassifier.kinds else HeadRegressor
    fixed = {"beta": 2e-2, "tol": 0.05, "n_components": 3, "num_prefix": 1, "grid": GRID, "num_gates": 2}
    return kind(block, loss=loss, max_rounds=1, **{**fixed, **more})


def fitted(model, X, y, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y, **more)


@pytest.fixture
def brief(monkeypatch):
    """A few steps of descent: every operation runs in the first."""
    monkeypatch.setattr("headwise.solvers.choice.solve", partial(solve, iterations=2))


def same(one, two):
    """The same claim, from the same numbers."""
    assert two.certificate_.primal == pytest.approx(one.certificate_.primal, rel=1e-9)
    assert two.certificate_.dual == pytest.approx(one.certificate_.dual, rel=1e-9)
    assert {x.device.type for x in two.head_.tensors().values()} == {"cpu"}
    assert not any(isinstance(x, Elsewhere) for x in two.head_.tensors().values())


def test_the_pretended_device_refuses_what_a_real_one_refuses():
    with Pretend():
        there = torch.ones(2, 3).to(ELSEWHERE)
        assert there.device.type == ELSEWHERE and (there @ there.T).device.type == ELSEWHERE
        assert there.cpu().tolist() == torch.ones(2, 3).tolist()
        with pytest.raises(RuntimeError, match="mixes devices"):
            there + torch.ones(2, 3)
        with pytest.raises(TypeError):
            there.numpy()


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize(("block", "gate"), BLOCK_AND_GATE)
def test_every_block_and_gate_is_computed_on_the_device(block, gate):
    X, y, _ = data()
    settings = {"gate": gate, "num_gates": 1 if gate == "window" else 2}
    one = fitted(model(block, **settings), X, y)
    with Pretend():
        two = fitted(model(block, device=ELSEWHERE, **settings), X, y)
    same(one, two)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("loss", LOSSES.names())
def test_every_loss_is_computed_on_the_device(loss):
    X, y, z = data()
    targets, weights = TARGETS[loss](y, z), np.linspace(1, 2, len(X))
    one = fitted(model("default", loss), X, targets, sample_weight=weights)
    with Pretend():
        two = fitted(model("default", loss, device=ELSEWHERE), X, targets, sample_weight=weights)
    same(one, two)


@pytest.mark.parametrize("solver", ["proximal", "moments"])
def test_every_solver_works_on_the_device(solver):
    X, _, z = data()
    settings = {"loss": "squared", "solver": solver, "n_components": 2, "tol": 0.02}
    one = fitted(model(**settings), X, z)
    with Pretend():
        two = fitted(model(**settings, device=ELSEWHERE), X, z)
    same(one, two)


@pytest.mark.usefixtures("brief")
def test_masked_tokens_and_statistics_on_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(Memory, "holds", lambda self, size: self.limit is None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    X, y, _ = data()
    mask = np.ones(X.shape[:2], dtype=bool)
    mask[::2, -1] = False
    one = fitted(model(max_memory="8GB"), X, y, mask=mask)
    with Pretend():
        two = fitted(model(device=ELSEWHERE, max_memory="8GB"), X, y, mask=mask)
    same(one, two)


@pytest.mark.usefixtures("brief")
def test_a_probabilistic_certificate_on_the_device():
    X, y, _ = data()
    estimator = model(device=ELSEWHERE)
    with Pretend():
        source = estimator._open(X, None)
        rows = np.arange(len(X))
        targets = estimator._targets(y, source, rows)
        prepared = estimator._prepare(source, rows, targets, None, None)
        solution = prepared.solver(0.1, tol=1e-2)
        found, _ = certify(prepared.problem, solution.factors, 0.1, kind="probabilistic", seed=0)
    assert found.kind == "probabilistic" and 0 <= found.gap <= 0.1 * found.primal


@pytest.mark.usefixtures("brief")
def test_a_path_begun_on_the_device_goes_on_from_its_record_anywhere(tmp_path):
    X, y, _ = data()
    settings = {"betas": 2, "tol": 0.05, "n_components": 3, "num_prefix": 1, "checkpoint": tmp_path / "path"}
    settings |= {"max_rounds": 1, "refit": False}
    with Pretend():
        one = fitted(HeadClassifierCV("default", **settings, device=ELSEWHERE), X, y)
        two = fitted(HeadClassifierCV("default", **settings, device=ELSEWHERE), X, y)
    three = fitted(HeadClassifierCV("default", **settings), X, y)
    assert len(list((tmp_path / "path").iterdir())) == len(one.path_)
    assert [p.loss for p in one.path_] == pytest.approx([p.loss for p in two.path_])
    assert [p.loss for p in one.path_] == pytest.approx([p.loss for p in three.path_])
    same(one, two)


@pytest.mark.usefixtures("brief")
def test_the_heads_of_a_study_are_fitted_on_the_device():
    X, y, _ = data()
    parts = np.array_split(np.arange(len(X)), 3)
    rows = dict(zip(("train", "val", "test"), parts, strict=True))
    splits = Splits(rows, {name: y[own] for name, own in rows.items()}, np.unique(y))
    settings = {"conditioner": Conditioner(n_components=3), "betas": 2, "tol": 0.05}
    source = ArrayTokens(X, num_prefix=1)
    (one,) = certified_results(source, splits, ["default"], **settings)
    with Pretend():
        (two,) = certified_results(source, splits, ["default"], **settings, device=ELSEWHERE)
    assert two.relative_gap == pytest.approx(one.relative_gap, abs=1e-6)
    np.testing.assert_allclose(two.probabilities, one.probabilities, rtol=1e-6)
    assert two.head.intercept.device.type == "cpu"


@pytest.fixture
def seen(monkeypatch):
    """Kinds of devices on which heads computed."""
    kinds = set()

    def forward(self, tokens, *more, own=Head.forward):
        kinds.add(tokens.device.type)
        return own(self, tokens, *more)

    monkeypatch.setattr(Head, "forward", forward)
    return kinds


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize(("block", "gate"), BLOCK_AND_GATE)
def test_a_head_predicts_on_the_device(block, gate, tmp_path, seen):
    X, y, _ = data()
    head = fitted(model(block, gate=gate, num_gates=1 if gate == "window" else 2), X, y).head_
    store = TokenStore.from_arrays(tmp_path / "store", X, y, dtype="float64", num_prefix=1, grid=GRID)
    np.savez(tmp_path / "tokens.npz", X=X)
    for given in (X, store, tmp_path / "tokens.npz"):
        _, one = predict(head, given)
        with Pretend():
            seen.clear()
            _, two = predict(head, given, device=ELSEWHERE)
        assert seen == {ELSEWHERE} and head.intercept.device.type == "cpu"
        np.testing.assert_allclose(two, one, rtol=1e-9)


@pytest.mark.usefixtures("brief")
def test_hidden_tokens_and_outputs_of_every_token_are_predicted_on_the_device(tmp_path, seen):
    X, y, _ = data()
    mask = np.ones(X.shape[:2], dtype=bool)
    mask[::2, -1] = False
    np.savez(tmp_path / "tokens.npz", X=X, mask=mask)
    each = PartSpec("attention", pooling="token")
    labels = np.where(mask, y[:, None], -1)[:, 1:]
    for head in (
        fitted(model(), X, y, mask=mask).head_,
        fitted(model([each]), X, labels, mask=mask).head_,
        relu(fitted(model("mlp", gate="gaussian"), X, y), X).module,
    ):
        _, one = predict(head, tmp_path / "tokens.npz")
        with Pretend():
            _, two = predict(head, tmp_path / "tokens.npz", device=ELSEWHERE)
        np.testing.assert_allclose(two, one, rtol=1e-9)
    assert ELSEWHERE in seen


def test_a_head_predicts_on_the_processor_where_the_device_has_no_float64(monkeypatch):
    X, y, _ = data()
    head = HeadClassifier("linear", beta=0.1).fit(X, y).head_
    monkeypatch.setattr("headwise.devices.has_float64", lambda device: torch.device(device).type != ELSEWHERE)
    with Pretend():
        assert heads_device(ELSEWHERE) == "cpu"
        np.testing.assert_allclose(predict(head, X, device=ELSEWHERE)[1], predict(head, X)[1])


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("loss", ["multinomial", "squared"])
def test_a_default_device_of_the_user_changes_nothing(loss):
    """What is made without a device would land on "meta", where nothing has a value."""
    X, y, z = data()
    settings = {"gate": "cluster", "loss": loss}
    one = fitted(model(**settings), X, TARGETS[loss](y, z))
    with torch.device("meta"):
        two = fitted(model(**settings), X, TARGETS[loss](y, z))
    same(one, two)


def real_devices():
    return ["cpu", *(["cuda"] if torch.cuda.is_available() else []), *(["mps"] if torch.mps.is_available() else [])]


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
@pytest.mark.parametrize("gate", ["none", "rank_one"])
def test_the_same_objective_on_every_device(device, gate):
    if device not in real_devices():
        pytest.skip(f"no {device} here; on a machine with one this test runs by itself: make test ARGS='-k device'")
    X, y, _ = data(90)
    settings = {"gate": gate, "tol": 1e-7, "max_rounds": 200}
    if not has_float64(device):
        with pytest.raises(InputError, match="has no float64"):
            fitted(HeadClassifier(device=device), X, y)
        return
    kind = HeadClassifier("attention", beta=1e-2, n_components=4)
    one, two = (kind.set_params(**settings, device=d).fit(X, y).head_ for d in ("cpu", device))
    assert two.certificate.primal == pytest.approx(one.certificate.primal, rel=1e-6)
    assert two.certificate.relative_gap <= 1e-7 and {x.device.type for x in two.tensors().values()} == {"cpu"}
    assert verify(two, X, y).holds
    assert device == "cpu" or device not in json.dumps(asdict(two.certificate), default=str)


def test_devices_that_fits_cannot_use(monkeypatch):
    X, y, _ = data()
    for name in ("cuda:99", "meta", "abacus"):
        with pytest.raises(InputError, match=f"device '{name}' cannot be used"):
            HeadClassifier(device=name).fit(X, y)
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr("headwise.devices.has_float64", lambda device: False)
    with pytest.raises(InputError, match=r"no float64.*fit with device 'cpu'"):
        fitting_device("cpu")


def test_statistics_that_do_not_fit_on_the_device(monkeypatch):
    X, y, _ = data()
    monkeypatch.setattr(condense_file, "free_memory", lambda device: 1000)
    with pytest.raises(InputError, match=r"GiB free; give max_memory .* or device 'cpu'"):
        model().fit(X, y)


def test_every_process_needs_a_device_of_its_own(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="has 1 CUDA devices"):
        _take_device("cuda")
    with pytest.raises(InputError, match="give 'cuda'"):
        _take_device("cuda:0")


def test_the_command_line_takes_a_device(tmp_path, capsys):
    X, y, _ = data()
    TokenStore.from_arrays(tmp_path / "store", X, y, dtype="float64")
    words = ["fit", str(tmp_path / "store"), str(tmp_path / "head"), "--beta", "0.05", "--components", "3", "--device"]
    with pytest.raises(SystemExit) as stop:
        main([*words, "abacus"])
    assert stop.value.code == 2 and not (tmp_path / "head").exists()
    with pytest.raises(SystemExit) as stop:
        main([*words, "cpu"])
    assert stop.value.code == 0 and verify(tmp_path / "head", tmp_path / "store").holds
