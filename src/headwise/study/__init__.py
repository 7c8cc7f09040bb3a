"""The one place that wires the rooms together: the main job, and predictions and explanations of its heads,
and the attention heads of a model on one page."""

from .explanation import Explanation, explain
from .exploration import Exploration, explore
from .prediction import predict
from .result import Study
from .run import study

__all__ = ["Explanation", "Exploration", "Study", "explain", "explore", "predict", "study"]
