"""The integrator behind trained students: its slopes by finite differences of the loss, leaky units included."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from headwise.theory.gradient_flow import train


@pytest.mark.parametrize("leak", [1.0, 0.3])
@pytest.mark.parametrize("widths", [(5, 3), (5, 4, 3), (5, 4, 6, 3)])
def test_flow_goes_down_the_gradient(widths, leak):
    """Over a short time the outputs move by the gradient of half the squared error, taken by differences."""
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(b, a)) / 2 for a, b in pairwise(widths)]
    x, y, unseen = rng.normal(size=(5, 7)), rng.normal(size=(3, 7)), rng.normal(size=(5, 2))

    def outputs(weights, inputs):
        for weight in weights[:-1]:
            inputs = weight @ inputs
            inputs = np.where(inputs > 0, inputs, leak * inputs)
        return weights[-1] @ inputs

    def loss(flat):
        return 0.5 * ((y - outputs(unpack(flat), x)) ** 2).sum()

    def unpack(flat):
        parts = np.split(flat, np.cumsum([w.size for w in layers])[:-1])
        return [part.reshape(w.shape) for part, w in zip(parts, layers, strict=True)]

    first = np.concatenate([w.ravel() for w in layers])
    step = 1e-6
    gradient = np.array([(loss(first + step * e) - loss(first - step * e)) / (2 * step) for e in np.eye(len(first))])
    short = 1e-5
    (at_first, _), (_, later) = train(layers, x, y, np.array([0.0, short]), leak, unseen)
    np.testing.assert_allclose(at_first, outputs(layers, x))
    moved = later - outputs(layers, unseen)
    expected = outputs(unpack(first - short * gradient), unseen) - outputs(layers, unseen)
    np.testing.assert_allclose(moved, expected, rtol=2e-3, atol=1e-9)
