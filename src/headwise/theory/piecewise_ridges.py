"""Sums of piecewise linear functions along directions, fitted by least squares with the knots given."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.sparse import csr_array

from .cosine_ridges import Ridges
from .curves import Floats

__all__ = ["PiecewiseRidges", "box_points", "fit_profiles", "hats", "raise_largest"]

RIDGE = 1e-10  # keeps profiles small that could be moved from one direction to another


@dataclass(frozen=True)
class PiecewiseRidges(Ridges):
    """Ridges with profiles that are linear between knots.

    Parameters
    ----------
    places : tuple of array, shape (pieces + 1,)
        Knots of each direction, the ends of its range included.
    values : tuple of array, shape (pieces + 1, outputs)
        Profile of each direction at its knots, which comes on top of squares and waves.
    """

    places: tuple[Floats, ...]
    values: tuple[Floats, ...]

    @classmethod
    def of(
        cls,
        directions: NDArray[np.integer] | Floats,
        places: list[Floats],
        profiles: Floats,
        constant: Floats | None = None,
        slope: Floats | None = None,
    ) -> PiecewiseRidges:
        """From the knots' values of all directions, one after the other; ``dropped`` is zero."""
        (num_inputs, count), none = (directions.shape[1], profiles.shape[1]), np.zeros(0, dtype=np.int64)
        waves = np.zeros((0, count))
        return cls(
            np.zeros(count) if constant is None else constant,
            np.zeros((num_inputs, count)) if slope is None else slope,
            directions,
            np.zeros((len(directions), count)),
            none,
            none,
            waves,
            waves,
            np.zeros(count),
            tuple(places),
            tuple(np.split(profiles, np.cumsum([len(knots) for knots in places])[:-1])),
        )

    @property
    def pieces(self) -> NDArray[np.int64]:
        """Pieces of each direction."""
        return np.array([len(values) - 1 for values in self.values], dtype=np.int64)

    def knots(self, ridge: int, pieces: int) -> Floats:
        """Those of the profile, which has so many pieces and no other number."""
        assert pieces == len(self.places[ridge]) - 1
        return self.places[ridge]

    def profile(self, ridge: int, s: Floats) -> Floats:
        """g_r at s, shape (points, outputs)."""
        knots = self.places[ridge]
        own = np.stack([np.interp(s, knots, column) for column in self.values[ridge].T], axis=1)
        return super().profile(ridge, s) + own

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


def box_points(rng: np.random.Generator, count: int, num_inputs: int) -> Floats:
    """Points of the unit box, some on faces, edges and corners, where nothing else holds a fit."""
    return np.asarray(np.clip(1.1 * rng.random((count, num_inputs)) - 0.05, 0, 1))


def hats(along: Floats, places: list[Floats]) -> csr_array:
    """Weights of the two knots around each point, ``(points, knots of all directions)``.

    ``along`` holds the points' coordinates, ``(points, directions)``, ``places`` the knots of each direction.
    """
    columns, entries, first = [], [], 0
    for coordinate, knots in zip(along.T, places, strict=True):
        cell = np.clip(np.searchsorted(knots, coordinate, side="right") - 1, 0, len(knots) - 2)
        share = (coordinate - knots[cell]) / (knots[cell + 1] - knots[cell])
        columns += [first + cell, first + cell + 1]
        entries += [1 - share, share]
        first += len(knots)
    ends = len(columns) * np.arange(len(along) + 1)
    values, where = np.stack(entries, axis=1).ravel(), np.stack(columns, axis=1).ravel()
    return csr_array((values, where, ends), shape=(len(along), first))


def fit_profiles(shares: csr_array, wanted: Floats, weights: Floats) -> Floats:
    """Values at the knots by weighted least squares, from the `hats` of the points."""
    weighted = shares.multiply(weights[:, None]).tocsr()
    normal = (weighted.T @ shares).toarray()
    normal[np.diag_indices_from(normal)] += RIDGE * np.trace(normal)
    return np.asarray(solve(normal, weighted.T @ wanted, assume_a="pos"))


def raise_largest(weights: Floats, size: Floats) -> Floats:
    """Weights of the next fit: the largest error counts, not the mean one."""
    raised = weights * (1 + size / max(float(size.max()), 1e-300))
    return np.asarray(raised / raised.mean())
