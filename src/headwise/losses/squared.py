"""Squared error of one or several numbers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..contracts import TargetKind
from . import LOSSES
from .checks import columns, normalised, unweighted

__all__ = ["Squared"]


@LOSSES.register("squared")
class Squared:
    """``L(f) = sum_i w_i |f_i - y_i|^2 / 2`` with weights that sum to one.

    Parameters
    ----------
    targets : Tensor, shape (n, c)
        Numbers.
    num_outputs : int
        c.
    weights : Tensor, shape (n,), optional
        Non-negative sample weights; divided by their sum. Equal by default.

    Notes
    -----
    With ``r = theta / w`` the conjugate is ``L*(theta) = sum_i w_i (|r_i|^2 / 2 + r_i . y_i)``, on all of space.

    Examples
    --------
    >>> import torch
    >>> loss = Squared(torch.tensor([[1.0], [3.0]]), 1)
    >>> float(loss.value(torch.zeros(2, 1)))
    2.5
    """

    name = "squared"
    kind: TargetKind = "numbers"
    has_intercept = True

    def __init__(self, targets: Tensor, num_outputs: int, weights: Tensor | None = None) -> None:
        self.targets = columns(targets, num_outputs)
        self.weights = normalised(weights, targets)
        self.num_outputs, self.num_samples = num_outputs, len(targets)

    def _weights(self, like: Tensor) -> Tensor:
        return self.weights.to(like.dtype)[:, None]

    def _residual(self, outputs: Tensor) -> Tensor:
        return outputs - self.targets.to(outputs.dtype)

    def value(self, outputs: Tensor) -> Tensor:
        return (self._weights(outputs) * self._residual(outputs).square()).sum() / 2

    def gradient(self, outputs: Tensor) -> Tensor:
        return self._weights(outputs) * self._residual(outputs)

    def hessian_product(self, outputs: Tensor, direction: Tensor) -> Tensor:
        return self._weights(outputs) * direction

    def best_constant(self) -> Tensor:
        return self.weights @ self.targets

    def dual_value(self, theta: Tensor) -> Tensor:
        square = theta * unweighted(theta, self.weights.to(theta.dtype))
        return -(square / 2 + theta * self.targets.to(theta.dtype)).sum()

    def repair(self, theta: Tensor) -> Tensor:
        # twice: what is left of the sum after once is rounding, and the certificate asks for less
        for _ in range(2):
            theta = theta - self._weights(theta) * theta.sum(0)
        return theta

    def max_scale(self, theta: Tensor) -> float:
        return float("inf")

    def rescaled(self, shift: Tensor, scale: float) -> Squared:
        return Squared((self.targets - shift) / scale, self.num_outputs, self.weights)

    @staticmethod
    def link(outputs: Tensor) -> Tensor:
        return outputs

    def held_out(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().sum(1).mean() / 2

    def state(self) -> dict[str, Any]:
        return {"name": self.name, "num_outputs": self.num_outputs}
