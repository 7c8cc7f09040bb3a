"""The one place that wires the rooms together: the main job, and predictions and explanations of its heads."""

from .explanation import Explanation, explain
from .prediction import predict
from .result import Study
from .run import study

__all__ = ["Explanation", "Study", "explain", "predict", "study"]
