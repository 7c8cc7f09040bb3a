"""Huber's loss: squared error for small residuals, absolute error for large ones."""

from __future__ import annotations

from math import isfinite
from typing import Any

import torch
from torch import Tensor

from ..contracts import TargetKind
from ..errors import InputError
from . import LOSSES
from .checks import columns, normalised, unweighted

__all__ = ["Huber"]


@LOSSES.register("huber")
class Huber:
    """``L(f) = sum_i w_i sum_k h(f_ik - y_ik)``, ``h(r) = r^2 / 2`` up to ``delta``, then ``delta (|r| - delta / 2)``.

    Parameters
    ----------
    targets : Tensor, shape (n, num_outputs)
        Finite numbers.
    num_outputs : int
        Number of outputs.
    weights : Tensor, shape (n,), optional
        Non-negative sample weights; divided by their sum. Equal by default.
    delta : float
        Residual from which the loss is linear, above zero.

    Notes
    -----
    The conjugate is that of the squared error on the box ``|theta / w| <= delta``: with ``r = theta / w``,
    ``L*(theta) = sum_i w_i (|r_i|^2 / 2 + r_i . y_i)`` (Huber 1964, "Robust estimation of a location parameter"; h is
    the infimal convolution of ``r^2 / 2`` and ``delta |r|``, so the conjugates add).

    Examples
    --------
    >>> import torch
    >>> loss = Huber(torch.tensor([[0.0], [0.5], [100.0]]), 1, delta=1.0)
    >>> round(float(loss.best_constant()), 4)  # the mean is 33.5
    0.75
    """

    name = "huber"
    kind: TargetKind = "numbers"
    has_intercept = True

    def __init__(self, targets: Tensor, num_outputs: int, weights: Tensor | None = None, delta: float = 1.0) -> None:
        if not (isfinite(delta) and delta > 0):
            raise InputError(f"delta must be finite and above zero, got {delta}; for no limit take the squared loss")
        self.targets = columns(targets, num_outputs)
        self.weights = normalised(weights, targets)
        self.num_outputs, self.num_samples, self.delta = num_outputs, len(targets), float(delta)

    def _cast(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Targets and weights in the dtype of ``like``."""
        return self.targets.to(like.dtype), self.weights.to(like.dtype)[:, None]

    def _each(self, residual: Tensor) -> Tensor:
        clipped = residual.clamp(-self.delta, self.delta)
        return clipped * (residual - clipped / 2)

    def value(self, outputs: Tensor) -> Tensor:
        y, w = self._cast(outputs)
        return (w * self._each(outputs - y)).sum()

    def gradient(self, outputs: Tensor) -> Tensor:
        y, w = self._cast(outputs)
        return w * (outputs - y).clamp(-self.delta, self.delta)

    def hessian_product(self, outputs: Tensor, direction: Tensor) -> Tensor:
        y, w = self._cast(outputs)
        return w * direction * ((outputs - y).abs() < self.delta)

    def best_constant(self) -> Tensor:
        y, w = self.targets, self.weights[:, None].expand_as(self.targets)
        # the slope in b is piecewise linear: it bends up at y - delta, down at y + delta; walk the sorted bends
        bends, order = torch.cat([y - self.delta, y + self.delta]).sort(0)
        curvature = torch.cat([w, -w]).gather(0, order).cumsum(0)
        rises = curvature[:-1] * bends.diff(dim=0)
        slope = torch.cat([torch.zeros_like(y[:1]), rises.cumsum(0)]) - self.delta
        at = (slope < 0).sum(0, keepdim=True).clamp(min=1, max=len(bends) - 1)
        low, high = bends.gather(0, at - 1), bends.gather(0, at)
        b = (low + high) / 2  # inside the piece that crosses zero, where one Newton step is exact
        inside = ((b - y).abs() < self.delta) * w
        b = b - (w * (b - y).clamp(-self.delta, self.delta)).sum(0) / inside.sum(0).clamp(min=1e-300)
        return b.clamp(min=low, max=high)[0]

    def dual_value(self, theta: Tensor) -> Tensor:
        y, w = self._cast(theta)
        r = unweighted(theta, w[:, 0])
        slack = 1e3 * torch.finfo(r.dtype).eps
        if not bool((r.abs() <= self.delta * (1 + slack)).all()):
            return torch.full((), -torch.inf, dtype=r.dtype, device=r.device)
        r = r.clamp(-self.delta, self.delta)
        return -(w * r * (r / 2 + y)).sum()

    def repair(self, theta: Tensor) -> Tensor:
        w = self._cast(theta)[1]
        r = unweighted(theta, w[:, 0])
        r = r - (w * r).sum(0)
        # samples of weight zero count for nothing, so they must not set the scale either
        largest = torch.where(w > 0, r.abs(), 0.0).amax(0).clamp(min=self.delta)
        return w * r * (self.delta / largest)

    def max_scale(self, theta: Tensor) -> float:
        largest = float(unweighted(theta, self._cast(theta)[1][:, 0]).abs().max())
        return max(1.0, self.delta / largest) if largest > 0 else float("inf")

    def rescaled(self, shift: Tensor, scale: float) -> Huber:
        return Huber((self.targets - shift) / scale, self.num_outputs, self.weights, self.delta / scale)

    @staticmethod
    def link(outputs: Tensor) -> Tensor:
        return outputs

    def held_out(self, outputs: Tensor, targets: Tensor) -> Tensor:
        y = columns(targets, self.num_outputs).to(outputs.dtype)
        return self._each(outputs - y).sum(1).mean()

    def state(self) -> dict[str, Any]:
        return {"name": self.name, "num_outputs": self.num_outputs, "delta": self.delta}
