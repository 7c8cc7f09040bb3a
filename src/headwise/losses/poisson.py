"""Poisson deviance with a logarithmic link."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..contracts import TargetKind
from ..errors import InputError
from . import LOSSES
from .checks import columns, normalised, unweighted

__all__ = ["Poisson"]


@LOSSES.register("poisson")
class Poisson:
    """``L(f) = sum_i w_i sum_k (exp f - y f + y log y - y)``: half the deviance, zero at ``f = log y``.

    Parameters
    ----------
    targets : Tensor, shape (n, num_outputs)
        Counts or rates, not negative.
    num_outputs : int
        Number of outputs.
    weights : Tensor, shape (n,), optional
        Non-negative sample weights; divided by their sum. Equal by default.

    Raises
    ------
    InputError
        Negative counts, or an output whose counts are zero in all samples of positive weight (its intercept would be
        minus infinity).

    Notes
    -----
    With ``mu = theta / w + y``, not negative, ``-L*(theta) = -sum_i w_i sum_k (mu log mu - mu - y log y + y)``
    (McCullagh and Nelder 1989, "Generalized linear models", section 2.3 for the deviance; the conjugate of exp is
    ``m log m - m``).

    Examples
    --------
    >>> import torch
    >>> loss = Poisson(torch.tensor([[1.0], [3.0]]), 1)
    >>> round(float(loss.best_constant().exp()), 4)
    2.0
    """

    name = "poisson"
    kind: TargetKind = "counts"
    has_intercept = True

    def __init__(self, targets: Tensor, num_outputs: int, weights: Tensor | None = None) -> None:
        y = columns(targets, num_outputs)
        if bool((y < 0).any()):
            raise InputError(f"counts must not be negative, got {float(y.min()):g}")
        self.num_outputs, self.num_samples = num_outputs, len(y)
        self.targets, self.weights = y, normalised(weights, y)
        self.means = self.weights @ y
        empty = torch.nonzero(self.means <= 0).flatten().tolist()
        if empty:
            raise InputError(
                f"outputs {empty} have no count above zero in samples of positive weight; drop them or add samples"
            )

    def _cast(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Targets and weights in the dtype of ``like``."""
        return self.targets.to(like.dtype), self.weights.to(like.dtype)[:, None]

    @staticmethod
    def _each(outputs: Tensor, y: Tensor) -> Tensor:
        return outputs.exp() - y * outputs + torch.special.xlogy(y, y) - y

    def value(self, outputs: Tensor) -> Tensor:
        y, w = self._cast(outputs)
        return (w * self._each(outputs, y)).sum()

    def gradient(self, outputs: Tensor) -> Tensor:
        y, w = self._cast(outputs)
        return w * (outputs.exp() - y)

    def hessian_product(self, outputs: Tensor, direction: Tensor) -> Tensor:
        return self._cast(outputs)[1] * outputs.exp() * direction

    def best_constant(self) -> Tensor:
        return self.means.log()

    def dual_value(self, theta: Tensor) -> Tensor:
        y, w = self._cast(theta)
        mu = unweighted(theta, w[:, 0]) + y
        slack = 1e3 * torch.finfo(mu.dtype).eps
        if not bool((mu >= -slack * y.clamp(min=1)).all()):
            return torch.full((), -torch.inf, dtype=mu.dtype, device=mu.device)
        mu = mu.clamp(min=0)
        return -(w * (torch.special.xlogy(mu, mu) - mu - torch.special.xlogy(y, y) + y)).sum()

    def repair(self, theta: Tensor) -> Tensor:
        y, w = self._cast(theta)
        mu = (unweighted(theta, w[:, 0]) + y).clamp(min=0)
        total, means = (w * mu).sum(0), self.means.to(theta.dtype)
        usable = torch.isfinite(total) & (total > 0)
        mu = torch.where(usable, mu * (means / torch.where(usable, total, 1.0)), means)
        return w * (mu - y)

    def max_scale(self, theta: Tensor) -> float:
        y, w = self._cast(theta)
        fall = -unweighted(theta, w[:, 0])
        # only where the rate falls below the count is there a limit; a count of zero can only rise
        limits = torch.where((fall > 0) & (y > 0), y / fall.clamp(min=torch.finfo(y.dtype).tiny), torch.inf)
        return max(1.0, float(limits.min()))

    @staticmethod
    def link(outputs: Tensor) -> Tensor:
        return outputs.exp()

    def held_out(self, outputs: Tensor, targets: Tensor) -> Tensor:
        y = columns(targets, self.num_outputs).to(outputs.dtype)
        return self._each(outputs, y).sum(1).mean()

    def state(self) -> dict[str, Any]:
        return {"name": self.name, "num_outputs": self.num_outputs}
