"""Multinomial cross-entropy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..contracts import TargetKind
from ..errors import InputError
from . import LOSSES
from .checks import normalised

__all__ = ["Multinomial"]

RUNS = 1024
"""Most runs of samples whose weights are summed apart."""


@LOSSES.register("multinomial")
class Multinomial:
    """``L(f) = sum_i w_i (log sum_k exp f_ik - f_iy)`` with weights that sum to one.

    Parameters
    ----------
    targets : Tensor of int64, shape (n,)
        Class of each sample, 0 to ``num_classes - 1``.
    num_classes : int
        Number of classes, at least two.
    weights : Tensor, shape (n,), optional
        Non-negative sample weights; divided by their sum. Equal by default.

    Raises
    ------
    InputError
        A class has no sample of positive weight (its intercept would be infinite), or a target is out of range.

    Notes
    -----
    With ``p = theta / w + onehot(y)`` the conjugate is the negative entropy on the simplex:
    ``-L*(theta) = -sum_i w_i sum_k p_ik log p_ik``.

    Examples
    --------
    >>> import torch
    >>> loss = Multinomial(torch.tensor([0, 1]), 2)
    >>> round(float(loss.value(torch.zeros(2, 2))), 4)
    0.6931
    """

    name = "multinomial"
    kind: TargetKind = "classes"
    has_intercept = True

    def __init__(self, targets: Tensor, num_classes: int, weights: Tensor | None = None) -> None:
        if num_classes < 2:
            raise InputError(f"classification needs at least two classes, got {num_classes}")
        if targets.numel() and (int(targets.min()) < 0 or int(targets.max()) >= num_classes):
            raise InputError(
                f"targets must lie in 0 to {num_classes - 1}, got {int(targets.min())} to {int(targets.max())}"
            )
        self.num_outputs, self.num_samples = num_classes, len(targets)
        self.targets, self.weights = targets, normalised(weights, targets)
        self.frequencies = _sums(self.weights, targets, num_classes)
        if bool((self.frequencies <= 0).any()):
            missing = torch.nonzero(self.frequencies <= 0).flatten().tolist()
            raise InputError(f"classes {missing} have no training sample of positive weight; drop them or add samples")

    def _weights(self, like: Tensor) -> Tensor:
        return self.weights.to(like.dtype)[:, None]

    def value(self, outputs: Tensor) -> Tensor:
        own = outputs.gather(1, self.targets[:, None])
        return (self._weights(outputs) * (outputs.logsumexp(1, keepdim=True) - own)).sum()

    def gradient(self, outputs: Tensor) -> Tensor:
        p = outputs.softmax(1)
        p[torch.arange(len(p), device=p.device), self.targets] -= 1
        return p * self._weights(outputs)

    def hessian_product(self, outputs: Tensor, direction: Tensor) -> Tensor:
        p = outputs.softmax(1)
        pd = p * direction
        return (pd - p * pd.sum(1, keepdim=True)) * self._weights(outputs)

    def best_constant(self) -> Tensor:
        logs = self.frequencies.log()
        return logs - logs.mean()

    def _probabilities(self, theta: Tensor) -> Tensor:
        """``theta / w + onehot(y)``; samples of weight zero are put on their own class."""
        w = self._weights(theta)
        p = torch.where(w > 0, theta / w.clamp(min=torch.finfo(theta.dtype).tiny), torch.zeros_like(theta))
        p[torch.arange(len(p), device=p.device), self.targets] += 1
        return p

    def _theta(self, p: Tensor) -> Tensor:
        theta = p.clone()
        theta[torch.arange(len(p), device=p.device), self.targets] -= 1
        return theta * self._weights(p)

    def dual_value(self, theta: Tensor) -> Tensor:
        p = self._probabilities(theta)
        slack = 1e3 * torch.finfo(p.dtype).eps
        if bool((p < -slack).any()) or bool(((p.sum(1) - 1).abs() > slack).any()):
            return torch.full((), -torch.inf, dtype=p.dtype, device=p.device)
        return -(self._weights(p) * torch.special.xlogy(p.clamp(min=0), p.clamp(min=0))).sum()

    def repair(self, theta: Tensor) -> Tensor:
        p = self._probabilities(theta).clamp(min=0)
        p = p / p.sum(1, keepdim=True)
        frequencies = self.frequencies.to(p.dtype)
        excess = (self._weights(p) * p).sum(0) - frequencies
        t = 2 * float(excess.abs().max()) / float(frequencies.min())
        if t >= 1:
            p = frequencies.expand_as(p)
        elif t > 0:
            p = (1 - t) * p + (t * frequencies - (1 - t) * excess)
        return self._theta(p)

    def max_scale(self, theta: Tensor) -> float:
        own = self._probabilities(theta).gather(1, self.targets[:, None])
        return max(1.0, 1.0 / max(float((1 - own).max()), 1e-12))

    @staticmethod
    def link(outputs: Tensor) -> Tensor:
        return outputs.softmax(1)

    def held_out(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(outputs, targets)

    def state(self) -> dict[str, Any]:
        return {"name": self.name, "num_outputs": self.num_outputs}


def _sums(weights: Tensor, targets: Tensor, count: int) -> Tensor:
    """Sum of the weights of each class, ``(count,)``, together exactly one.

    One sum over 50,000 samples, one after the other, is off by more than the dual's domain allows a row: it is made of
    a thousand short ones.
    """
    runs = min(RUNS, max(1, len(targets) // count))  # of many classes no more numbers than there are samples
    run = torch.arange(len(targets), device=targets.device) % runs
    parts = weights.new_zeros(runs * count).index_add_(0, run * count + targets, weights)
    found = parts.view(runs, count).sum(0)
    return found / found.sum()
