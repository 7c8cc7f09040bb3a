"""Losses and penalties."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

__all__ = ["Loss", "Penalty", "Rescaled", "TargetKind"]

TargetKind = Literal["classes", "labels", "numbers", "counts", "survival"]
"""Classes are integers ``(n,)``; labels are 0 or 1, ``(n, c)``; numbers and counts ``(n, c)``; survival is ``(n, 2)``:
time, and 1 where the event was seen."""


class Loss(Protocol):
    """A convex loss of all outputs, bound to its targets and sample weights: ``L(f) = sum_i w_i l(f_i, y_i)``.

    Made as ``Squared(targets, num_outputs, weights, **options)``. ``theta`` below is a matrix ``(n, c)`` in the scale
    of ``gradient(f)``, weights included.
    """

    name: str
    kind: TargetKind
    has_intercept: bool
    """False where a common shift of the outputs changes nothing (Cox)."""
    num_outputs: int
    num_samples: int

    def value(self, outputs: Tensor) -> Tensor:
        """L(f), a scalar."""
        ...

    def gradient(self, outputs: Tensor) -> Tensor:
        """Gradient of L at ``outputs``, ``(n, c)``."""
        ...

    def hessian_product(self, outputs: Tensor, direction: Tensor) -> Tensor:
        """Hessian of L at ``outputs`` applied to ``direction``, ``(n, c)``."""
        ...

    def best_constant(self) -> Tensor:
        """The intercept ``(c,)`` that minimises L when it is all there is."""
        ...

    def dual_value(self, theta: Tensor) -> Tensor:
        """-L*(theta), a scalar; minus infinity outside the domain."""
        ...

    def repair(self, theta: Tensor) -> Tensor:
        """A point of the domain near ``theta`` whose columns sum to zero, as a free intercept asks."""
        ...

    def max_scale(self, theta: Tensor) -> float:
        """Largest alpha >= 1 that keeps ``alpha * theta`` in the domain."""
        ...

    @staticmethod
    def link(outputs: Tensor) -> Tensor:
        """Mean predictions: probabilities, numbers, rates, relative risks."""
        ...

    def held_out(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean unweighted loss of outputs against other targets, a scalar."""
        ...

    def state(self) -> dict[str, Any]:
        """JSON description: name, number of outputs and options, no targets."""
        ...


@runtime_checkable
class Rescaled(Protocol):
    """A loss of numbers that can be had in other units of its targets."""

    targets: Tensor
    """Numbers ``(n, c)``."""
    weights: Tensor
    """Sample weights ``(n,)``, of sum one."""

    def best_constant(self) -> Tensor:
        """As of `Loss`."""
        ...

    def rescaled(self, shift: Tensor, scale: float) -> Loss:
        """L' of the targets ``(y - shift) / scale``, such that ``L(f) = scale^2 L'((f - shift) / scale)``."""
        ...


class Penalty(Protocol):
    """A penalty on one block's matrix Z and its share of the dual.

    ``kind`` is ``"norm"`` where the dual has a bound (``||A*(theta)||_2 <= beta``) and the variables are the
    factors, or ``"quadratic"`` where it has a term ``-||A*(theta)||_F^2 / (2 beta)`` and Z is kept whole.
    """

    name: str
    kind: Literal["norm", "quadratic"]
