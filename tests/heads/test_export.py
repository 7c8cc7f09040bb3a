"""Every block with every gate as a torch.export program and as an ONNX file: the outputs are those of the module."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
import torch

from headwise.blocks import BLOCKS
from headwise.contracts import Tokens
from headwise.errors import InputError
from headwise.gates import GATES
from headwise.heads import Conditioner, Head, PartSpec
from headwise.heads.facts import TokenFacts
from headwise.heads.fitted_part import FittedPart
from headwise.solvers import Factors
from headwise.tokens import ArrayTokens

N, S, D, C = 9, 7, 6, 4
GRID = (2, 3)
OPTIONS = {"fno": [{}, {"dims": 1}], "hadamard": [{}, {"filter_size": 3}], "bfno": [{"groups": 2}]}
COUNTS = {"cluster": 2, "window": 1}


CASES = [(name, options) for name in BLOCKS.names() for options in OPTIONS.get(name, [{}])]


def specs(name, options, per_token=False):
    """All parts of a registered block, ungated and with every gate, on patch tokens and with the class token as query.

    Or all with outputs of each token. A new block or family of gates is in here by itself.
    """
    found = []
    for gate in ["none", *GATES.names()]:
        if gate == "mixer":  # handed a mixer
            continue
        if gate != "none" and not set(GATES.get(gate).kinds) & set(BLOCKS.get(name).gates):
            continue
        own = {"gate": gate, "num_gates": COUNTS.get(gate, 2), "options": options}
        if per_token:
            found.append(PartSpec(name, "patch", pooling="token", **own))
            continue
        found.append(PartSpec(name, "patch", **own))
        on_grid = gate == "window" or options.get("filter_size") or name in ("fno", "bfno")
        if not on_grid or options.get("dims") == 1:  # the class token has no place on the grid
            found.append(PartSpec(name, "all", pooling="class", **own))
    return found


def tokens(dtype=np.float64):
    return np.random.default_rng(0).normal(size=(N, S, D)).astype(dtype)


def head_of(*specs):
    """A head with random atoms: what is exported does not depend on how they were found."""
    generator = torch.Generator().manual_seed(0)
    source = ArrayTokens(tokens(), num_prefix=1, grid=GRID)
    parts = [FittedPart.fit(spec, source, np.arange(N), Conditioner(n_components=4), C) for spec in specs]
    us, vs = [], []
    for part in [part for fitted in parts for part in fitted.parts()]:
        atoms = 0 if len(us) == 1 else 2  # the second gate of the first part has none, as under a strong penalty
        us.append(torch.randn(atoms, *part.block.u_shape, generator=generator, dtype=torch.float64))
        outputs = len(range(C)[part.columns])
        vs.append(torch.randn(atoms, part.block.inner_width, outputs, generator=generator, dtype=torch.float64))
    intercept = torch.randn(C, generator=generator, dtype=torch.float64)
    loss = {"name": "multinomial", "num_outputs": C}
    return Head(parts, Factors(us, vs, intercept), list("abcd"), TokenFacts.of(source), loss=loss)


def hidden():
    mask = torch.ones(N, S, dtype=torch.bool)
    mask[::2, -2:] = False
    return mask


def check_program(head, *inputs):
    """A torch.export program of two samples, on all of them, in float64."""
    batch = torch.export.Dim("n")
    program = torch.export.export(head, tuple(x[:2] for x in inputs), dynamic_shapes=tuple({0: batch} for _ in inputs))
    torch.testing.assert_close(program.module()(*inputs), head(*inputs), rtol=1e-10, atol=1e-10)


def check_onnx(head, path, mask=None):
    head.to_onnx(path, mask=mask is not None)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {"tokens": tokens(np.float32)} | ({} if mask is None else {"mask": mask.numpy()})
    assert [x.name for x in session.get_inputs()] == list(feed)
    wanted = head.to_module()(torch.from_numpy(feed["tokens"]), mask).detach()
    for rows in (slice(None), slice(1)):
        (found,) = session.run(["outputs"], {name: x[rows] for name, x in feed.items()})
        torch.testing.assert_close(torch.from_numpy(found), wanted[rows], rtol=1e-5, atol=1e-5)
    return session


SUM = [
    PartSpec("attention", "all", gate="cluster", num_gates=2, pooling="class"),
    PartSpec("fno"),
]
"""One head with much of what an exporter may stumble over; the sweep below has it all, and takes minutes."""


def test_a_sum_of_parts(tmp_path):
    head = head_of(*SUM)
    check_program(head, torch.from_numpy(tokens()))
    session = check_onnx(head, tmp_path / "new" / "head.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list("abcd")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["head.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_every_block_and_gate(name, options, per_token, tmp_path):
    head = head_of(*specs(name, options, per_token))
    check_program(head, torch.from_numpy(tokens()))
    check_onnx(head, tmp_path / "head.onnx")
    if head.takes_mask:
        check_program(head, torch.from_numpy(tokens()), hidden())


@pytest.mark.slow
def test_a_mask_is_an_input(tmp_path):
    check_onnx(head_of(PartSpec("attention", gate="rank_one", num_gates=2)), tmp_path / "head.onnx", hidden())


def test_a_mask_is_an_input_of_the_program():
    check_program(head_of(PartSpec("attention")), torch.from_numpy(tokens()), hidden())


def test_a_mask_where_every_token_has_its_place(tmp_path):
    head = head_of(PartSpec("fno"))
    assert not head.takes_mask
    with pytest.raises(InputError, match="takes no mask"):
        head.to_onnx(tmp_path / "head.onnx", mask=True)
    with pytest.raises(InputError, match="export it without a mask"):
        check_program(head, torch.from_numpy(tokens()), hidden())
    with pytest.raises(InputError, match="are masked"):
        head(torch.from_numpy(tokens()), hidden())
    head(torch.from_numpy(tokens()), torch.ones(N, S, dtype=torch.bool))


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("headwise.heads.export.find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(InputError, match=r"need onnxscript; .*headwise\[onnx\]"):
        head_of(PartSpec("linear")).to_onnx(tmp_path / "head.onnx")
    assert not list(tmp_path.iterdir())


def test_gates_without_atoms_give_nothing():
    head = head_of(PartSpec("mlp", gate="gaussian", num_gates=2))
    (part,) = head._parts()
    assert len(part.u[1]) == 0
    X = torch.from_numpy(tokens())
    batch = Tokens(X, 1, GRID)
    wanted = part.fitted.outputs(batch, list(part.u), list(part.v))
    stats = part.fitted.statistics(batch)
    for cell, stat, u, v in zip(part.fitted.parts(), stats, part.u, part.v, strict=True):
        wanted = wanted - cell.block.inner(stat, u).flatten(1) @ v.flatten(0, 1)
    torch.testing.assert_close(wanted, torch.zeros_like(wanted))
