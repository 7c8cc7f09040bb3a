"""When a second task helps the first: several noisy linear teachers learned by one student with a shared side.

Tasks that share inputs have outputs of their own: their data stand below each other. Tasks that share outputs have
inputs of their own: the same with both sides exchanged. The student is that of `headwise.theory.deep_linear`; the
benefit is the least error on the first task alone minus the least on it in joint training, each at its own best time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_number, check_whole
from ..errors import InputError
from . import THEORIES
from .curves import Curves, Theory, average
from .deep_linear import TRACKED, Stop, best_stop, learning_end, mode_strengths, teacher_error
from .random_matrix import Imprint, check_strengths, imprint

__all__ = ["JointTeacher", "Transfer", "benefit", "best_on_task", "heat_map", "pair", "predict", "simulate", "stack"]

Floats = NDArray[np.float64]
Share = Literal["inputs", "outputs"]

NEGLIGIBLE = 1e-9  # singular values below this share of the largest are rounding


@dataclass(frozen=True)
class JointTeacher:
    """Modes of the teachers of several tasks together.

    Parameters
    ----------
    strengths : array, shape (r,)
        Joint singular values, from large to small.
    shares : array, shape (tasks, r)
        Squared norm of each mode in each task; columns sum to one.
    sizes : tuple of int
        Length of each task's own side.
    shared : int
        Length of the shared side.
    scale : float
        The entries of the noise have standard deviation ``scale / sqrt(shared)``.
    """

    strengths: Floats
    shares: Floats
    sizes: tuple[int, ...]
    shared: int
    scale: float = 1.0

    @cached_property
    def seen(self) -> Imprint:
        """What joint data show; "outputs" stands for the tasks' own sides, "inputs" for the shared one."""
        return imprint(self.strengths, self.shared, sum(self.sizes), self.scale)

    def errors(self, times: ArrayLike, task: int = 0, start: float = 1e-3, depth: int = 2) -> Floats:
        """Test error on one task over time, relative to the size of its teacher, shape (times,).

        Examples
        --------
        >>> pair(1.0, 3.0, alignment=0.9, shared=100, sizes=(50, 50)).errors([0.0, 1.2]).round(2)
        array([1.  , 0.59])
        """
        if task not in range(len(self.sizes)):
            raise InputError(f"task must be from 0 to {len(self.sizes) - 1}, got {task!r}")
        seen, given = self.seen, np.atleast_1d(np.asarray(times, dtype=float))
        strengths = mode_strengths(given, np.concatenate([seen.data, seen.bulk]), start, depth)
        rank = len(self.strengths)
        fraction = self.sizes[task] / sum(self.sizes)
        return teacher_error(seen, strengths[:, :rank], strengths[:, rank:], self.shares[task], fraction)


def pair(
    strength: float,
    auxiliary: float,
    alignment: float,
    shared: int,
    sizes: tuple[int, int],
    scale: float = 1.0,
) -> JointTeacher:
    """Two teachers of one mode each, in closed form.

    Parameters
    ----------
    strength, auxiliary : float
        Singular values of the two teachers.
    alignment : float
        Cosine between their directions on the shared side, from -1 to 1.
    shared : int
        Length of the shared side.
    sizes : (int, int)
        Lengths of their own sides.
    scale : float
        Of the noise, as in `JointTeacher`.

    Examples
    --------
    >>> pair(1.0, 3.0, alignment=0.0, shared=100, sizes=(50, 50)).strengths
    array([3., 1.])
    """
    check_number("strength", strength)
    check_number("auxiliary", auxiliary)
    _check_alignment(alignment)
    a, b, mixed = strength**2, auxiliary**2, alignment * strength * auxiliary
    values, vectors = np.linalg.eigh([[a, mixed], [mixed, b]])
    # the smaller from the determinant: the difference of two close numbers would lose it
    values[0] = a * b * (1 - alignment**2) / values[1]
    return _joint(np.sqrt(values[::-1]), vectors[:, ::-1] ** 2, sizes, shared, scale)


def stack(teachers: Sequence[ArrayLike], share: Share = "inputs") -> JointTeacher:
    """Teachers of any rank, by numerical singular value decomposition.

    Parameters
    ----------
    teachers : sequence of array, shape (num_outputs, num_inputs)
        The first is the task that matters. The noise has the entries' variance ``1 / num_inputs`` of the first.
    share : {"inputs", "outputs"}
        Which side they have in common.

    Raises
    ------
    InputError
        Teachers that do not fit together, that are zero, or with values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> one, two = np.zeros((2, 50, 100))
    >>> one[0, 0], two[3, 0] = 3, 4  # the same input, an output of their own
    >>> joint = stack([one, two])
    >>> joint.strengths.round(6), joint.shares.round(2).ravel()
    (array([5.]), array([0.36, 0.64]))
    """
    _check_share(share)
    given = [np.asarray(teacher, dtype=float) for teacher in teachers]
    if not given or any(t.ndim != 2 or not t.size or not np.isfinite(t).all() or not t.any() for t in given):
        raise InputError("teachers must be matrices (num_outputs, num_inputs) of finite numbers that are not all zero")
    first_inputs = given[0].shape[1]
    if share == "outputs":
        given = [t.T for t in given]
    shared = {t.shape[1] for t in given}
    if len(shared) > 1:
        raise InputError(f"tasks that share {share} must have the same number of them, got {sorted(shared)}")
    sizes = tuple(len(t) for t in given)
    left, values, _ = np.linalg.svd(np.concatenate(given), full_matrices=False)
    shares = np.stack([(part**2).sum(0) for part in np.split(left, np.cumsum(sizes)[:-1])])
    side = shared.pop()
    return _joint(values, shares, sizes, side, (side / first_inputs) ** 0.5)


