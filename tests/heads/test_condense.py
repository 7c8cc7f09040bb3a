"""Condensing tokens to statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headwise import HeadRegressor
from headwise.heads.fitting import prepare
from headwise.heads.parts import PartSpec
from headwise.heads.targets import bind, encode
from headwise.tokens import ArrayTokens


@pytest.mark.parametrize("pooling", ["mean", "token"])
def test_gates_on_one_token_share_its_features(pooling):
    """Ten gates hold the tokens once, in both precisions, and see the features that masked copies would have."""
    rng = np.random.default_rng(0)
    source = ArrayTokens(rng.normal(size=(30, 1, 4)))
    spec = PartSpec("mlp", gate="gaussian", num_gates=10, pooling=pooling)
    loss = bind("squared", encode("numbers", rng.normal(size=30)))
    prepared = prepare(source, np.arange(30), loss, (spec,), None)
    for dtype in (torch.float64, torch.float32):
        (rows, stats), *rest = prepared.problem.passes.chunks(dtype)
        assert not rest and rows == slice(0, 30) and len(stats) == 10
        assert len({part["features"].data_ptr() for part in stats}) == 1
        assert len({part["gate"].data_ptr() for part in stats}) == 10
    x = torch.from_numpy(source.read().values.numpy()[:, 0]).double()
    (block,) = {part.block for part in prepared.problem.parts}
    gates = prepared.parts[0].cells[0].gates
    u = torch.randn(3, 4, dtype=torch.float64)
    for index, part in enumerate(next(iter(prepared.problem.passes.chunks(torch.float64)))[1]):
        mask = (x @ gates.atoms[index] >= 0).double()[:, None]
        torch.testing.assert_close(block.inner(part, u)[..., 0], (mask * x) @ u.T)
        torch.testing.assert_close(block.adjoint(part, mask), (mask * x).T @ mask)


def test_a_gated_head_on_plain_features_is_certified():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = np.abs(x[:, 0])
    model = HeadRegressor("mlp", gate="gaussian", num_gates=30, beta=1e-3, tol=1e-5).fit(x, y)
    assert model.certificate_.relative_gap <= 1e-5
    assert model.score(x, y) > 0.9 > HeadRegressor("linear", beta=1e-3).fit(x, y).score(x, y)
