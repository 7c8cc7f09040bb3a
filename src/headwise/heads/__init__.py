"""Certified heads: conditioning, fitting, estimators, saving and checking."""

from .conditioning import Conditioner
from .estimators import HeadClassifier
from .head import Head
from .parts import PartSpec
from .selection import HeadClassifierCV
from .verify import Verification, verify

__all__ = ["Conditioner", "Head", "HeadClassifier", "HeadClassifierCV", "PartSpec", "Verification", "verify"]
