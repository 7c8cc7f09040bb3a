"""Ordinary differential equations by SciPy's integrators, with an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from ..errors import InputError
from .curves import Floats

__all__ = ["integrate"]


def integrate(
    what: str,
    slope: Callable[[float, Floats], Floats],
    first: Floats,
    times: Floats,
    **how: Any,
) -> Floats:
    """States at the given times, shape (times, states).

    Parameters
    ----------
    what : str
        For the error: "the growth of the modes".
    slope : callable
        ``slope(time, state)``.
    first : array, shape (states,)
        State at time 0.
    times : array, shape (times,)
        Increasing, not negative, the last one positive.
    **how
        Method and tolerances, as `scipy.integrate.solve_ivp` takes them.

    Raises
    ------
    InputError
        The integrator gave up.

    Examples
    --------
    >>> decay = integrate("decay", lambda _, x: -x, np.ones(1), np.array([0.0, 1.0]), rtol=1e-8)
    >>> round(decay[1].item(), 4)
    0.3679
    """
    found = solve_ivp(slope, (0, times[-1]), first, t_eval=times, **how)
    if not found.success:
        raise InputError(f"{what} could not be integrated: {found.message}; take shorter times or a larger start")
    return np.asarray(found.y.T)
