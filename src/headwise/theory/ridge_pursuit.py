"""A function on a box as a sum of piecewise linear functions along integer directions, by least squares.

Cosine series resolve kinks slowly, the more so the more inputs there are. Here knots are fixed, directions are added a
few at a time (those along which what is left changes most on average), and all profiles are fitted anew each time.

References
----------
Friedman and Stuetzle, "Projection pursuit regression", Journal of the American Statistical Association 76, 1981.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from .curves import Floats
from .piecewise_ridges import PiecewiseRidges, box_points, fit_profiles, hats, raise_largest

__all__ = ["integer_directions", "pursue", "step_gains"]

PER_UNIT = (8, 16)  # knots on a unit of length, each tried where the last were too coarse
SAMPLES = 30_000
ROUNDS = 16
EACH, MOST = 3, 30  # directions that are added in a round, and in all
BINS = 24  # of a direction, for the mean of what is left
ALIKE = 0.9  # cosine from which directions of one round are too much alike
FAR = 4  # times the budget: finer knots do not mend that
FINEST = 256  # cells of an axis, where the rest is looked at


def pursue(
    function: Callable[[Floats], Floats], num_inputs: int, budget: float, max_units: int, max_samples: int
) -> PiecewiseRidges | None:
    """Fit a function until what is left is within a budget; None where it does not get there.

    Parameters
    ----------
    function : callable
        (points, inputs) -> (points, outputs), on the unit box.
    num_inputs : int
    budget : float
        Most that any output may be off.
    max_units : int
        Most knots within the box.
    max_samples : int
        Places of the grid on which the rest is looked at.

    Returns
    -------
    PiecewiseRidges or None
        ``dropped`` is the largest rest on the grid, with half of its change to the next place along each axis on top:
        an estimate of what lies between, as no grid sees all of a function.

    Examples
    --------
    >>> found = pursue(lambda v: np.abs(v[:, :1] - v[:, 1:]), 2, budget=0.01, max_units=500, max_samples=2**12)
    >>> bool(found.dropped.max() <= 0.01)
    True
    """
    rng = np.random.default_rng(0)
    points = box_points(rng, SAMPLES, num_inputs)
    wanted, candidates = function(points), integer_directions(num_inputs)
    along = points @ candidates.T
    lows = np.minimum(candidates, 0).sum(1)
    lengths = np.abs(candidates).sum(1)
    chosen = [int(np.flatnonzero((candidates == unit).all(1))[0]) for unit in np.eye(num_inputs, dtype=int)]
    for per_unit in PER_UNIT:
        weights = np.ones(SAMPLES)
        for _ in range(ROUNDS):
            if (per_unit * lengths[chosen] - 1).sum() > max_units:
                return None
            places = [lows[k] + np.arange(per_unit * lengths[k] + 1) / per_unit for k in chosen]
            shares = hats(along[:, chosen], places)
            profiles = fit_profiles(shares, wanted, weights)
            rest = wanted - shares @ profiles
            size = np.abs(rest).max(1)
            if size.max() <= budget:
                found = PiecewiseRidges.of(candidates[chosen], places, profiles)
                found = replace(found, dropped=_largest(function, found, num_inputs, max_samples))
                if found.dropped.max() <= budget:
                    return found
            weights = raise_largest(weights, size)
            if len(chosen) < MOST:
                gains = step_gains(along, lows, lengths, rest * weights[:, None], weights)
                gains[chosen] = -1
                chosen += _unlike(candidates, gains)
        if size.max() > FAR * budget:
            return None
    return None


def integer_directions(num_inputs: int) -> NDArray[np.int64]:
    """Integer directions without common divisor, the first entry that is not zero positive."""
    reach = {1: 1, 2: 6, 3: 3}.get(num_inputs, 2)
    every = np.array(list(product(range(-reach, reach + 1), repeat=num_inputs)), dtype=np.int64)
    every = every[every.any(1)]
    first = every[np.arange(len(every)), (every != 0).argmax(1)]
    return every[(first > 0) & (np.gcd.reduce(every, axis=1) == 1)]


def step_gains(
    along: Floats, lows: NDArray[np.int64], lengths: NDArray[np.int64], rest: Floats, weights: Floats
) -> Floats:
    """How much of the squares of what is left steps along each direction would take away, for the units they need."""
    gains = np.zeros(len(lows))
    for k in range(len(lows)):
        cell = np.minimum(((along[:, k] - lows[k]) * (BINS / lengths[k])).astype(np.int64), BINS - 1)
        total = np.maximum(np.bincount(cell, weights), 1e-300)
        gains[k] = sum(float((np.bincount(cell, column) ** 2 / total).sum()) for column in rest.T)
    return gains / lengths


def _unlike(candidates: NDArray[np.int64], gains: Floats) -> list[int]:
    """The directions of most gain that are not much alike; gains below zero do not count."""
    units = candidates / np.linalg.norm(candidates, axis=1, keepdims=True)
    found: list[int] = []
    for k in np.argsort(-gains, kind="stable").tolist():
        if len(found) == EACH or gains[k] < 0:
            break
        if np.abs(units[found] @ units[k]).max(initial=0) < ALIKE:
            found.append(k)
    return found


def _largest(function: Callable[[Floats], Floats], found: PiecewiseRidges, num_inputs: int, max_samples: int) -> Floats:
    """Largest rest of each output on a grid, with half of its change to the next place along each axis."""
    grid = min(int(max_samples ** (1 / num_inputs) + 1e-6), FINEST)
    centres = (np.arange(grid) + 0.5) / grid
    points = np.stack(np.meshgrid(*[centres] * num_inputs, indexing="ij"), axis=-1).reshape(-1, num_inputs)
    rest = (function(points) - found(points)).reshape(*[grid] * num_inputs, -1)
    axes = tuple(range(num_inputs))
    most = np.abs(rest)
    for axis in axes:
        change = np.moveaxis(np.abs(np.diff(rest, axis=axis)) / 2, axis, 0)
        nearby = np.concatenate([change[:1], np.maximum(change[1:], change[:-1]), change[-1:]])
        most += np.moveaxis(nearby, 0, axis)
    return np.asarray(most.max(axes))
