"""A vector as the difference of two members of a polyhedral cone, of least norms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr_delete, qr_insert, solve_triangular
from scipy.optimize import brentq

__all__ = ["cone_difference", "nearest_point"]

Vector = NDArray[np.float64]

ROUNDING = 1e-12  # what a constraint with a normal of length one may be missed by, relative to the size of the point
DEPENDENT = 1e-10  # a normal closer than this to the span of others counts as one of them


def cone_difference(normals: Vector, u: Vector) -> tuple[Vector, Vector] | None:
    """Members a and b of the cone ``{x : normals @ x >= 0}`` with ``a - b = u`` and the least ``|a| + |b|``.

    Parameters
    ----------
    normals : ndarray, shape (m, p)
        Rows of length one.
    u : ndarray, shape (p,)

    Returns
    -------
    (a, b) or None
        None where u is no such difference: the cone has an empty interior (or one too thin for float64).

    Notes
    -----
    For a weight w, ``w |a|^2 + (1 - w) |b|^2`` is least where b is the point of ``{b : normals @ b >= 0, normals @ (u +
    b) >= 0}`` that is nearest to ``-w u``. Where ``w = |b| / (|a| + |b|)`` the conditions of optimality of that problem
    are those of the least ``|a| + |b|``. That equation has one root in [0, 1], which is searched for.

    Examples
    --------
    >>> import numpy as np
    >>> a, b = cone_difference(np.eye(2), np.array([3.0, -4.0]))
    >>> a.round(9) + 0.0, b.round(9) + 0.0
    (array([3., 0.]), array([0., 4.]))
    """
    size = float(np.linalg.norm(u))
    if size == 0:
        return u.copy(), u.copy()
    direction = u / size
    values = normals @ direction
    if not len(values) or values.min() >= -ROUNDING:
        return u.copy(), np.zeros_like(u)
    if values.max() <= ROUNDING:
        return np.zeros_like(u), -u
    least = np.maximum(-values, 0)
    active: list[int] = []

    def split(w: float) -> tuple[Vector, Vector] | None:
        nonlocal active
        found = nearest_point(normals, least, -w * direction, active)
        if found is None:
            return None
        b, active = found
        return direction + b, b

    def excess(w: float) -> float:
        found = split(w)
        if found is None:  # whether there is a point does not depend on w: this one is lost to rounding
            raise ArithmeticError
        a, b = (float(np.linalg.norm(x)) for x in found)
        return b / (a + b) - w

    try:
        best = split(brentq(excess, 0.0, 1.0, xtol=1e-9))
    except ArithmeticError:
        return None
    return None if best is None else (size * best[0], size * best[1])


def nearest_point(
    normals: Vector, least: Vector, target: Vector, start: list[int] | None = None
) -> tuple[Vector, list[int]] | None:
    """The point of ``{x : normals @ x >= least}`` nearest to ``target``, and the constraints that hold it.

    Parameters
    ----------
    normals : ndarray, shape (m, p)
        Rows of length one.
    least : ndarray, shape (m,)
    target : ndarray, shape (p,)
    start : list of int, optional
        Constraints that held the answer to a similar question.

    Returns
    -------
    (point, active) or None
        None where there is no such point.

    Notes
    -----
    The dual active-set method (Goldfarb and Idnani, Mathematical Programming 27, 1983) with the identity as Hessian:
    the most violated constraint enters, those whose multiplier falls to zero leave. It takes about as many steps as
    constraints are active at the end, and each looks once at every constraint.

    Examples
    --------
    >>> import numpy as np
    >>> point, active = nearest_point(np.eye(2), np.array([0.0, 1.0]), np.array([2.0, -3.0]))
    >>> point + 0.0, active
    (array([2., 1.]), [1])
    """
    held = _Held(normals, least, target, start or [])
    for _ in range(20 * (len(target) + 10)):
        point = held.point()
        allowed = ROUNDING * (1 + float(np.linalg.norm(point)))
        missing = least - normals @ point
        worst = int(missing.argmax())
        if missing[worst] <= allowed:
            return point, held.active
        gap = float(missing[worst])  # by how much the new constraint is still missed
        while True:
            free, along = held.directions(normals[worst])
            square = float(free @ free)
            leaving, bound = held.first_to_leave(along)
            full = gap / square if square > DEPENDENT**2 else np.inf
            step = min(full, bound)
            if step == np.inf:
                return (point, held.active) if gap <= 1e3 * allowed else None
            held.multipliers -= step * along
            if step == full:
                held.add(worst)
                break
            if full < np.inf:
                gap -= step * square
            held.drop(leaving)
    return None


class _Held:
    """Active constraints with a QR factorisation of their normals, and their multipliers."""

    def __init__(self, normals: Vector, least: Vector, target: Vector, start: list[int]) -> None:
        self.normals, self.least, self.target = normals, least, target
        self.active = list(start)
        self._factor()
        while self.active:  # only constraints with positive multipliers belong to an optimum of their own
            self.point()
            kept = [i for i, weight in zip(self.active, self.multipliers, strict=True) if weight > 0]
            if len(kept) == len(self.active):
                break
            self.active = kept
            self._factor()

    def _factor(self) -> None:
        self.q, self.r = np.linalg.qr(self.normals[self.active].T, mode="complete")
        self.multipliers = np.zeros(len(self.active))

    def point(self) -> Vector:
        """The point nearest to the target where the active constraints hold with equality; sets the multipliers."""
        k = len(self.active)
        if not k:
            return self.target.copy()
        short = self.least[self.active] - self.normals[self.active] @ self.target
        inner = solve_triangular(self.r[:k], short, trans="T")
        self.multipliers = solve_triangular(self.r[:k], inner)
        return np.asarray(self.target + self.q[:, :k] @ inner)

    def directions(self, normal: Vector) -> tuple[Vector, Vector]:
        """A new normal without its share in the span of the active ones, and the coefficients of that share."""
        k = len(self.active)
        shares = normal @ self.q
        along = solve_triangular(self.r[:k], shares[:k]) if k else np.zeros(0)
        return self.q[:, k:] @ shares[k:], along

    def first_to_leave(self, along: Vector) -> tuple[int, float]:
        """Which multiplier falls to zero first, and after how long a step; infinite where none falls."""
        falls = along > 1e-14
        if not falls.any():
            return -1, np.inf
        steps = np.full(len(along), np.inf)
        steps[falls] = np.maximum(self.multipliers[falls], 0) / along[falls]
        first = int(steps.argmin())
        return first, float(steps[first])

    def add(self, constraint: int) -> None:
        self.active.append(constraint)
        if len(self.active) == 1:
            self._factor()
        else:
            self.q, self.r = qr_insert(self.q, self.r, self.normals[constraint], len(self.active) - 1, which="col")
            self.multipliers = np.append(self.multipliers, 0.0)

    def drop(self, place: int) -> None:
        del self.active[place]
        self.multipliers = np.delete(self.multipliers, place)
        if self.active:
            self.q, self.r = qr_delete(self.q, self.r, place, which="col")
        else:
            self._factor()
