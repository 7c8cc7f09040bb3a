"""When a second task helps the first: several noisy linear teachers learned by one student with a shared side.

The benefit is the least error on the first task alone minus the least on it in joint training, each at its own best
time. Both tasks are rank-one teachers here; for teachers of any rank and number see `headwise.theory.joint_teacher`.

References
----------
Lampinen and Ganguli, "An analytic theory of generalization dynamics and transfer learning in deep linear networks",
ICLR 2019, arXiv 1809.10374; derived again and checked against draws. That unaligned tasks cost something is recalled
from the paper and holds in the draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import numpy as np

from ..checks import check_number, check_whole
from ..errors import InputError
from . import THEORIES
from .curves import Curves, Floats, Theory, over_seeds
from .inputs import as_row, check_cosine, check_one_of, check_rank, check_strength, on
from .joint_teacher import JointTeacher, Share, best_on_task, pair
from .stopping import least_draw_error

__all__ = ["Transfer", "draw_benefits", "heat_map", "predict", "simulate"]


@dataclass(frozen=True)
class Transfer:
    """A task and an auxiliary task, one mode each, over their alignment.

    Parameters
    ----------
    num_inputs, num_outputs : int
        Sides of the first task.
    auxiliary_size : int
        Own side of the auxiliary task: its outputs where inputs are shared, its inputs where outputs are.
    strength : float
        Signal-to-noise ratio of the first task.
    auxiliary : sequence of float
        Signal-to-noise ratios of the auxiliary task, one curve each.
    alignments : sequence of float
        Cosines between the two teachers on the shared side.
    share : {"inputs", "outputs"}
        What the tasks have in common.
    start : float
        Strength of the student's modes at time 0.
    depth : int
        Weight layers of the student.

    Raises
    ------
    InputError
        What is no such number or name; alignments beyond 1.
    """

    num_inputs: int = 100
    num_outputs: int = 50
    auxiliary_size: int = 50
    strength: float = 1.0
    auxiliary: Sequence[float] = (1.0, 2.0, 3.0, 5.0)
    alignments: Sequence[float] = tuple(np.linspace(0, 1, 11).round(2).tolist())
    share: Share = "inputs"
    start: float = 1e-3
    depth: int = 2

    def __post_init__(self) -> None:
        for name in ("num_inputs", "num_outputs", "auxiliary_size", "depth"):
            check_whole(name, getattr(self, name), 1)
        one, other = (self.num_inputs, self.num_outputs)[:: 1 if self.share == "inputs" else -1]
        check_rank(1, one, other + self.auxiliary_size)
        for name in ("strength", "start"):
            check_number(name, getattr(self, name))
        object.__setattr__(self, "auxiliary", as_row("auxiliary", self.auxiliary, check=check_strength))
        alignments = as_row("alignments", self.alignments, "numbers from -1 to 1", check_cosine)
        object.__setattr__(self, "alignments", alignments)
        check_one_of("share", self.share, get_args(Share))

    @property
    def sides(self) -> tuple[int, tuple[int, int], float]:
        """Length of the shared side, lengths of the own sides, scale of the noise."""
        own, shared = self.num_outputs, self.num_inputs
        if self.share == "outputs":
            own, shared = shared, own
        return shared, (own, self.auxiliary_size), (shared / self.num_inputs) ** 0.5


@on(Transfer)
def predict(config: Transfer) -> Curves:
    """Benefit of the auxiliary task over alignment, a curve for each of its strengths.

    Examples
    --------
    >>> curves = predict(Transfer(strength=1.0, auxiliary=(3.0,), alignments=(0.0, 0.6, 0.9)))
    >>> curves["auxiliary of strength 3"].round(2)
    array([-0.02,  0.12,  0.4 ])
    """
    shared, sizes, scale = config.sides
    one = JointTeacher(np.array([float(config.strength)]), np.ones((1, 1)), sizes[:1], shared, scale)
    alone = best_on_task(one, 0, config.start, config.depth).error
    found = [
        [
            alone - best_on_task(pair(config.strength, b, q, shared, sizes, scale), 0, config.start, config.depth).error
            for q in config.alignments
        ]
        for b in config.auxiliary
    ]
    return _curves(config, np.array(found))


@on(Transfer)
def simulate(config: Transfer, seeds: Sequence[int] = range(5)) -> Curves:
    """The same from drawn teachers and noise, with students along the modes of each draw; the mean over seeds.

    Examples
    --------
    >>> found = simulate(Transfer(strength=1.0, auxiliary=(3.0,), alignments=(0.9,)), seeds=[0])
    >>> bool(found["auxiliary of strength 3"][0] > 0.1)
    True
    """
    least = partial(least_draw_error, start=config.start, depth=config.depth)
    return over_seeds(lambda seed: _curves(config, draw_benefits(config, seed, least)), seeds)


def draw_benefits(config: Transfer, seed: int, least: Callable[[Floats, Floats], float]) -> Floats:
    """Benefits in one draw, shape (auxiliary strengths, alignments).

    Parameters
    ----------
    config : Transfer
    seed : int
    least : callable
        ``least(teacher, data)``: least error on the first task, whose teacher is without noise, of a student of the
        data, in which the tasks' own sides stand below each other.

    Examples
    --------
    >>> one = Transfer(auxiliary=(3.0,), alignments=(0.0, 1.0))
    >>> draw_benefits(one, 0, lambda teacher, data: float(len(data)))  # 50 outputs alone, 100 together
    array([[-50., -50.]])
    """
    shared, (own, other), scale = config.sides
    rng = np.random.default_rng(seed)
    along = np.linalg.qr(rng.normal(size=(shared, 2)))[0].T if shared > 1 else np.array([[1.0], [0.0]])
    unit_a, unit_b = (v / np.linalg.norm(v) for v in (rng.normal(size=own), rng.normal(size=other)))
    noise = rng.normal(size=(own + other, shared)) * scale / shared**0.5
    teacher = config.strength * np.outer(unit_a, along[0])
    alone = least(teacher, teacher + noise[:own])
    found = []
    for b in config.auxiliary:
        row = []
        for q in config.alignments:
            second = b * np.outer(unit_b, q * along[0] + max(1 - q**2, 0) ** 0.5 * along[1])
            row.append(alone - least(teacher, np.concatenate([teacher, second]) + noise))
        found.append(row)
    return np.array(found)


def _curves(config: Transfer, found: Floats) -> Curves:
    return Curves(
        f"Benefit for a task of strength {config.strength:g}, {config.share} shared",
        "alignment",
        config.alignments,
        {f"auxiliary of strength {b:g}": row for b, row in zip(config.auxiliary, found, strict=True)},
        unit="cosine",
        value="least error alone minus joint",
    )


def heat_map(config: Transfer, axes: Any = None) -> Any:
    """Draw the predicted benefit over alignment and strength of the auxiliary task; returns the matplotlib axes.

    Blue is benefit, red is harm, and the line between them is drawn.
    """
    import matplotlib.pyplot as plt

    if len(config.alignments) < 2 or len(config.auxiliary) < 2:
        raise InputError("a map needs at least two alignments and two strengths of the auxiliary task")
    axes = axes or plt.subplots(figsize=(6, 3.5), layout="constrained")[1]
    curves = predict(config)
    values = np.stack([curves[name] for name in curves.series])
    most = float(np.abs(values).max())
    place = (config.alignments, config.auxiliary, values)
    drawn = axes.pcolormesh(*place, cmap="RdBu", vmin=-most, vmax=most, shading="nearest")
    if values.min() < 0 < values.max():
        axes.contour(*place, levels=[0], colors="black", linewidths=1)
    axes.set(title=curves.title, xlabel="alignment (cosine)", ylabel="strength of the auxiliary task (noise = 1)")
    axes.figure.colorbar(drawn, ax=axes, label=curves.value)
    return axes


THEORIES.register("transfer")(Theory(Transfer, predict, simulate))
