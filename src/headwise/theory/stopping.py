"""Error of a student along its modes, in closed form and on a draw, and the time at which it is least."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from .curves import Floats
from .mode_growth import mode_strengths, time_to_learn
from .random_matrix import Imprint

__all__ = ["Stop", "best_stop", "draw_error", "learning_end", "least_draw_error", "teacher_error"]

TRACKED = 200  # times at which a best stop is looked for before it is refined
LEARNED = 0.999  # share of a mode after which it no longer changes the error


def teacher_error(
    seen: Imprint, learned: Floats, noise: Floats, share: ArrayLike | None = None, fraction: float = 1.0
) -> Floats:
    """Error of a student against the teacher without noise, relative to the teacher's size.

    Parameters
    ----------
    seen : Imprint
        The teacher, and what the data show of it.
    learned : array, shape (p, r)
        Strength of the student's modes that belong to the teacher, in the order of ``seen``; zero where not trained.
    noise : array, shape (p, k)
        Strength of the modes that are noise.
    share : array, shape (r,), optional
        For an error on some of the outputs: squared norm of the teacher's output directions there; all by default.
    fraction : float
        Those outputs, as a fraction of all.

    Returns
    -------
    array, shape (p,)

    Examples
    --------
    >>> from headwise.theory.random_matrix import imprint
    >>> seen = imprint([3.0], num_inputs=100, num_outputs=50)
    >>> teacher_error(seen, np.array([[0.0], [3.0]]), np.zeros((2, 0))).round(3)
    array([1.   , 0.165])
    """
    part = np.ones(len(seen.teacher)) if share is None else np.asarray(share, dtype=float)
    size = (seen.teacher**2 * part).sum()
    along = learned @ (seen.teacher * seen.alignment * part)
    o = seen.output_overlap
    own = learned**2 @ (o * part + (1 - o) * fraction)
    return (size - 2 * along + own + fraction * (noise**2).sum(1)) / size


def draw_error(teacher: Floats, left: Floats, right: Floats, strengths: Floats) -> Floats:
    """The same for one draw: a student with these strengths along the singular vectors of the data.

    Parameters
    ----------
    teacher : array, shape (num_outputs, num_inputs)
        Without noise; where it has fewer rows than the data, the error on the first outputs.
    left, right : array, shape (all outputs, m) and (m, num_inputs)
        Singular vectors of the data.
    strengths : array, shape (p, m)

    Returns
    -------
    array, shape (p,)

    Examples
    --------
    >>> draw_error(np.diag([2.0, 0.0]), np.eye(2), np.eye(2), np.array([[0.0, 0.0], [2.0, 1.0]]))
    array([1.  , 0.25])
    """
    left, size = left[: len(teacher)], (teacher**2).sum()
    along = (left.T @ teacher * right).sum(1)
    return (size - 2 * strengths @ along + strengths**2 @ (left**2).sum(0)) / size


class Stop(NamedTuple):
    """The best time to stop, and the error there."""

    time: float
    error: float


def best_stop(error: Callable[[Floats], Floats], end: float) -> Stop:
    """The time between 0 and ``end`` of the least error, given the error at an array of times.

    Examples
    --------
    >>> stop = best_stop(lambda t: (t - 1) ** 2 + 0.5, end=4)
    >>> round(stop.time, 4), round(stop.error, 4)
    (1.0, 0.5)
    """
    times = np.linspace(0, end, TRACKED)
    values = error(times)
    best = int(np.argmin(values))
    around = times[max(best - 1, 0)], times[min(best + 1, TRACKED - 1)]
    found = minimize_scalar(lambda t: float(error(np.array([t]))[0]), bounds=around, method="bounded")
    if found.fun < values[best]:
        return Stop(float(found.x), float(found.fun))
    return Stop(float(times[best]), float(values[best]))


def learning_end(data: ArrayLike, start: float, depth: int) -> float:
    """Time until which a best stop must have come: all these modes are learned, later ones are noise."""
    s = np.asarray(data, dtype=float)
    s = s[s * LEARNED > start]
    return float(time_to_learn(s, s * LEARNED, start, depth).max()) if len(s) else 1.0


def least_draw_error(teacher: Floats, data: Floats, start: float, depth: int) -> float:
    """Least error over time of the student that is aligned with drawn data, as `draw_error` has it.

    Examples
    --------
    >>> from headwise.theory.random_matrix import draw
    >>> 0.1 < least_draw_error(*draw([3.0], num_inputs=100, num_outputs=50, seed=0), start=1e-3, depth=2) < 0.25
    True
    """
    left, values, right = np.linalg.svd(data, full_matrices=False)
    # the strongest modes, and one within the noise
    end = learning_end(np.append(values[:2], values[len(values) // 4]), start, depth)
    strengths = mode_strengths(np.linspace(0, end, TRACKED), values, start, depth)
    return float(draw_error(teacher, left, right, strengths).min())
