"""A function on a box as a sum of piecewise linear functions along integer directions, by least squares.

Cosine series resolve kinks slowly, the more so the more inputs there are. Here knots are fixed, directions are added a
few at a time (those along which what is left changes most on average), and all profiles are fitted anew each time.

References
----------
Friedman and Stuetzle, "Projection pursuit regression", Journal of the American Statistical Association 76, 1981.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.sparse import csr_array

from .cosine_ridges import Ridges
from .curves import Floats

__all__ = ["PiecewiseRidges", "pursue"]

PER_UNIT = (8, 16)  # knots on a unit of length, each tried where the last were too coarse
SAMPLES = 30_000
ROUNDS = 16
EACH, MOST = 3, 30  # directions that are added in a round, and in all
BINS = 24  # of a direction, for the mean of what is left
ALIKE = 0.9  # cosine from which directions of one round are too much alike
FAR = 4  # times the budget: finer knots do not mend that
FINEST = 256  # cells of an axis, where the rest is looked at
RIDGE = 1e-10  # keeps profiles small that could be moved from one direction to another


@dataclass(frozen=True)
class PiecewiseRidges(Ridges):
    """Ridges with profiles that are linear between evenly spaced knots.

    Parameters
    ----------
    values : tuple of array, shape (pieces + 1, outputs)
        Profile of each direction at its knots, which comes on top of squares and waves.
    """

    values: tuple[Floats, ...]

    @property
    def pieces(self) -> NDArray[np.int64]:
        """Pieces of each direction."""
        return np.array([len(values) - 1 for values in self.values], dtype=np.int64)

    def profile(self, ridge: int, s: Floats) -> Floats:
        """g_r at s, shape (points, outputs)."""
        values = self.values[ridge]
        knots = self.low[ridge] + self.length[ridge] * np.linspace(0, 1, len(values))
        return super().profile(ridge, s) + np.stack([np.interp(s, knots, column) for column in values.T], axis=1)

    def __call__(self, v: Floats) -> Floats:
        """Values at points of the unit box, (points, inputs) -> (points, outputs)."""
        out = self.constant + v @ self.slope
        for ridge, direction in enumerate(self.directions):
            out += self.profile(ridge, v @ direction)
        return out

    def only(self, outputs: slice) -> PiecewiseRidges:
        """The functions of some of the outputs."""
        return replace(
            self,
            constant=self.constant[outputs],
            slope=self.slope[:, outputs],
            square=self.square[:, outputs],
            cosine=self.cosine[:, outputs],
            sine=self.sine[:, outputs],
            dropped=self.dropped[outputs],
            values=tuple(values[:, outputs] for values in self.values),
        )


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
    # some of the points lie on faces, edges and corners, where nothing else holds a fit
    points = np.clip(1.1 * rng.random((SAMPLES, num_inputs)) - 0.05, 0, 1)
    wanted, candidates = function(points), _candidates(num_inputs)
    along = points @ candidates.T
    lows = np.minimum(candidates, 0).sum(1)
    lengths = np.abs(candidates).sum(1)
    chosen = [int(np.flatnonzero((candidates == unit).all(1))[0]) for unit in np.eye(num_inputs, dtype=int)]
    for per_unit in PER_UNIT:
        weights = np.ones(SAMPLES)
        for _ in range(ROUNDS):
            pieces = per_unit * lengths[chosen]
            if (pieces - 1).sum() > max_units:
                return None
            hats = _hats((along[:, chosen] - lows[chosen]) * per_unit, pieces)
            profiles = _fit(hats, wanted, weights)
            rest = wanted - hats @ profiles
            size = np.abs(rest).max(1)
            if size.max() <= budget:
                found = _ridges(candidates[chosen], pieces, profiles)
                found = replace(found, dropped=_largest(function, found, num_inputs, max_samples))
                if found.dropped.max() <= budget:
                    return found
            weights *= 1 + size / max(size.max(), 1e-300)  # the largest error counts, not the mean one
            weights /= weights.mean()
            if len(chosen) < MOST:
                gains = _gains(along, lows, lengths, rest * weights[:, None], weights)
                gains[chosen] = -1
                chosen += _unlike(candidates, gains)
        if size.max() > FAR * budget:
            return None
    return None


def _candidates(num_inputs: int) -> NDArray[np.int64]:
    """Integer directions without common divisor, the first entry that is not zero positive."""
    reach = {1: 1, 2: 6, 3: 3}.get(num_inputs, 2)
    every = np.array(list(product(range(-reach, reach + 1), repeat=num_inputs)), dtype=np.int64)
    every = every[every.any(1)]
    first = every[np.arange(len(every)), (every != 0).argmax(1)]
    return every[(first > 0) & (np.gcd.reduce(every, axis=1) == 1)]


def _hats(places: Floats, pieces: NDArray[np.int64]) -> csr_array:
    """Weights of the two knots around each place, ``(points, knots of all directions)``; places count in pieces."""
    cell = np.clip(places.astype(np.int64), 0, pieces - 1)
    share = places - cell
    first = np.concatenate([[0], np.cumsum(pieces + 1)[:-1]]) + cell
    n, count = places.shape
    columns = np.stack([first, first + 1], axis=2).reshape(n, -1)
    entries = np.stack([1 - share, share], axis=2).reshape(n, -1)
    ends = 2 * count * np.arange(n + 1)
    return csr_array((entries.ravel(), columns.ravel(), ends), shape=(n, int((pieces + 1).sum())))


def _fit(hats: csr_array, wanted: Floats, weights: Floats) -> Floats:
    weighted = hats.multiply(weights[:, None]).tocsr()
    normal = (weighted.T @ hats).toarray()
    normal[np.diag_indices_from(normal)] += RIDGE * np.trace(normal)
    return np.asarray(solve(normal, weighted.T @ wanted, assume_a="pos"))


def _gains(along: Floats, lows: NDArray[np.int64], lengths: NDArray[np.int64], rest: Floats, weights: Floats) -> Floats:
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


def _ridges(directions: NDArray[np.int64], pieces: NDArray[np.int64], profiles: Floats) -> PiecewiseRidges:
    (num_inputs, count), none = (directions.shape[1], profiles.shape[1]), np.zeros(0, dtype=np.int64)
    waves = np.zeros((0, count))
    return PiecewiseRidges(
        np.zeros(count),
        np.zeros((num_inputs, count)),
        directions,
        np.zeros((len(directions), count)),
        none,
        none,
        waves,
        waves,
        np.zeros(count),
        tuple(np.split(profiles, np.cumsum(pieces + 1)[:-1])),
    )


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
