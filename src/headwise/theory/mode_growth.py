"""How the modes of a deep linear student grow: strength over time, and the time to a strength, for any depth.

Gradient flow on half the squared error of whitened inputs, with balanced layers: ``ds/dt = D s^(2 - 2/D) (data - s)``
for each singular value of the data, on its own. Time is in units of the inverse of the learning rate.

References
----------
Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
ICLR 2014, arXiv 1312.6120. The times for more than two layers are derived here; the tests integrate the equation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import hyp2f1

from ..checks import check_number, check_whole
from ..errors import InputError
from .curves import Floats
from .inputs import not_negative
from .integration import integrate

__all__ = ["mode_strengths", "time_to_learn"]


def mode_strengths(times: ArrayLike, data: ArrayLike, start: float, depth: int = 2) -> Floats:
    """Strength of each mode of the student, shape (times, modes).

    In closed form for one and two layers, by an accurate integrator (relative tolerance 1e-10) for more.

    Parameters
    ----------
    times : array, shape (p,)
        Times, not negative.
    data : array, shape (m,)
        Singular values of the data.
    start : float
        Strength of every mode at time 0.
    depth : int
        Number D of weight layers.

    Examples
    --------
    >>> mode_strengths([0.0, 1.0, 2.0], [3.0, 2.0], start=0.01).round(2)
    array([[0.01, 0.01],
           [1.72, 0.43],
           [2.99, 1.87]])
    """
    t = np.atleast_1d(not_negative("times", times))
    s = np.atleast_1d(not_negative("singular values of the data", data))
    check_number("start", start)
    check_whole("depth", depth, 1)
    if depth == 1:
        return s + np.exp(-t)[:, None] * (start - s)
    if depth == 2:
        grown = 2 * t[:, None] * s
        # written so that neither an overflow nor a mode of strength 0 (which decays) needs a case of its own
        mean = np.divide(-np.expm1(-grown), grown, out=np.ones_like(grown), where=grown > 0)
        return start / (np.exp(-grown) + start * 2 * t[:, None] * mean)
    return _integrated(t, s, start, depth)


def _integrated(times: Floats, data: Floats, start: float, depth: int) -> Floats:
    order, back = np.unique(times, return_inverse=True)
    power = 1 - 2 / depth

    def slope(_: float, logarithm: Floats) -> Floats:
        s = np.exp(logarithm)
        return depth * s**power * (data - s)

    def diagonal(_: float, logarithm: Floats) -> Floats:
        s = np.exp(logarithm)
        return (depth * s**power * (power * data - (power + 1) * s))[None]

    if not len(data) or order[-1] == 0:
        return np.full((len(times), len(data)), start)
    found = integrate(
        "the growth of the modes",
        slope,
        np.full(len(data), np.log(start)),
        order,
        method="LSODA",
        rtol=1e-10,
        atol=1e-10,
        jac=diagonal,
        lband=0,
        uband=0,
    )
    return np.exp(found[back])


def time_to_learn(data: ArrayLike, final: ArrayLike, start: float, depth: int = 2) -> Floats:
    """Time at which modes reach ``final``, in closed form for every depth.

    Parameters
    ----------
    data : array
        Singular values of the data.
    final : array
        Strengths to reach, below those of the data.
    start : float
        Strength of every mode at time 0.
    depth : int
        Number of weight layers.

    Raises
    ------
    InputError
        A final strength that is not between the start and the strength in the data: it is never reached.

    Examples
    --------
    >>> time_to_learn([4.0, 2.0], [2.0, 1.0], start=1e-3).round(3)
    array([1.037, 1.9  ])
    """
    s, last = np.broadcast_arrays(np.asarray(data, dtype=float), np.asarray(final, dtype=float))
    check_number("start", start)
    check_whole("depth", depth, 1)
    if not ((start <= last) & (last < s) & np.isfinite(s)).all():
        raise InputError(
            f"modes of strength {data!r} go from {start:g} to below that strength and never reach {final!r}; give a "
            "final strength in between"
        )
    if depth == 1:
        return np.log((s - start) / (s - last))
    if depth == 2:
        return np.log(last * (s - start) / (start * (s - last))) / (2 * s)

    # with w^D = strength / data and time in units of data^(2/D - 2): dw/dt = w^(D-1) (1 - w^D)
    def since(strength: ArrayLike) -> Floats:
        x = np.asarray(strength / s)
        exponent = 2 / depth - 1
        return x**exponent / (2 - depth) * hyp2f1(1, exponent, exponent + 1, x)

    return (since(last) - since(start)) / s ** (2 - 2 / depth)
