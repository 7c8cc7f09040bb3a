"""Theories of learning as working code, one a file: closed forms, and the simulations that they must agree with."""

from ..registry import Registry
from .curves import Curves, Theory

THEORIES: Registry[Theory] = Registry("theory", __name__)

__all__ = ["THEORIES", "Curves", "Theory"]
