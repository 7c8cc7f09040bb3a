"""A function that bends in two directions only as a sum of piecewise linear functions along a fan of directions.

The largest of three numbers is a third of their sum plus a function of two of their differences: it depends on three
inputs, and bends in a plane. There evenly spaced directions resolve kinks that integer directions in the whole space
do not: the error falls with the number of directions, and with that of knots.

References
----------
Constantine, "Active subspaces", SIAM, 2015: directions in which a function changes, from the covariance of its
gradients. Here it is what is left of an affine function whose gradients count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
from scipy.spatial import cKDTree

from .curves import Floats
from .piecewise_ridges import PiecewiseRidges, box_points, fit_profiles, hats, raise_largest
from .ridge_pursuit import integer_directions, step_gains

__all__ = ["bending_plane", "fan"]

SIZES = (12, 24, 48)  # directions, tried where the last were too few
PIECES = 32
CROWDING = (1, 2)  # power of the distance from the middle of the box at which knots lie: kinks often meet there
SAMPLES = 40_000
ROUNDS = 12
GRADIENTS = 2_000
STEP = 1e-5
FLAT = 1e-6  # share of the largest bend below which a direction has none
NEIGHBOURS = 6
FAR = 2  # times the budget: more rounds do not mend that

Function = Callable[[Floats], Floats]


def bending_plane(function: Function, num_inputs: int) -> tuple[Floats, Floats] | None:
    """Two orthonormal directions, ``(2, inputs)``, outside of which a function is affine, and its slope there.

    None where it bends in more than two. The slope is ``(inputs, outputs)``.

    Examples
    --------
    >>> plane, slope = bending_plane(lambda v: v.max(1, keepdims=True), 3)
    >>> np.allclose(plane @ np.ones(3), 0), np.allclose(slope, 1 / 3)
    (True, True)
    """
    points = (1 - 2 * STEP) * np.random.default_rng(1).random((GRADIENTS, num_inputs)) + STEP
    moves = STEP * np.eye(num_inputs)
    gradients = np.stack([(function(points + move) - function(points - move)) / (2 * STEP) for move in moves], axis=2)
    mean = gradients.mean(0)
    changes = (gradients - mean).reshape(-1, num_inputs)
    bends, directions = np.linalg.eigh(changes.T @ changes / GRADIENTS)
    if num_inputs < 2 or not np.isfinite(bends).all() or (num_inputs > 2 and bends[-3] > FLAT * bends[-1]):
        return None
    plane = directions[:, -2:].T
    return plane, mean.T - plane.T @ (plane @ mean.T)


def fan(function: Function, num_inputs: int, budget: float, max_units: int, max_samples: int) -> PiecewiseRidges | None:
    """Fit a function along evenly spaced directions of its plane; None where it bends in more, or is left too far off.

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
        Points at which what is left is looked at.

    Returns
    -------
    PiecewiseRidges or None
        ``dropped`` is the largest rest at points that the fit has not seen, with half of its change to the nearest
        of them on top: an estimate of what lies between.

    Examples
    --------
    >>> found = fan(lambda v: v.max(1, keepdims=True), 3, budget=0.05, max_units=1000, max_samples=2**14)
    >>> bool(found.dropped.max() <= 0.05)
    True
    """
    bends = bending_plane(function, num_inputs)
    if bends is None:
        return None
    plane, slope = bends
    rng = np.random.default_rng(0)
    points, unseen = box_points(rng, SAMPLES, num_inputs), box_points(rng, max_samples, num_inputs)
    wanted, values = function(points), function(unseen)
    left = wanted - points @ slope
    constant = left.mean(0)
    left -= constant
    first = _leading(plane, points, left)
    seen_at = unseen @ plane.T
    nearest = cKDTree(seen_at).query(seen_at, k=NEIGHBOURS)[1][:, 1:]
    steps = np.linspace(-1, 1, PIECES + 1)
    for count, power in product(SIZES, CROWDING):
        if count * (PIECES - 1) > max_units:
            return None
        angles = np.pi * np.arange(count)[:, None] / count
        directions = np.cos(angles) * first[0] + np.sin(angles) * first[1]
        middle, half = directions.sum(1) / 2, np.abs(directions).sum(1) / 2
        places = [m + h * np.sign(steps) * np.abs(steps) ** power for m, h in zip(middle, half, strict=True)]
        shares = hats(points @ directions.T, places)
        weights = np.ones(len(points))
        for _ in range(ROUNDS):
            profiles = fit_profiles(shares, left, weights)
            size = np.abs(left - shares @ profiles).max(1)
            if size.max() <= budget:
                found = PiecewiseRidges.of(directions, places, profiles, constant, slope)
                rest = values - found(unseen)
                change = np.abs(rest[nearest] - rest[:, None]).max(1) / 2
                found = replace(found, dropped=(np.abs(rest) + change).max(0))
                if found.dropped.max() <= budget:
                    return found
            if size.max() > FAR * budget:
                break
            weights = raise_largest(weights, size)
    return None


def _leading(plane: Floats, points: Floats, left: Floats) -> Floats:
    """The plane by two orthonormal directions, the first of which is the integer one that takes most away, if any."""
    integer = integer_directions(len(plane.T))
    inside = integer[np.linalg.norm(integer - integer @ plane.T @ plane, axis=1) < 1e-3]
    if not len(inside):
        return plane
    low, length = np.minimum(inside, 0).sum(1), np.abs(inside).sum(1)
    best = inside[step_gains(points @ inside.T, low, length, left, np.ones(len(points))).argmax()] @ plane.T
    turn = np.array([best, [-best[1], best[0]]]) / np.linalg.norm(best)
    return np.asarray(turn @ plane)
