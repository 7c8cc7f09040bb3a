"""Steps of stochastic gradient descent with momentum and of Adam, on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .curves import Floats

__all__ = ["adam", "heavy_ball"]


def heavy_ball(rate: float, momentum: float) -> Callable[[Floats], Floats]:
    """A function from a gradient, that of each step in turn, to the change of the weights along it.

    Examples
    --------
    >>> step = heavy_ball(rate=0.1, momentum=0.5)
    >>> step(np.ones(1)).item(), step(np.ones(1)).item()
    (0.1, 0.15000000000000002)
    """
    velocity: Floats | float = 0.0

    def step(gradient: Floats) -> Floats:
        nonlocal velocity
        velocity = momentum * velocity + gradient
        return rate * velocity

    return step


def adam(rate: float, _: float = 0.0) -> Callable[[Floats], Floats]:
    """The same by Adam with its usual constants (0.9, 0.999); it has no momentum of its own choice.

    Examples
    --------
    >>> step = adam(rate=0.1)
    >>> round(step(np.array([5.0])).item(), 6)
    0.1
    """
    first: Floats | float = 0.0
    second: Floats | float = 0.0
    count = 0

    def step(gradient: Floats) -> Floats:
        nonlocal first, second, count
        count += 1
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        change: Floats = rate * (first / (1 - 0.9**count)) / (np.sqrt(second / (1 - 0.999**count)) + 1e-8)
        return change

    return step
