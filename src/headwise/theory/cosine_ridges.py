"""A function on a box as a sum of functions of one variable, each along an integer direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, fftfreq, fftn

from ..errors import InputError
from .curves import Floats

__all__ = ["KINDS", "CosineSeries", "Kind", "Ridges", "cosine_series", "ridges"]

Sampled = Callable[[Floats], Floats]
FALLS = 0.95  # shells of coefficients that fall more slowly than this are taken as a series without a sum
MOST_VECTORS = 200_000
Kind = Literal["even", "even but for a square", "periodic"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class CosineSeries:
    """Cosine coefficients of a function minus a polynomial.

    Parameters
    ----------
    coefficients : array, shape (grid, ..., grid, outputs)
        Factor of ``prod_i cos(pi k_i v_i)``; complex for periodic functions, where the real part is the factor of
        ``cos(2 pi k . v)``, the imaginary one minus that of the sine, and only one of k and -k has a factor.
    constant, slope, quadratic : arrays, shapes (outputs,), (inputs, outputs), (inputs, inputs, outputs)
        The polynomial; ``quadratic`` is upper triangular, zero where the polynomial is affine.
    unresolved : array, shape (outputs,)
        Twice an estimate of what the coefficients that the grid does not resolve add up to: they are missing, and
        folded into the others. Infinite where coefficients do not fall.
    """

    coefficients: NDArray[np.inexact]
    constant: Floats
    slope: Floats
    quadratic: Floats
    unresolved: Floats

    @property
    def periodic(self) -> bool:
        return np.iscomplexobj(self.coefficients)

    @property
    def num_inputs(self) -> int:
        return self.coefficients.ndim - 1

    def only(self, outputs: slice) -> CosineSeries:
        """The series of some of the outputs."""
        return CosineSeries(
            self.coefficients[..., outputs],
            self.constant[outputs],
            self.slope[:, outputs],
            self.quadratic[..., outputs],
            self.unresolved[outputs],
        )


@dataclass(frozen=True)
class Ridges:
    """``constant + slope . v + sum_r g_r(direction_r . v)``.

    ``g_r(s) = square_r s^2 + sum_f (cosine_rf cos(pi f s) + sine_rf sin(pi f s))``.

    Parameters
    ----------
    constant, slope : arrays, shapes (outputs,), (inputs, outputs)
    directions : array, shape (ridges, inputs)
        Of cosines integers without common divisor, the first entry that is not zero positive.
    square : array, shape (ridges, outputs)
    owner, frequency, cosine, sine : arrays, shapes (terms,), (terms,), (terms, outputs), (terms, outputs)
        Each wave with the ridge that it belongs to, in the order of ridges.
    dropped : array, shape (outputs,)
        Sum of the absolute coefficients that were left out.
    """

    constant: Floats
    slope: Floats
    directions: NDArray[np.integer] | Floats
    square: Floats
    owner: NDArray[np.int64]
    frequency: NDArray[np.int64]
    cosine: Floats
    sine: Floats
    dropped: Floats

    @property
    def low(self) -> Floats:
        """Least value of each direction on the box, shape (ridges,)."""
        return np.minimum(self.directions, 0).sum(1).astype(float)

    @property
    def length(self) -> Floats:
        """Range of each direction on the box, shape (ridges,)."""
        return np.abs(self.directions).sum(1).astype(float)

    def knots(self, ridge: int, pieces: int) -> Floats:
        """Ends of the pieces of a direction, shape (pieces + 1,)."""
        return np.asarray(self.low[ridge] + self.length[ridge] * np.linspace(0, 1, pieces + 1))

    def bend(self) -> Floats:
        """Upper bound of abs(g_r''), shape (ridges, outputs)."""
        bend = 2 * np.abs(self.square)
        np.add.at(bend, self.owner, (np.pi * self.frequency[:, None]) ** 2 * np.hypot(self.cosine, self.sine))
        return bend

    def profile(self, ridge: int, s: Floats) -> Floats:
        """g_r at s, shape (points, outputs)."""
        own = slice(*np.searchsorted(self.owner, [ridge, ridge + 1]))
        angle = np.pi * np.outer(s, self.frequency[own])
        waves = np.cos(angle) @ self.cosine[own] + np.sin(angle) @ self.sine[own]
        return np.asarray(self.square[ridge] * s[:, None] ** 2 + waves)

    def __call__(self, v: Floats) -> Floats:
        """Values at points of the unit box, (points, inputs) -> (points, outputs)."""
        out = self.constant + v @ self.slope
        for at in range(0, len(v), 512):
            s = v[at : at + 512] @ self.directions.T
            out[at : at + 512] += s**2 @ self.square
            for first in range(0, len(self.owner), 2048):
                some = slice(first, first + 2048)
                angle = np.pi * s[:, self.owner[some]] * self.frequency[some]
                out[at : at + 512] += np.cos(angle) @ self.cosine[some]
                if self.sine[some].any():
                    out[at : at + 512] += np.sin(angle) @ self.sine[some]
        return np.asarray(out)


def cosine_series(function: Sampled, num_inputs: int, grid: int, kind: Kind) -> CosineSeries:
    """Coefficients of an extension of a function on the unit box, from its values at the centres of a grid.

    Parameters
    ----------
    function : callable
        (points, inputs) -> (points, outputs).
    num_inputs, grid : int
        Dimension, and cells along each axis, a power of two.
    kind : {"even", "even but for a square", "periodic"}
        Mirrored at the border, which leaves no jump for any continuous function, after the best affine function is
        taken out; the same with the best function of degree two, which leaves less of a kink at the border; or
        repeated, for functions that are periodic on the box.

    Examples
    --------
    >>> series = cosine_series(lambda v: np.cos(np.pi * v[:, :1]) + v[:, 1:], 2, 16, "even")
    >>> series.coefficients.shape, series.slope.shape
    ((16, 16, 1), (2, 1))
    """
    centres = (np.arange(grid) + 0.5) / grid
    points = np.stack(np.meshgrid(*[centres] * num_inputs, indexing="ij"), axis=-1).reshape(-1, num_inputs)
    values = function(points)
    pairs = [(i, i) for i in range(num_inputs)] + list(combinations(range(num_inputs), 2)) if kind == KINDS[1] else []

    def terms(v: Floats) -> Floats:
        affine = v if kind != KINDS[2] else np.zeros_like(v)
        return np.concatenate([np.ones((len(v), 1)), affine, *[v[:, [i]] * v[:, [j]] for i, j in pairs]], axis=1)

    some = np.random.default_rng(0).permutation(len(points))[:20_000]
    solution = np.linalg.lstsq(terms(points[some]), values[some], rcond=None)[0]
    solution[np.abs(solution) < 1e-12 * max(1.0, np.abs(values).max())] = 0
    rest = (values - terms(points) @ solution).reshape(*[grid] * num_inputs, -1)
    coefficients = _periodic(rest) if kind == KINDS[2] else _even(rest)
    form = np.zeros((num_inputs, num_inputs, values.shape[1]))
    for (i, j), row in zip(pairs, solution[1 + num_inputs :], strict=True):
        form[i, j] = row
    return CosineSeries(
        coefficients,
        np.asarray(solution[0]),
        np.asarray(solution[1 : 1 + num_inputs]),
        form,
        _unresolved(coefficients, float(np.abs(values).max())),
    )


def _even(values: Floats) -> Floats:
    num_inputs, grid = values.ndim - 1, len(values)
    coefficients: Floats = dctn(values, axes=range(num_inputs)) / grid**num_inputs
    for axis in range(num_inputs):
        np.moveaxis(coefficients, axis, 0)[0] /= 2
    return coefficients


def _periodic(values: Floats) -> NDArray[np.complex128]:
    num_inputs, grid = values.ndim - 1, len(values)
    coefficients: NDArray[np.complex128] = 2 * fftn(values, axes=range(num_inputs)) / grid**num_inputs
    waves = _waves(coefficients)
    coefficients *= np.exp(-1j * np.pi / grid * waves.sum(-1))[..., None]  # values are at centres of cells
    first = np.take_along_axis(waves, (waves != 0).argmax(-1)[..., None], axis=-1)[..., 0]
    coefficients[first < 0] = 0  # a real function has the conjugate there
    coefficients[(0,) * num_inputs] /= 2
    return coefficients


def _waves(coefficients: NDArray[np.inexact]) -> NDArray[np.int64]:
    """Wave number of each coefficient on each axis, shape (grid, ..., grid, inputs)."""
    num_inputs, grid = coefficients.ndim - 1, len(coefficients)
    axis = np.rint(fftfreq(grid, 1 / grid)) if np.iscomplexobj(coefficients) else np.arange(grid)
    return np.stack(np.meshgrid(*[axis.astype(np.int64)] * num_inputs, indexing="ij"), axis=-1)


def _unresolved(coefficients: NDArray[np.inexact], largest: float) -> Floats:
    """What lies beyond the grid, if the sums over dyadic shells go on to fall as they did last."""
    num_inputs, grid = coefficients.ndim - 1, len(coefficients)
    frequency = np.abs(_waves(coefficients)).max(-1)
    top = grid / 2 if np.iscomplexobj(coefficients) else grid
    amplitude = np.abs(coefficients)
    # the outermost shell holds what is folded back into it, with either sign, and so is not trusted to be large enough
    shells = [amplitude[(frequency >= top / 2**i) & (frequency < 2 * top / 2**i)].sum(0) for i in range(1, 5)]
    noise = 1e-13 * max(largest, 1e-300) * grid ** (num_inputs / 2)
    falls = np.max([near / np.maximum(far, noise) for near, far in pairwise(shells)], axis=0)
    last = np.maximum(shells[0], shells[1] * falls)
    tail = np.where(falls < FALLS, last * falls / np.maximum(1 - falls, 1 - FALLS), np.inf)
    # rounding does not fall, and is no sign of anything
    still = np.maximum(shells[0], shells[1]) <= 10 * noise
    return np.asarray(2 * np.where(still, 10 * noise, np.maximum(tail, noise)))


def ridges(series: CosineSeries, drop: float) -> Ridges:
    """Split products of cosines into cosines of integer directions, without the smallest coefficients.

    Parameters
    ----------
    series : CosineSeries
    drop : float
        Most that coefficients left out may add up to, in each output.

    Raises
    ------
    InputError
        More than 200,000 cosines are left.

    Notes
    -----
    The product of q cosines is the mean of ``2^(q-1)`` cosines of sums with signs. Those along one direction are one
    function of one variable, so their number costs nothing. Quadratic terms are split as
    ``4 v_i v_j = (v_i + v_j)^2 - (v_i - v_j)^2``.

    Examples
    --------
    >>> series = cosine_series(lambda v: v[:, :1] * v[:, 1:], 2, 16, "even but for a square")
    >>> found = ridges(series, drop=1e-9)
    >>> found.directions.tolist()
    [[1, -1], [1, 1]]
    """
    num_inputs, num_outputs = series.num_inputs, series.coefficients.shape[-1]
    amplitude = np.abs(series.coefficients).reshape(-1, num_outputs)
    order = np.argsort(amplitude.max(1), kind="stable")
    sums = np.cumsum(amplitude[order], axis=0)
    num_dropped = int((sums.max(1) <= drop).sum())
    kept = np.sort(order[num_dropped:])
    dropped = sums[num_dropped - 1] if num_dropped else np.zeros(num_outputs)
    waves = _waves(series.coefficients).reshape(-1, num_inputs)[kept]
    factors = series.coefficients.reshape(-1, num_outputs)[kept]
    constant = series.constant + factors[~waves.any(1)].real.sum(0)
    factors, waves = factors[waves.any(1)], waves[waves.any(1)]
    found, cosine = (2 * waves, factors.real) if series.periodic else _sums(waves, factors.real)
    sine = -factors.imag if series.periodic else np.zeros_like(cosine)
    squares: list[tuple[NDArray[np.int64], Floats]] = []
    unit = np.eye(num_inputs, dtype=np.int64)
    for i, j in zip(*np.nonzero(series.quadratic.any(-1)), strict=True):
        q = series.quadratic[i, j]
        squares += [(unit[i], q)] if i == j else [(unit[i] + unit[j], q / 4), (unit[i] - unit[j], -q / 4)]
    frequency = np.gcd.reduce(found, axis=1) if len(found) else np.zeros(0, dtype=np.int64)
    every = np.concatenate([found // np.maximum(frequency, 1)[:, None], *[row[None] for row, _ in squares]])
    directions, owner = np.unique(every, axis=0, return_inverse=True)
    owner = owner.reshape(-1)
    square = np.zeros((len(directions), num_outputs))
    for ridge, (_, q) in zip(owner[len(found) :], squares, strict=True):
        square[ridge] += q
    order = np.argsort(owner[: len(found)], kind="stable")
    return Ridges(
        constant,
        series.slope,
        directions,
        square,
        owner[order],
        frequency[order],
        cosine[order],
        sine[order],
        dropped,
    )


def _sums(waves: NDArray[np.int64], factors: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Products of cosines as cosines of sums: integer vectors, the first entry that is not zero positive."""
    total = int((2.0 ** np.maximum((waves > 0).sum(1) - 1, 0)).sum())
    if total > MOST_VECTORS:
        raise InputError(
            f"{total:,} cosines are needed for this tolerance, more than {MOST_VECTORS:,}; give a larger tolerance"
        )
    vectors, parts = [np.zeros((0, waves.shape[1]), dtype=np.int64)], [np.zeros((0, factors.shape[1]))]
    for support in sorted({tuple(row) for row in (waves > 0).tolist()}):
        rows, where = ((waves > 0) == np.array(support)).all(1), np.flatnonzero(support)
        for bits in range(2 ** (len(where) - 1)):
            sign = np.ones(waves.shape[1], dtype=np.int64)
            sign[where[1:]] = [1 - 2 * (bits >> i & 1) for i in range(len(where) - 1)]
            vectors.append(waves[rows] * sign)
            parts.append(factors[rows] / 2 ** (len(where) - 1))
    return np.concatenate(vectors), np.concatenate(parts)
