"""Certified heads: conditioning, fitting, estimators, saving and checking."""

from .atoms import Atom, Atoms
from .attached import ImageModel
from .calibration import reliability
from .clusters import GateClusters
from .conditioning import Conditioner
from .estimators import HeadClassifier, HeadRegressor
from .head import Head
from .metrics import Measure, evaluate, paired_difference
from .parts import PartSpec
from .path import BetaPath, PathPoint
from .relu import relu
from .relu_head import ReluHead
from .selection import HeadClassifierCV, HeadRegressorCV
from .shrinkage_regressor import ShrinkageRegressor
from .verify import Verification, verify

__all__ = [
    "Atom",
    "Atoms",
    "BetaPath",
    "Conditioner",
    "GateClusters",
    "Head",
    "HeadClassifier",
    "HeadClassifierCV",
    "HeadRegressor",
    "HeadRegressorCV",
    "ImageModel",
    "Measure",
    "PartSpec",
    "PathPoint",
    "ReluHead",
    "ShrinkageRegressor",
    "Verification",
    "evaluate",
    "paired_difference",
    "reliability",
    "relu",
    "verify",
]
