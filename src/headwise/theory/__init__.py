"""Theories of learning as working code, one a file: closed forms, and the simulations that they must agree with.

``THEORIES.get(name)`` gives a `Theory`: ``config``, ``predict``, ``simulate`` and ``plot``. What a theory has beyond
these is in its module, as ``headwise.theory.transfer.heat_map``.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from ..registry import Registry
from .curves import Curves, Theory

THEORIES: Registry[Theory] = Registry("theory", __name__)

__all__ = ["THEORIES", "Curves", "Theory"]


def __getattr__(name: str) -> Any:
    """Modules of the room without an import of their own."""
    if name in {module.name for module in pkgutil.iter_modules(__path__)}:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'headwise.theory' has no attribute {name!r}")
