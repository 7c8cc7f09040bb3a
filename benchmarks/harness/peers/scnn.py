"""pyscnn's R-FISTA on the gated MLP with the squared loss and one output."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import torch

from ..measure import Moment, Setting

__all__ = ["Scnn", "missing"]


def missing() -> str | None:
    """Why pyscnn cannot be used, None where it can."""
    try:
        import scnn.optimize  # noqa: F401
    except ImportError as error:
        return f"pyscnn is left out: {error} (pip install pyscnn linalg_backends)"
    return None


class Scnn:
    """Every moment is a run with more iterations. Its penalty on each neuron is the nuclear norm of a d x 1 matrix."""

    restarts = True

    def __init__(self, dtype: str = "float32", first: int = 4) -> None:
        self.name, self.dtype, self.first = f"pyscnn R-FISTA ({dtype})", dtype, first

    def run(self, setting: Setting, budget: float, skip: int = 0) -> Iterator[Moment]:
        from scnn.metrics import Metrics
        from scnn.models import ConvexGatedReLU
        from scnn.optimize import optimize_model
        from scnn.regularizers import NeuronGL1
        from scnn.solvers import RFISTA

        x, y, gates = (setting.extra[name] for name in ("x", "y", "gates"))
        iterations = self.first
        for _ in range(skip):
            iterations = _more(iterations)
        while iterations < 2_000_000:
            held = np.random.get_state(), random.getstate()  # noqa: NPY002 - the package sets the global seeds
            model = ConvexGatedReLU(gates.T.astype(self.dtype))
            found, _ = optimize_model(
                model,
                RFISTA(model, max_iters=iterations, tol=1e-20),
                Metrics(objective=False, grad_norm=False, time=False),
                x.astype(self.dtype),
                y.astype(self.dtype),
                regularizer=NeuronGL1(setting.beta),
                return_convex=True,
                unitize_data=False,
                dtype=self.dtype,
            )
            np.random.set_state(held[0])  # noqa: NPY002
            random.setstate(held[1])
            weights = torch.as_tensor(np.asarray(found.parameters[0][0], dtype=np.float64))
            factors = setting.problem.zero()
            # the package sorts the gates by their patterns: find each among those that the problem has
            order = np.abs(gates[:, :, None] - np.asarray(found.G)[None]).sum(1).argmin(0)
            for index, row in zip(order, weights, strict=True):
                size = float(row.norm())
                if size > 0:
                    factors.u[index] = (row / size**0.5)[None]
                    factors.v[index] = torch.full((1, 1, 1), size**0.5, dtype=torch.float64)
            yield Moment(factors)
            iterations = _more(iterations)


def _more(iterations: int) -> int:
    return max(iterations + 1, int(1.5 * iterations))
