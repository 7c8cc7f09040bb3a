"""The one place that wires the rooms together: the main job, and predictions of its heads."""

from .prediction import predict
from .result import Study
from .run import study

__all__ = ["Study", "predict", "study"]
