"""Several noisy linear teachers as one: what a student with a shared side sees when it learns all of their tasks.

Tasks that share inputs have outputs of their own: their data stand below each other. Tasks that share outputs have
inputs of their own: the same with both sides exchanged. Noise is as in `headwise.theory.random_matrix`, and the student
as in `headwise.theory.deep_linear`.

References
----------
Lampinen and Ganguli, "An analytic theory of generalization dynamics and transfer learning in deep linear networks",
ICLR 2019, arXiv 1809.10374; the error on one of the tasks was derived again and is checked against draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from ..checks import check_number
from ..errors import InputError
from .curves import Floats
from .inputs import check_cosine, check_one_of
from .mode_growth import mode_strengths
from .random_matrix import Imprint, imprint
from .stopping import Stop, best_stop, learning_end, teacher_error

__all__ = ["JointTeacher", "Share", "benefit", "best_on_task", "pair", "stack"]

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
    check_cosine("the alignment", alignment)
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
    check_one_of("share", share, get_args(Share))
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
