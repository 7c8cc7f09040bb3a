"""How a teacher shows itself in noisy data: outliers, overlaps and bulk of a signal plus Gaussian noise.

A teacher of low rank is seen through noise whose entries are independent with variance ``1 / num_inputs``; the data are
``num_outputs x num_inputs``, and the aspect is ``A = num_outputs / num_inputs``. A teacher's singular value is then the
signal-to-noise ratio of its mode. The formulas hold for any aspect: turning the matrix over exchanges the two overlaps
and leaves the rest as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_number, check_whole
from ..errors import InputError
from . import THEORIES
from .curves import Curves, Theory, average

__all__ = [
    "Imprint",
    "RandomMatrix",
    "bulk_density",
    "bulk_edges",
    "bulk_quantiles",
    "bulk_tail",
    "imprint",
    "input_overlap",
    "noise_scale",
    "outlier",
    "output_overlap",
    "predict",
    "simulate",
    "teacher_value",
    "threshold",
]

Floats = NDArray[np.float64]


def threshold(aspect: float) -> float:
    """The weakest teacher singular value that leaves a trace in the data, ``A ** 0.25``.

    Examples
    --------
    >>> threshold(0.0625)
    0.5
    """
    check_number("aspect", aspect)
    return float(aspect**0.25)


def bulk_edges(aspect: float) -> tuple[float, float]:
    """Least and largest singular value of pure noise, in the limit of large matrices.

    Examples
    --------
    >>> bulk_edges(0.25)
    (0.5, 1.5)
    """
    check_number("aspect", aspect)
    return abs(1 - aspect**0.5), 1 + aspect**0.5


def outlier(teacher: ArrayLike, aspect: float) -> Floats:
    """Singular values of the data that belong to those of the teacher; the edge of the bulk below the threshold.

    Examples
    --------
    >>> outlier([0.5, 3.0], aspect=0.5).round(3)
    array([1.707, 3.249])
    """
    s, seen = _seen(teacher, aspect)
    return np.where(seen, np.sqrt((1 + s**2) * (aspect + s**2)) / s, 1 + aspect**0.5)


def teacher_value(data: ArrayLike, aspect: float) -> Floats:
    """The inverse of `outlier`: teacher singular values behind those of the data, zero where only the bulk shows.

    Examples
    --------
    >>> teacher_value(outlier([2.0], aspect=0.5), aspect=0.5).round(6)
    array([2.])
    """
    x, edge = _values("singular values of the data", data), bulk_edges(aspect)[1]
    excess = np.maximum(x, edge) ** 2 - 1 - aspect
    inside = np.sqrt(np.maximum(excess**2 - 4 * aspect, 0))  # rounding at the edge itself
    return np.where(x > edge, np.sqrt((excess + inside) / 2), 0.0)


def output_overlap(teacher: ArrayLike, aspect: float) -> Floats:
    """Squared cosine between the output directions (left singular vectors) of teacher and data.

    Examples
    --------
    >>> output_overlap([0.5, 3.0], aspect=0.5).round(3)
    array([0.   , 0.942])
    """
    s, seen = _seen(teacher, aspect)
    return np.where(seen, np.maximum(1 - aspect * (1 + s**2) / (s**2 * (aspect + s**2)), 0), 0.0)


def input_overlap(teacher: ArrayLike, aspect: float) -> Floats:
    """Squared cosine between the input directions (right singular vectors) of teacher and data.

    Examples
    --------
    >>> input_overlap([0.5, 3.0], aspect=0.5).round(3)
    array([0.   , 0.894])
    """
    s, seen = _seen(teacher, aspect)
    return np.where(seen, np.maximum(1 - (aspect + s**2) / (s**2 * (1 + s**2)), 0), 0.0)


def bulk_density(values: ArrayLike, aspect: float) -> Floats:
    """Density of the singular values of pure noise (Marchenko and Pastur), zero outside the bulk.

    For an aspect above one, of the ``num_inputs`` singular values that are not zero by the shape alone.

    Examples
    --------
    >>> bulk_density([0.1, 1.0], aspect=0.25).round(4)
    array([0.    , 1.2328])
    """
    x = _values("singular values", values)
    least, largest = bulk_edges(aspect)
    inside = (x > least) & (x < largest)
    y = np.where(inside, x, 1.0)
    root = np.sqrt(np.maximum(4 * aspect - (y**2 - 1 - aspect) ** 2, 0))
    return np.where(inside, root / (np.pi * min(aspect, 1) * y), 0.0)


def bulk_tail(values: ArrayLike, aspect: float) -> Floats:
    """Share of the singular values of pure noise that are larger than the given ones, in closed form.

    Examples
    --------
    >>> bulk_tail([0.4, 1.6], aspect=0.25)
    array([1., 0.])
    """
    x = _values("singular values", values)
    check_number("aspect", aspect)
    cosine = np.clip((x**2 - 1 - aspect) / (2 * aspect**0.5), -1, 1)
    return _tail(np.arccos(cosine), aspect)


def bulk_quantiles(count: int, aspect: float) -> Floats:
    """``count`` singular values that stand for those of pure noise, from large to small: quantiles, not draws.

    The k-th has a share ``(k + 1/2) / count`` of the bulk above it.

    Examples
    --------
    >>> bulk_quantiles(3, aspect=0.25).round(3)
    array([1.25 , 0.957, 0.69 ])
    """
    check_whole("count", count)
    check_number("aspect", aspect)
    return _quantiles(count, float(aspect)).copy()


@lru_cache(maxsize=64)
def _quantiles(count: int, aspect: float) -> Floats:
    share = (np.arange(count) + 0.5) / max(count, 1)
    low, high = np.zeros(count), np.full(count, np.pi)
    angle = np.pi * share
    for _ in range(60):  # Newton's steps, halvings where these leave the bracket; a handful of steps is the rule
        excess = _tail(angle, aspect) - share
        low, high = np.where(excess > 0, low, angle), np.where(excess > 0, angle, high)
        slope = 2 * aspect * np.sin(angle) ** 2 / (np.pi * min(aspect, 1) * _squares(angle, aspect))
        stepped = angle - np.divide(excess, slope, out=np.full(count, np.inf), where=slope > 0)
        last, angle = angle, np.where((low < stepped) & (stepped < high), stepped, (low + high) / 2)
        if (np.abs(angle - last) <= 1e-15 * np.pi).all():
            break
    return np.sqrt(_squares(angle, aspect))


def _squares(angle: Floats, aspect: float) -> Floats:
    """Squared singular values of the bulk, from its upper edge at angle 0 to the lower one at pi."""
    return np.maximum(1 + aspect + 2 * aspect**0.5 * np.cos(angle), np.finfo(float).tiny)


def noise_scale(data: ArrayLike, aspect: float) -> float:
    """Scale of the noise from the singular values of the data: their median over that of pure noise of scale one.

    Right where most of the modes are noise. Entries of the noise then have the standard deviation
    ``noise_scale / sqrt(num_inputs)``.

    Parameters
    ----------
    data : array, shape (min(num_outputs, num_inputs),)
        All singular values of the data.
    aspect : float
        ``num_outputs / num_inputs``.

    Examples
    --------
    >>> import numpy as np
    >>> noise = 0.3 * np.random.default_rng(0).normal(size=(100, 200)) / np.sqrt(200)
    >>> round(noise_scale(np.linalg.svd(noise, compute_uv=False), aspect=0.5), 2)
    0.3
    """
    x = _values("singular values of the data", data)
    if not x.size:
        raise InputError("the noise is estimated from all singular values of the data, got none")
    return float(np.median(x) / bulk_quantiles(1, aspect)[0])


@dataclass(frozen=True)
class Imprint:
    """What training data look like, mode by mode.

    Parameters
    ----------
    teacher : array, shape (r,)
        Singular values of the teacher, from large to small.
    data : array, shape (r,)
        Those of the data that belong to them.
    output_overlap, input_overlap : array, shape (r,)
        Squared cosines between the singular vectors of teacher and data.
    bulk : array, shape (m - r,)
        Singular values of the data that are noise, ``m`` being the smaller side.
    """

    teacher: Floats
    data: Floats
    output_overlap: Floats
    input_overlap: Floats
    bulk: Floats

    @property
    def alignment(self) -> Floats:
        """Product of the cosines of both sides: how much of a data mode is the teacher's."""
        return np.sqrt(self.output_overlap * self.input_overlap)


