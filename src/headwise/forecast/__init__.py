"""Learning curves, stopping and transfer on real tokens, before anyone pays for them."""

from .benefit import Benefit, alignments, transfer_benefit
from .curve import LearningCurve, Measured, held_out_error, learning_curve
from .labels import LabelMatrix
from .measurement import measure, training_work
from .ordering import Agreement, agreement
from .outlook import Outlook
from .result import Forecast
from .run import forecast
from .scores import Scores, compare_scores, forecast_score, h_score, logme, nce
from .spectrum import Spectrum, estimate_spectrum
from .visibility import Visibility
from .whitening import Whitening, whiten

__all__ = [
    "Agreement",
    "Benefit",
    "Forecast",
    "LabelMatrix",
    "LearningCurve",
    "Measured",
    "Outlook",
    "Scores",
    "Spectrum",
    "Visibility",
    "Whitening",
    "agreement",
    "alignments",
    "compare_scores",
    "estimate_spectrum",
    "forecast",
    "forecast_score",
    "h_score",
    "held_out_error",
    "learning_curve",
    "logme",
    "measure",
    "nce",
    "training_work",
    "transfer_benefit",
    "whiten",
]
