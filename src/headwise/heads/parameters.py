"""What the parameters of the estimators may be. As scikit-learn asks, they are checked when a fit begins."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..checks import check_flag, check_number, check_whole
from ..devices import fitting_device
from ..errors import InputError, unknown_name
from .conditioning import Conditioner
from .memory import as_memory

__all__ = ["check_parameters"]

RULES = ("best", "one_standard_error")


def _options(name: str, value: Any) -> None:
    if value is not None and not (isinstance(value, Mapping) and all(isinstance(key, str) for key in value)):
        raise InputError(f"{name} must be a mapping of option names to values, or None, got {value!r}")


def _conditioner(name: str, value: Any) -> None:
    if not isinstance(value, (bool, np.bool_, Conditioner)):
        raise InputError(f"{name} must be True, False or a headwise.Conditioner, got {value!r}")


def _rule(name: str, value: Any) -> None:
    if value not in RULES:
        raise unknown_name(name, value, RULES)


def _betas(name: str, value: Any) -> None:
    try:
        grid = np.asarray(value)
        counted = grid.ndim == 0 and grid.dtype.kind in "iu" and grid >= 1
        listed = grid.ndim == 1 and len(grid) > 0 and grid.dtype.kind in "iuf" and bool((grid > 0).all())
        good = counted or (listed and bool(np.isfinite(grid).all()))
    except ValueError:  # ragged
        good = False
    if not good:
        raise InputError(f"{name} must be positive numbers, or how many (at least 1), got {value!r}")


def _folder(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, (str, os.PathLike)):
        raise InputError(f"{name} must be a path or None, got {value!r}")


_CHECKS: dict[str, Callable[[str, Any], object]] = {
    "beta": check_number,
    "betas": _betas,
    "checkpoint": _folder,
    "condition": _conditioner,
    "device": lambda name, value: fitting_device(value),
    "fit_intercept": check_flag,
    "gate_seed": check_whole,
    "loss_options": _options,
    "max_memory": lambda name, value: as_memory(value),
    "max_rounds": partial(check_whole, least=1),
    "n_components": partial(check_whole, least=1, or_none=True),
    "num_gates": check_whole,
    "num_prefix": check_whole,
    "ratio": partial(check_number, below=1),
    "refit": check_flag,
    "rule": _rule,
    "seed": check_whole,
    # a relative gap of 1 proves nothing: zero is a lower bound of every objective
    "tol": partial(check_number, below=1),
    "validation": partial(check_number, below=1),
}
"""Those whose values have no check of their own where they are used (names of blocks, gates, losses and solvers do)."""


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that no fit can use.

    Raises
    ------
    InputError
        Names the parameter, what it was and what is needed.

    Examples
    --------
    >>> check_parameters({"beta": 0.1, "tol": 1e-3})
    """
    for name, value in parameters.items():
        if name in _CHECKS:
            _CHECKS[name](name, value)