def imprint(teacher: ArrayLike, num_inputs: int, num_outputs: int, scale: float = 1.0) -> Imprint:
    """What a teacher leaves in data with noise.

    Parameters
    ----------
    teacher : array, shape (r,)
        Singular values of the teacher.
    num_inputs, num_outputs : int
        Sides of the matrix.
    scale : float
        The entries of the noise have standard deviation ``scale / sqrt(num_inputs)``.

    Raises
    ------
    InputError
        Negative or infinite singular values, or more of them than the smaller side has.

    Examples
    --------
    >>> seen = imprint([3.0], num_inputs=100, num_outputs=50)
    >>> seen.data.round(3), seen.bulk.shape
    (array([3.249]), (49,))
    """
    check_whole("num_inputs", num_inputs, 1)
    check_whole("num_outputs", num_outputs, 1)
    check_number("scale", scale)
    s = np.sort(_values("singular values of the teacher", teacher).ravel())[::-1]
    check_rank(len(s), num_inputs, num_outputs)
    aspect, ratio = num_outputs / num_inputs, s / scale
    return Imprint(
        s,
        scale * outlier(ratio, aspect),
        output_overlap(ratio, aspect),
        input_overlap(ratio, aspect),
        scale * bulk_quantiles(min(num_inputs, num_outputs) - len(s), aspect),
    )


