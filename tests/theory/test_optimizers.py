"""Steps of the optimisers, against those of torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headwise.theory.optimizers import adam, heavy_ball


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (heavy_ball(0.1, 0.7), lambda p: torch.optim.SGD([p], lr=0.1, momentum=0.7)),
        (adam(0.1), lambda p: torch.optim.Adam([p], lr=0.1)),
    ],
    ids=["sgd", "adam"],
)
def test_steps_are_those_of_torch(ours, theirs):
    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer, value = theirs(weight), np.zeros(3)
    for slopes in np.random.default_rng(0).normal(size=(6, 3)):
        weight.grad = torch.from_numpy(slopes)
        optimizer.step()
        value = value - ours(slopes)
        np.testing.assert_allclose(value, weight.detach().numpy(), rtol=1e-12, atol=1e-15)
