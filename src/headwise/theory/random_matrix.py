"""How a teacher shows itself in noisy data: outliers, overlaps and bulk of a signal plus Gaussian noise.

A teacher of low rank is seen through noise whose entries are independent with variance ``1 / num_inputs``; the data are
``num_outputs x num_inputs``, and the aspect is ``A = num_outputs / num_inputs``. A teacher's singular value is then the
signal-to-noise ratio of its mode. The formulas hold for any aspect: turning the matrix over exchanges the two overlaps
and leaves the rest as it is. They were derived again and are checked against draws.

References
----------
Benaych-Georges and Nadakuditi, "The singular values and vectors of low rank perturbations of large rectangular random
matrices", Journal of Multivariate Analysis 111, 2012, arXiv 1103.2221. In the units used here: Lampinen and Ganguli,
"An analytic theory of generalization dynamics and transfer learning in deep linear networks", ICLR 2019, arXiv
1809.10374.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_number, check_whole
from . import THEORIES
from .curves import Curves, Floats, Theory, over_seeds
from .inputs import as_row, check_rank, check_strength, not_negative, on
from .marchenko_pastur import bulk_edges, bulk_quantiles

__all__ = [
    "Imprint",
    "RandomMatrix",
    "draw",
    "imprint",
    "input_overlap",
    "outlier",
    "output_overlap",
    "predict",
    "simulate",
    "teacher_value",
    "threshold",
]


def threshold(aspect: float) -> float:
    """The weakest teacher singular value that leaves a trace in the data, ``A ** 0.25``.

    Examples
    --------
    >>> threshold(0.0625)
    0.5
    """
    check_number("aspect", aspect)
    return float(aspect**0.25)


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
    x, edge = not_negative("singular values of the data", data), bulk_edges(aspect)[1]
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
    s = np.sort(not_negative("singular values of the teacher", teacher).ravel())[::-1]
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
    """A random teacher with these singular values, and the data: teacher plus noise.

    Examples
    --------
    >>> matrix, data = draw([3.0], num_inputs=100, num_outputs=50, seed=0)
    >>> data.shape, round(float(np.linalg.norm(matrix)), 6)
    ((50, 100), 3.0)
    """
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
        check_rank(1, self.num_inputs, self.num_outputs)
        object.__setattr__(self, "strengths", as_row("strengths", self.strengths, check=check_strength))


@on(RandomMatrix)
def predict(config: RandomMatrix) -> Curves:
    """Singular value and overlaps of the strongest mode of the data, in the limit of large matrices.

    Examples
    --------
    >>> predict(RandomMatrix(strengths=(1.5,)))["data singular value"].round(3)
    array([1.993])
    """
    aspect, s = config.num_outputs / config.num_inputs, np.asarray(config.strengths, dtype=float)
    return _curves(config, outlier(s, aspect), output_overlap(s, aspect), input_overlap(s, aspect))


@on(RandomMatrix)
def simulate(config: RandomMatrix, seeds: Sequence[int] = range(5)) -> Curves:
    """The same of drawn teachers and noise, by singular value decomposition; the mean over seeds.

    Examples
    --------
    >>> found = simulate(RandomMatrix(200, 100, strengths=(3.0,)), seeds=[0])
    >>> bool(abs(found["output overlap"][0] - 0.94) < 0.05)
    True
    """
    return over_seeds(lambda seed: _drawn(config, seed), seeds)


def _drawn(config: RandomMatrix, seed: int) -> Curves:
    rows = []
    for strength in config.strengths:
        teacher, data = draw([strength], config.num_inputs, config.num_outputs, seed)
        left, values, right = np.linalg.svd(data, full_matrices=False)
        along = teacher.T @ left[:, 0] / strength, teacher @ right[0] / strength
        rows.append((values[0], along[0] @ along[0], along[1] @ along[1]))
    return _curves(config, *np.array(rows).T)


def _curves(config: RandomMatrix, data: Floats, outputs: Floats, inputs: Floats) -> Curves:
    aspect = config.num_outputs / config.num_inputs
    return Curves(
        f"What data show of a teacher, {config.num_outputs} x {config.num_inputs}",
        "teacher singular value",
        config.strengths,
        {"data singular value": data, "output overlap": outputs, "input overlap": inputs},
        unit="noise = 1",
        value="singular value (noise = 1), squared cosine",
        marks={"threshold": threshold(aspect)},
    )


def _seen(teacher: ArrayLike, aspect: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Teacher singular values, those below the threshold replaced by one, and which are above it."""
    s = not_negative("singular values of the teacher", teacher)
    seen = s > threshold(aspect)
    return np.where(seen, s, 1.0), seen


THEORIES.register("random_matrix")(Theory(RandomMatrix, predict, simulate))
