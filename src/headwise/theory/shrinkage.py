"""The estimator that beats gradient descent: shrink each singular value of the data by what noise did to it.

One stopping time gives all modes the same clock; the best linear estimate in the basis of the data gives each mode its
own factor. It needs the scale of the noise and nothing else. Noise and sides are as in
`headwise.theory.random_matrix`.

References
----------
Gavish and Donoho, "Optimal shrinkage of singular values", IEEE Transactions on Information Theory 63, 2017, arXiv
1405.7511. Beside gradient descent: Lampinen and Ganguli, "An analytic theory of generalization dynamics and transfer
learning in deep linear networks", ICLR 2019, arXiv 1809.10374. The formula was derived again and is checked on draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..checks import check_number, check_whole
from ..errors import InputError
from . import THEORIES
from .curves import Curves, Floats, Theory, over_seeds
from .deep_linear import DeepLinear, best_stopping
from .inputs import as_row, check_rank, check_strength, not_negative, on
from .marchenko_pastur import bulk_edges, noise_scale
from .random_matrix import draw, imprint, threshold
from .stopping import least_draw_error

__all__ = ["Shrinkage", "denoise", "predict", "shrink", "shrinkage_error", "simulate"]


def shrink(data: ArrayLike, aspect: float, scale: float = 1.0) -> Floats:
    """Best singular values for an estimate of the teacher, from those of the data; zero for all of the bulk.

    ``sqrt((x^2 - A - 1)^2 - 4 A) / x``: the teacher's singular value times the cosines of both its sides, with which
    the squared Frobenius error is least.

    Parameters
    ----------
    data : array
        Singular values of the data.
    aspect : float
        Outputs over inputs.
    scale : float
        The entries of the noise have standard deviation ``scale / sqrt(num_inputs)``.

    Examples
    --------
    >>> shrink([1.5, 2.0, 5.0], aspect=0.5).round(3)
    array([0.   , 1.031, 4.691])
    """
    check_number("scale", scale)
    x = not_negative("singular values of the data", data) / scale
    seen = x > bulk_edges(aspect)[1]
    inside = np.maximum((x**2 - aspect - 1) ** 2 - 4 * aspect, 0)  # rounding at the edge itself
    return scale * np.where(seen, np.sqrt(inside) / np.where(seen, x, 1), 0.0)


def shrinkage_error(teacher: ArrayLike, num_inputs: int, num_outputs: int) -> float:
    """Error of the estimate relative to the size of the teacher.

    Examples
    --------
    >>> round(shrinkage_error([3.0], num_inputs=100, num_outputs=50), 3)
    0.158
    """
    seen = imprint(teacher, num_inputs, num_outputs)
    return float(1 - (seen.teacher**2 * seen.alignment**2).sum() / (seen.teacher**2).sum())


def denoise(matrix: ArrayLike, scale: float | None = None) -> tuple[Floats, float]:
    """Estimate of a teacher of low rank from data with noise, and the scale of that noise.

    Parameters
    ----------
    matrix : array, shape (num_outputs, num_inputs)
        Teacher plus noise.
    scale : float, optional
        The entries of the noise have standard deviation ``scale / sqrt(num_inputs)``; estimated by default, from the
        median singular value.

    Returns
    -------
    array, shape (num_outputs, num_inputs)
    float

    Raises
    ------
    InputError
        What is no matrix of finite numbers.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> teacher = 5 * np.outer(np.eye(100)[0], np.eye(200)[0])
    >>> found, scale = denoise(teacher + rng.normal(size=(100, 200)) / 200**0.5)
    >>> round(scale, 1), bool(np.linalg.norm(found - teacher) < 0.25 * np.linalg.norm(teacher))
    (1.0, True)
    """
    data = np.asarray(matrix, dtype=float)
    if data.ndim != 2 or not data.size or not np.isfinite(data).all():
        raise InputError(f"a matrix of finite numbers is needed, got an array of shape {data.shape}")
    aspect = data.shape[0] / data.shape[1]
    left, values, right = np.linalg.svd(data, full_matrices=False)
    found = noise_scale(values, aspect) if scale is None else float(scale)
    # no noise at all: nothing to take away
    kept = shrink(values, aspect, found) if scale is not None or found > 0 else values
    return (left * kept) @ right, found


@dataclass(frozen=True)
class Shrinkage:
    """Shrinkage against gradient descent, over the signal-to-noise ratio of a teacher of one mode.

    Parameters
    ----------
    num_inputs, num_outputs : int
        Sides of the teacher.
    strengths : sequence of float
        Signal-to-noise ratios.
    start : float
        Strength of the modes of the gradient-descent student at time 0.
    depth : int
        Its weight layers.

    Raises
    ------
    InputError
        What is no such number.
    """

    num_inputs: int = 100
    num_outputs: int = 50
    strengths: Sequence[float] = tuple(np.linspace(0.5, 5, 19).tolist())
    start: float = 1e-3
    depth: int = 2

    def __post_init__(self) -> None:
        for name in ("num_inputs", "num_outputs", "depth"):
            check_whole(name, getattr(self, name), 1)
        check_rank(1, self.num_inputs, self.num_outputs)
        object.__setattr__(self, "strengths", as_row("strengths", self.strengths, check=check_strength))
        check_number("start", self.start)


@on(Shrinkage)
def predict(config: Shrinkage) -> Curves:
    """Error of the shrunk estimate, and the least error of gradient descent over its time.

    Both are relative to the size of the teacher.

    Examples
    --------
    >>> curves = predict(Shrinkage(strengths=(2.0,)))
    >>> {name: float(curves[name].round(2)[0]) for name in curves.series}
    {'shrinkage': 0.33, 'gradient descent at its best time': 0.41}
    """
    n, m = config.num_inputs, config.num_outputs
    shrunk = [shrinkage_error([s], n, m) for s in config.strengths]
    stopped = [
        best_stopping(DeepLinear(n, m, min(n, m), (s,), config.start, config.depth)).error for s in config.strengths
    ]
    return _curves(config, shrunk, stopped)


@on(Shrinkage)
def simulate(config: Shrinkage, seeds: Sequence[int] = range(5)) -> Curves:
    """The same on drawn teachers and noise; the mean over seeds.

    The estimate that is shrunk knows the data alone, not the scale of their noise.

    Examples
    --------
    >>> found = simulate(Shrinkage(strengths=(3.0,)), seeds=[0])
    >>> bool(found["shrinkage"][0] < found["gradient descent at its best time"][0])
    True
    """
    return over_seeds(lambda seed: _drawn(config, seed), seeds)


def _drawn(config: Shrinkage, seed: int) -> Curves:
    shrunk, stopped = [], []
    for strength in config.strengths:
        teacher, data = draw([strength], config.num_inputs, config.num_outputs, seed)
        shrunk.append(float(((denoise(data)[0] - teacher) ** 2).sum()) / strength**2)
        stopped.append(least_draw_error(teacher, data, config.start, config.depth))
    return _curves(config, shrunk, stopped)


def _curves(config: Shrinkage, shrunk: Sequence[float], stopped: Sequence[float]) -> Curves:
    return Curves(
        f"Shrinkage and gradient descent, {config.num_outputs} x {config.num_inputs}",
        "teacher singular value",
        config.strengths,
        {"shrinkage": shrunk, "gradient descent at its best time": stopped},
        unit="noise = 1",
        value="relative squared error",
        marks={"threshold": threshold(config.num_outputs / config.num_inputs)},
    )


THEORIES.register("shrinkage")(Theory(Shrinkage, predict, simulate))
