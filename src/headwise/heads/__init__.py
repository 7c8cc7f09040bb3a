"""Certified heads: conditioning, fitting, estimators, saving and checking."""

from .conditioning import Conditioner
from .estimators import HeadClassifier, HeadRegressor
from .head import Head
from .parts import PartSpec
from .path import BetaPath, PathPoint
from .selection import HeadClassifierCV, HeadRegressorCV
from .verify import Verification, verify

__all__ = [
    "BetaPath",
    "Conditioner",
    "Head",
    "HeadClassifier",
    "HeadClassifierCV",
    "HeadRegressor",
    "HeadRegressorCV",
    "PartSpec",
    "PathPoint",
    "Verification",
    "verify",
]
