"""Gradient flow of a network of plain layers by an accurate integrator: the slow experiment beside closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .curves import Floats
from .integration import integrate

__all__ = ["small_layers", "train"]


def small_layers(widths: Sequence[int], start: float, rng: np.random.Generator) -> list[Floats]:
    """Gaussian weights from inputs to outputs, each layer giving directions the length ``start ** (1 / depth)``.

    Parameters
    ----------
    widths : sequence of int
        Inputs, hidden widths, outputs.
    start : float
        Length that the layers give together.
    rng : numpy.random.Generator

    Examples
    --------
    >>> [layer.shape for layer in small_layers([4, 3, 2], start=1e-3, rng=np.random.default_rng(0))]
    [(3, 4), (2, 3)]
    """
    scale = start ** (1 / (len(widths) - 1))
    return [
        scale * rng.normal(size=(wide, narrow)) / (narrow if i else wide) ** 0.5
        for i, (narrow, wide) in enumerate(pairwise(widths))
    ]


def train(
    layers: Sequence[Floats], x: Floats, y: Floats, times: Floats, leak: float, unseen: Floats
) -> list[tuple[Floats, Floats]]:
    """Outputs on training and unseen inputs at each time, ``(outputs, samples)`` each.

    Follows ``dW/dt = -grad`` of half the summed squared error of ``W_D phi(... phi(W_1 x))``, with a relative tolerance
    of 1e-6 (1e-3 where units are leaky).

    Parameters
    ----------
    layers : sequence of array
        Weights at time 0, from inputs to outputs.
    x, y : array, shape (inputs, samples) and (outputs, samples)
        Training samples.
    times : array, shape (p,)
        Increasing, from 0.
    leak : float
        ``phi(a)`` is ``a`` above zero and ``leak * a`` below.
    unseen : array, shape (inputs, other samples)
        Further inputs.

    Examples
    --------
    >>> import numpy as np
    >>> found = train([np.array([[0.0]])], np.eye(1), np.array([[2.0]]), np.array([0.0, 1.0]), 1.0, np.eye(1))
    >>> round(found[1][0].item(), 4)  # 2 (1 - 1/e)
    1.2642
    """
    shapes = [layer.shape for layer in layers]
    ends = np.cumsum([layer.size for layer in layers])

    def unpack(flat: Floats) -> list[Floats]:
        return [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)]

    def phi(inner: Floats) -> Floats:
        return inner if leak == 1 else np.where(inner > 0, inner, leak * inner)

    def outputs(weights: list[Floats], inputs: Floats) -> Floats:
        for weight in weights[:-1]:
            inputs = phi(weight @ inputs)
        return weights[-1] @ inputs

    def slope(_: float, flat: Floats) -> Floats:
        weights = unpack(flat)
        kept = [x]
        for weight in weights[:-1]:
            kept.append(phi(weight @ kept[-1]))
        error = y - weights[-1] @ kept[-1]
        found: list[Floats] = []
        for weight, inputs in zip(weights[::-1], kept[::-1], strict=True):
            found.append((error @ inputs.T).ravel())
            error = weight.T @ error
            if leak != 1:
                error = error * np.where(inputs > 0, 1.0, leak)
        return np.concatenate(found[::-1])

    first = np.concatenate([layer.ravel() for layer in layers])
    # units that switch make the slope jump, and a tight tolerance there only makes for tiny steps
    rtol = 1e-6 if leak == 1 else 1e-3
    found = integrate("training", slope, first, times, method="RK45", rtol=rtol, atol=rtol * 1e-3)
    return [(outputs(weights, x), outputs(weights, unseen)) for weights in map(unpack, found)]
