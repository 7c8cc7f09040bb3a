"""Convex losses, one a file."""

from ..contracts import Loss
from ..registry import Registry

LOSSES: Registry[type[Loss]] = Registry(
    "loss",
    __name__,
    elsewhere={
        **dict.fromkeys(("log_loss", "cross_entropy", "crossentropy", "softmax", "logistic", "nll"), "multinomial"),
        **dict.fromkeys(("bce", "binary_crossentropy", "binary_cross_entropy", "binary_log_loss"), "binary"),
        **dict.fromkeys(("mse", "squared_error", "l2", "least_squares", "ls"), "squared"),
        **dict.fromkeys(("coxph", "partial_likelihood", "survival"), "cox"),
    },
)

__all__ = ["LOSSES"]
