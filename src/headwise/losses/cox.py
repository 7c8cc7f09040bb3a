"""Cox's proportional hazards: the order of events among those still at risk."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..contracts import TargetKind
from ..errors import InputError
from . import LOSSES
from .checks import columns, normalised

__all__ = ["Cox"]


@LOSSES.register("cox")
class Cox:
    """``L(f) = sum over events i of w_i (log sum_{j: t_j >= t_i} w_j exp f_j - f_i)``, tied times as Breslow has them.

    Parameters
    ----------
    targets : Tensor, shape (n, 2)
        Time (any unit), and 1 where the event was seen or 0 where the sample was censored then.
    num_outputs : int
        1, the logarithm of the relative risk.
    weights : Tensor, shape (n,), optional
        Non-negative sample weights; divided by their sum. Equal by default.

    Raises
    ------
    InputError
        No event of positive weight, or events that are not 0 or 1.

    Notes
    -----
    All samples count together: a common shift of the outputs changes nothing, so there is no intercept. Weights sum to
    one in front of the events and have mean one in the risk sets.

    The conjugate is exact and takes one pass over the event times ``tau_1 < tau_2 < ...``. Let ``d_k`` be the weight of
    the events at ``tau_k``, ``m = theta + w [event]``, ``M_k`` the sum of m over samples with ``tau_k <= t <
    tau_{k+1}``, and ``P_k = sum_{l <= k} (d_l - M_l)``. The gradient has ``m_j = w_j exp(f_j) H_k`` with ``H_k =
    sum_{l <= k} d_l / S_l`` and ``S_k`` the sum over the risk set; then ``H_k S_k = P_{k-1} + d_k`` and ``H_k S_{k+1} =
    P_k``, which gives S and H one after the other, and

        ``L*(theta) = sum_j m_j log(m_j / w_j) - sum_k (M_k log H_k + d_k log S_k)``

    where ``m >= 0``, every ``P_k >= 0`` and the last is zero. Cox, "Regression models and life-tables", 1972; Breslow,
    1974.

    Examples
    --------
    >>> import torch
    >>> loss = Cox(torch.tensor([[1.0, 1.0], [2.0, 0.0], [3.0, 1.0]]), 1)
    >>> round(float(loss.value(torch.zeros(3, 1))), 4)  # log(3) / 3: the last event is alone at risk
    0.3662
    """

    name = "cox"
    kind: TargetKind = "survival"
    has_intercept = False

    def __init__(self, targets: Tensor, num_outputs: int = 1, weights: Tensor | None = None) -> None:
        if num_outputs != 1:
            raise InputError(f"the Cox loss has one output, got {num_outputs}")
        time, event = columns(targets, 2).T.contiguous()
        if bool(((event != 0) & (event != 1)).any()):
            raise InputError("events (the second column) must be 0 or 1")
        self.num_outputs, self.num_samples = 1, len(time)
        self.weights = normalised(weights, targets)
        self._shares = self.weights * (self.weights > 0).sum()
        """Weights of mean one: equal weights count risk sets as the textbook does, and the value stays positive."""
        self._deaths = self.weights * event
        if not bool((self._deaths > 0).any()):
            raise InputError("no event was seen in a sample of positive weight; Cox needs at least one")
        times = time[self._deaths > 0].unique()
        self._group = torch.searchsorted(times, time, right=True) - 1
        """Last event time at which a sample is at risk; -1: it left before the first, and never counts."""
        self._sizes = torch.zeros(len(times), dtype=torch.float64, device=time.device)
        here = self._group >= 0
        self._sizes.index_add_(0, self._group[here], self._deaths[here])
        self._counts = here & (self.weights > 0)
        self._order = torch.argsort(self._group[self._counts], stable=True, descending=True)
        """Samples that count, those at risk longest first."""

    def _at_risk(self, logs: Tensor) -> Tensor:
        """Logarithm of the sum of ``exp(logs)`` over each risk set, ``(events,)``; ``logs`` of samples that count."""
        groups = self._group[self._counts][self._order]
        sums = torch.logcumsumexp(logs[self._order], 0)
        # the risk set of event k ends with the last sample of group k
        ends = torch.searchsorted(-groups, -torch.arange(len(self._sizes), device=groups.device), right=True) - 1
        return sums[ends]

    def _logs(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``log(w exp f)`` and the group of samples that count, and ``log S``, with weights of mean one."""
        own = (outputs[:, 0] + self._shares.to(outputs.dtype).log())[self._counts]
        return own, self._group[self._counts], self._at_risk(own)

    def value(self, outputs: Tensor) -> Tensor:
        sizes, deaths = self._sizes.to(outputs.dtype), self._deaths.to(outputs.dtype)
        return (sizes * self._logs(outputs)[2]).sum() - (deaths * outputs[:, 0]).sum()

    def gradient(self, outputs: Tensor) -> Tensor:
        own, group, total = self._logs(outputs)
        hazard = torch.logcumsumexp(self._sizes.to(own).log() - total, 0)
        found = -self._deaths.to(own)
        found[self._counts] += (own + hazard[group]).exp()
        return found[:, None]

    def hessian_product(self, outputs: Tensor, direction: Tensor) -> Tensor:
        own, group, total = self._logs(outputs)
        move = direction[self._counts, 0]
        move = move - move.min()  # a common shift changes nothing, and logarithms need positive numbers
        rates = self._sizes.to(own).log() - total
        mean = self._at_risk(own + move.log()) - total  # log of the mean move over the risk set
        fall = torch.logcumsumexp(rates + mean, 0)
        found = torch.zeros_like(outputs[:, 0])
        found[self._counts] = move * (own + torch.logcumsumexp(rates, 0)[group]).exp() - (own + fall[group]).exp()
        return found[:, None]

    def best_constant(self) -> Tensor:
        return torch.zeros(1, dtype=torch.float64, device=self.weights.device)

    def dual_value(self, theta: Tensor) -> Tensor:
        deaths, sizes = self._deaths.to(theta.dtype), self._sizes.to(theta.dtype)
        outside = torch.full((), -torch.inf, dtype=theta.dtype, device=theta.device)
        mass = theta[:, 0] + deaths
        slack = 1e3 * torch.finfo(theta.dtype).eps
        if bool((mass < -slack * deaths.clamp(min=1 / self.num_samples)).any()):
            return outside
        if bool((mass[~self._counts].abs() > slack / self.num_samples).any()):
            return outside
        own, group = mass[self._counts].clamp(min=0), self._group[self._counts]
        sums = torch.zeros_like(sizes).index_add_(0, group, own)
        left = (sizes - sums).cumsum(0)  # P
        if bool((left < -slack).any()) or abs(float(left[-1])) > slack:
            return outside
        entropy = (torch.special.xlogy(own, own) - torch.special.xlogy(own, self._shares.to(own)[self._counts])).sum()
        before = torch.cat([left.new_zeros(1), left[:-1]]).clamp(min=0)
        # log S_{k+1} - log S_k; where nothing is left the later times are a problem of their own, with any scale
        step = torch.where(before[1:] > 0, before[1:] / (before[:-1] + sizes[:-1]), 1.0).log()
        total = torch.cat([step.new_zeros(1), step.cumsum(0)])
        hazard = (before + sizes).log() - total
        return -(entropy - (sums * hazard).sum() - (sizes * total).sum())

    def repair(self, theta: Tensor) -> Tensor:
        return theta  # every gradient sums to zero

    def max_scale(self, theta: Tensor) -> float:
        falls = -theta[:, 0]
        limits = torch.where(falls > 0, self._deaths.to(theta) / falls.clamp(min=1e-300), torch.inf)
        return max(1.0, float(limits.min()))

    @staticmethod
    def link(outputs: Tensor) -> Tensor:
        return outputs.exp()

    def held_out(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Partial likelihood among the held-out samples alone; zero where no event was seen among them."""
        if not bool((targets[:, 1] > 0).any()):
            return outputs.new_zeros(())
        return Cox(targets).value(outputs)

    def state(self) -> dict[str, Any]:
        return {"name": self.name, "num_outputs": self.num_outputs}
