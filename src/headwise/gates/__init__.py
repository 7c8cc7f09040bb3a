"""Families of gates, one a file: fixed masks that depend on the tokens and never on what is fitted."""

from ..contracts import GateFamily
from ..registry import Registry

GATES: Registry[type[GateFamily]] = Registry("gate", __name__)

__all__ = ["GATES"]