def _joint(values: Floats, shares: Floats, sizes: tuple[int, ...], shared: int, scale: float) -> JointTeacher:
    real = values > NEGLIGIBLE * values.max()
    return JointTeacher(values[real], shares[:, real], sizes, shared, scale)


def best_on_task(joint: JointTeacher, task: int = 0, start: float = 1e-3, depth: int = 2) -> Stop:
    """Best time to stop for one task, and its error there.

    Examples
    --------
    >>> stop = best_on_task(pair(1.0, 3.0, alignment=0.9, shared=100, sizes=(50, 50)))
    >>> round(stop.time, 2), round(stop.error, 2)
    (1.18, 0.58)
    """
    seen = joint.seen
    end = learning_end(np.append(seen.data, seen.bulk[:1]), start, depth)
    return best_stop(lambda t: joint.errors(t, task, start, depth), end)


def benefit(alone: JointTeacher, joint: JointTeacher, start: float = 1e-3, depth: int = 2) -> float:
    """Least error on the first task alone minus that in joint training; negative where the other tasks harm.

    Examples
    --------
    >>> import numpy as np
    >>> direction = np.eye(100)[0]
    >>> weak, strong = np.outer(np.eye(50)[0], direction), 3 * np.outer(np.eye(50)[1], direction)
    >>> round(benefit(stack([weak]), stack([weak, strong])), 2)
    0.53
    """
    return best_on_task(alone, 0, start, depth).error - best_on_task(joint, 0, start, depth).error


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
        for name in ("strength", "start"):
            check_number(name, getattr(self, name))
        check_strengths("auxiliary", self.auxiliary)
        _check_alignments(self.alignments)
        _check_share(self.share)

    @property
    def sides(self) -> tuple[int, tuple[int, int], float]:
        """Length of the shared side, lengths of the own sides, scale of the noise."""
        own, shared = self.num_outputs, self.num_inputs
        if self.share == "outputs":
            own, shared = shared, own
        return shared, (own, self.auxiliary_size), (shared / self.num_inputs) ** 0.5


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


def simulate(config: Transfer, seeds: Sequence[int] = range(5)) -> Curves:
    """The same from drawn teachers and noise, with students along the modes of each draw.

    Examples
    --------
    >>> found = simulate(Transfer(strength=1.0, auxiliary=(3.0,), alignments=(0.9,)), seeds=[0])
    >>> bool(found["auxiliary of strength 3"][0] > 0.1)
    True
    """
    return average([_drawn(config, seed) for seed in seeds])


def _drawn(config: Transfer, seed: int) -> Curves:
    shared, (own, other), scale = config.sides
    rng = np.random.default_rng(seed)
    along = np.linalg.qr(rng.normal(size=(shared, 2)))[0].T if shared > 1 else np.array([[1.0], [0.0]])
    unit_a, unit_b = (v / np.linalg.norm(v) for v in (rng.normal(size=own), rng.normal(size=other)))
    noise = rng.normal(size=(own + other, shared)) * scale / shared**0.5
    teacher = config.strength * np.outer(unit_a, along[0])
    alone = _least_error(config, teacher, teacher + noise[:own])
    found = []
    for b in config.auxiliary:
        row = []
        for q in config.alignments:
            second = b * np.outer(unit_b, q * along[0] + max(1 - q**2, 0) ** 0.5 * along[1])
            row.append(alone - _least_error(config, teacher, np.concatenate([teacher, second]) + noise))
        found.append(row)
    return _curves(config, np.array(found))


def _least_error(config: Transfer, teacher: Floats, data: Floats) -> float:
    left, values, right = np.linalg.svd(data, full_matrices=False)
    left = left[: len(teacher)]
    edge = np.append(values[:2], values[len(values) // 4])
    s = mode_strengths(
        np.linspace(0, learning_end(edge, config.start, config.depth), TRACKED), values, config.start, config.depth
    )
    size = (teacher**2).sum()
    along = np.einsum("ij,ik,kj->k", teacher, left, right)
    return float((size - 2 * s @ along + s**2 @ (left**2).sum(0)).min() / size)


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
    axes.set(title=curves.title, xlabel="alignment (cosine)", ylabel="strength of the auxiliary task (noise)")
    axes.figure.colorbar(drawn, ax=axes, label=curves.value)
    return axes


def _check_alignment(value: Any) -> None:
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool) or not -1 <= value <= 1:
        raise InputError(f"an alignment is a cosine, from -1 to 1, got {value!r}")


def _check_alignments(values: Any) -> None:
    if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):
        raise InputError(f"alignments must be a row of numbers from -1 to 1, got {values!r}")
    for value in values:
        _check_alignment(value)


def _check_share(share: Any) -> None:
    if share not in ("inputs", "outputs"):
        raise InputError(f"share must be inputs or outputs, got {share!r}")


THEORIES.register("transfer")(Theory(Transfer, predict, simulate))
