"""Cross-entropy of independent labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ..contracts import TargetKind
from ..errors import InputError
from . import LOSSES
from .checks import columns, normalised, unweighted

__all__ = ["Binary"]


@LOSSES.register("binary")
class Binary:
    """``L(f) = sum_i w_i sum_k log(1 + exp(-s_ik f_ik))`` with ``s = 2 y - 1`` and weights that sum to one.

    One output is classification into two classes, several are labels that a sample may have at once.

    Parameters
    ----------
    targets : Tensor, shape (n, num_outputs)
        0 or 1.
    num_outputs : int
        Number of labels.
    weights : Tensor, shape (n,), optional
        Non-negative sample weights; divided by their sum. Equal by default.

    Raises
    ------
    InputError
        Targets other than 0 and 1, or a label that is the same in all samples of positive weight (its intercept
        would be infinite).

    Notes
    -----
    With ``p = theta / w + y`` in [0, 1] the conjugate is the negative entropy of each label:
    ``-L*(theta) = -sum_i w_i sum_k (p_ik log p_ik + (1 - p_ik) log(1 - p_ik))`` (Shalev-Shwartz and Zhang 2013,
    "Stochastic dual coordinate ascent methods", section 5).

    Examples
    --------
    >>> import torch
    >>> loss = Binary(torch.tensor([[0.0], [1.0]]), 1)
    >>> round(float(loss.value(torch.zeros(2, 1))), 4)
    0.6931
    """

    name = "binary"
    kind: TargetKind = "labels"
    has_intercept = True

    def __init__(self, targets: Tensor, num_outputs: int, weights: Tensor | None = None) -> None:
        y = columns(targets, num_outputs)
        if bool(((y != 0) & (y != 1)).any()):
            raise InputError(f"labels must be 0 or 1, got {float(y.min()):g} to {float(y.max()):g}")
        self.num_outputs, self.num_samples = num_outputs, len(y)
        self.targets, self.weights = y, normalised(weights, y)
        self.positive, self.negative = self.weights @ y, self.weights @ (1 - y)
        constant = torch.nonzero((self.positive <= 0) | (self.negative <= 0)).flatten().tolist()
        if constant:
            raise InputError(
                f"labels {constant} are the same in all training samples of positive weight; drop them or add samples"
            )

    def _cast(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Signs and weights in the dtype of ``like``."""
        return (2 * self.targets - 1).to(like.dtype), self.weights.to(like.dtype)[:, None]

    def value(self, outputs: Tensor) -> Tensor:
        sign, w = self._cast(outputs)
        return -(w * logsigmoid(sign * outputs)).sum()

    def gradient(self, outputs: Tensor) -> Tensor:
        sign, w = self._cast(outputs)
        return -w * sign * torch.sigmoid(-sign * outputs)

    def hessian_product(self, outputs: Tensor, direction: Tensor) -> Tensor:
        _, w = self._cast(outputs)
        return w * torch.sigmoid(outputs) * torch.sigmoid(-outputs) * direction

    def best_constant(self) -> Tensor:
        return self.positive.log() - self.negative.log()

    def _misses(self, theta: Tensor) -> Tensor:
        """Probability of the wrong label, ``|p - y|``: without the cancellation of ``theta / w + y`` near one."""
        sign, w = self._cast(theta)
        return -sign * unweighted(theta, w[:, 0])

    def dual_value(self, theta: Tensor) -> Tensor:
        miss = self._misses(theta)
        slack = 1e3 * torch.finfo(miss.dtype).eps
        if not bool(((miss >= -slack) & (miss <= 1 + slack)).all()):
            return torch.full((), -torch.inf, dtype=miss.dtype, device=miss.device)
        miss = miss.clamp(0, 1)
        entropy = torch.special.entr(miss) - torch.special.xlog1py(1 - miss, -miss)
        return (self._cast(theta)[1] * entropy).sum()

    def repair(self, theta: Tensor) -> Tensor:
        sign, w = self._cast(theta)
        residual = -sign * self._misses(theta).clamp(0, 1)
        positive = self.positive.to(theta.dtype)
        excess = (w * residual).sum(0)
        # p <- (1 - t) p + t pi - (1 - t) excess: the smallest share of the constant prediction pi that stays in [0, 1]
        t = (2 * excess.abs() / torch.minimum(positive, 1 - positive)).clamp(max=1)
        return w * ((1 - t) * (residual - excess) + t * (positive - self.targets.to(theta.dtype)))

    def max_scale(self, theta: Tensor) -> float:
        return max(1.0, 1.0 / max(float(self._misses(theta).max()), 1e-12))

    @staticmethod
    def link(outputs: Tensor) -> Tensor:
        return outputs.sigmoid()

    def held_out(self, outputs: Tensor, targets: Tensor) -> Tensor:
        sign = 2 * columns(targets, self.num_outputs).to(outputs.dtype) - 1
        return -logsigmoid(sign * outputs).sum(1).mean()

    def state(self) -> dict[str, Any]:
        return {"name": self.name, "num_outputs": self.num_outputs}