def draw(teacher: Sequence[float], num_inputs: int, num_outputs: int, seed: int) -> tuple[Floats, Floats]:
    """A random teacher with these singular values, and the data: teacher plus noise."""
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.normal(size=(num_outputs, len(teacher))))[0]
    right = np.linalg.qr(rng.normal(size=(num_inputs, len(teacher))))[0]
    matrix = (left * np.asarray(teacher)) @ right.T
    return matrix, matrix + rng.normal(size=matrix.shape) / num_inputs**0.5


@dataclass(frozen=True)
class RandomMatrix:
    """The transition from invisible to visible modes, over the signal-to-noise ratio of one mode.

    Parameters
    ----------
    num_inputs, num_outputs : int
        Sides of the matrix. Close to the threshold the formulas need large ones.
    strengths : sequence of float
        Singular values of rank-one teachers.

    Raises
    ------
    InputError
        Sides below one, or strengths that are not positive and finite.
    """

    num_inputs: int = 400
    num_outputs: int = 200
    strengths: Sequence[float] = tuple(np.linspace(0.2, 3, 15).round(3).tolist())

    def __post_init__(self) -> None:
        check_whole("num_inputs", self.num_inputs, 1)
        check_whole("num_outputs", self.num_outputs, 1)
        check_strengths("strengths", self.strengths)


def check_rank(rank: int, num_inputs: int, num_outputs: int) -> None:
    """Refuse more singular values than a matrix of these sides has."""
    smaller = min(num_inputs, num_outputs)
    if rank > smaller:
        raise InputError(
            f"the teacher has rank {rank}, and a {num_outputs} x {num_inputs} matrix has {smaller} singular values at "
            "most; give fewer, or a larger matrix"
        )


def check_strengths(name: str, values: Any) -> None:
    """Refuse what is no row of positive numbers."""
    if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):
        raise InputError(f"{name} must be a row of positive numbers, got {values!r}")
    for value in values:
        check_number(f"each of {name}", value)


def predict(config: RandomMatrix) -> Curves:
    """Singular value and overlaps of the strongest mode of the data, in the limit of large matrices.

    Examples
    --------
    >>> predict(RandomMatrix(strengths=(1.5,)))["data singular value"].round(3)
    array([1.993])
    """
    aspect, s = config.num_outputs / config.num_inputs, np.asarray(config.strengths, dtype=float)
    return _curves(config, outlier(s, aspect), output_overlap(s, aspect), input_overlap(s, aspect))


def simulate(config: RandomMatrix, seeds: Sequence[int] = range(5)) -> Curves:
    """The same of drawn teachers and noise, by singular value decomposition.

    Examples
    --------
    >>> found = simulate(RandomMatrix(200, 100, strengths=(3.0,)), seeds=[0])
    >>> bool(abs(found["output overlap"][0] - 0.94) < 0.05)
    True
    """
    draws = []
    for seed in seeds:
        rows = []
        for strength in config.strengths:
            teacher, data = draw([strength], config.num_inputs, config.num_outputs, seed)
            left, values, right = np.linalg.svd(data, full_matrices=False)
            along = teacher.T @ left[:, 0] / strength, teacher @ right[0] / strength
            rows.append((values[0], along[0] @ along[0], along[1] @ along[1]))
        draws.append(_curves(config, *np.array(rows).T))
    return average(draws)


def _curves(config: RandomMatrix, data: Floats, outputs: Floats, inputs: Floats) -> Curves:
    aspect = config.num_outputs / config.num_inputs
    return Curves(
        f"What data show of a teacher, {config.num_outputs} x {config.num_inputs}",
        "teacher singular value",
        config.strengths,
        {"data singular value": data, "output overlap": outputs, "input overlap": inputs},
        unit="noise",
        value="singular value (noise), squared cosine",
        marks={"threshold": threshold(aspect)},
    )


def _values(name: str, values: ArrayLike) -> Floats:
    found = np.asarray(values, dtype=float)
    if not np.isfinite(found).all() or (found < 0).any():
        raise InputError(f"{name} must be finite and not negative, got {values!r}")
    return found


def _seen(teacher: ArrayLike, aspect: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Teacher singular values, those below the threshold replaced by one, and which are above it."""
    s = _values("singular values of the teacher", teacher)
    seen = s > threshold(aspect)
    return np.where(seen, s, 1.0), seen


def _tail(angle: Floats, aspect: float) -> Floats:
    """Share of the bulk above ``x``, with ``x^2 = 1 + A + 2 sqrt(A) cos(angle)``.

    The density becomes ``2 A sin(angle)^2 / (pi min(A, 1) x^2)``, whose integral from 0 is elementary.
    """
    root = aspect**0.5
    turned = 2 * abs(1 - aspect) * np.arctan2(abs(1 - root) * np.sin(angle / 2), (1 + root) * np.cos(angle / 2))
    share = ((1 + aspect) * angle - 2 * root * np.sin(angle) - turned) / (2 * np.pi * min(aspect, 1))
    return np.clip(share, 0, 1)


THEORIES.register("random_matrix")(Theory(RandomMatrix, predict, simulate))
