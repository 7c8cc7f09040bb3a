"""Deep linear networks: how fast each mode is learned, what it does to unseen samples, and when to stop.

Whitened inputs, as many samples as inputs, full-batch gradient flow on half the squared error. Noise and sides are as
in `headwise.theory.random_matrix`; time is in units of the learning rate's inverse. With balanced layers every mode of
the data is learned on its own. The closed forms were derived again and are checked against simulations; that students
with leaky units learn in the same shape is recalled from the paper and here a simulation only.

References
----------
Lampinen and Ganguli, "An analytic theory of generalization dynamics and transfer learning in deep linear networks",
ICLR 2019, arXiv 1809.10374. Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in
deep linear neural networks", ICLR 2014, arXiv 1312.6120.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import minimize_scalar
from scipy.special import hyp2f1

from ..checks import check_number, check_whole
from ..errors import InputError
from . import THEORIES
from .curves import Curves, Theory, average
from .gradient_flow import train
from .random_matrix import Imprint, check_rank, check_strengths, draw, imprint

__all__ = [
    "DeepLinear",
    "Stop",
    "best_stop",
    "best_stopping",
    "learning_end",
    "mode_strengths",
    "modes",
    "predict",
    "simulate",
    "teacher_error",
    "time_to_learn",
]

Floats = NDArray[np.float64]

TRACKED = 200  # times at which a best stop is looked for before it is refined
LEARNED = 0.999  # share of a mode after which it no longer changes the error


def mode_strengths(times: ArrayLike, data: ArrayLike, start: float, depth: int = 2) -> Floats:
    """Strength of each mode of the student, shape (times, modes).

    Solves ``ds/dt = D s^(2 - 2/D) (data - s)`` from ``s = start``: in closed form for one and two layers, by an
    accurate integrator (relative tolerance 1e-10) for more.

    Parameters
    ----------
    times : array, shape (p,)
        Times, not negative.
    data : array, shape (m,)
        Singular values of the data.
    start : float
        Strength of every mode at time 0.
    depth : int
        Number D of weight layers.

    Examples
    --------
    >>> mode_strengths([0.0, 1.0, 2.0], [3.0, 2.0], start=0.01).round(2)
    array([[0.01, 0.01],
           [1.72, 0.43],
           [2.99, 1.87]])
    """
    t, s = _times(times), np.atleast_1d(np.asarray(data, dtype=float))
    check_number("start", start)
    check_whole("depth", depth, 1)
    if not np.isfinite(s).all() or (s < 0).any():
        raise InputError(f"singular values of the data must be finite and not negative, got {data!r}")
    if depth == 1:
        return s + np.exp(-t)[:, None] * (start - s)
    if depth == 2:
        grown = 2 * t[:, None] * s
        # written so that neither an overflow nor a mode of strength 0 (which decays) needs a case of its own
        mean = np.divide(-np.expm1(-grown), grown, out=np.ones_like(grown), where=grown > 0)
        return start / (np.exp(-grown) + start * 2 * t[:, None] * mean)
    return _integrated(t, s, start, depth)


def _times(times: ArrayLike) -> Floats:
    found = np.atleast_1d(np.asarray(times, dtype=float))
    if not np.isfinite(found).all() or (found < 0).any():
        raise InputError(f"times must be finite and not negative, got {times!r}")
    return found


def _integrated(times: Floats, data: Floats, start: float, depth: int) -> Floats:
    order, back = np.unique(times, return_inverse=True)
    power = 1 - 2 / depth

    def slope(_: float, logarithm: Floats) -> Floats:
        s = np.exp(logarithm)
        return depth * s**power * (data - s)

    def diagonal(_: float, logarithm: Floats) -> Floats:
        s = np.exp(logarithm)
        return (depth * s**power * (power * data - (power + 1) * s))[None]

    first = np.full(len(data), np.log(start))
    if not len(data) or order[-1] == 0:
        return np.full((len(times), len(data)), start)
    found = solve_ivp(
        slope, (0, order[-1]), first, "LSODA", order, rtol=1e-10, atol=1e-10, jac=diagonal, lband=0, uband=0
    )
    if not found.success:
        raise InputError(f"the growth of the modes could not be integrated: {found.message}; take shorter times")
    return np.exp(found.y.T[back])


def time_to_learn(data: ArrayLike, final: ArrayLike, start: float, depth: int = 2) -> Floats:
    """Time at which modes reach ``final``, in closed form for every depth.

    Raises
    ------
    InputError
        A final strength that is not between the start and the strength in the data: it is never reached.

    Examples
    --------
    >>> time_to_learn([4.0, 2.0], [2.0, 1.0], start=1e-3).round(3)
    array([1.037, 1.9  ])
    """
    s, last = np.broadcast_arrays(np.asarray(data, dtype=float), np.asarray(final, dtype=float))
    check_number("start", start)
    check_whole("depth", depth, 1)
    if not ((start <= last) & (last < s) & np.isfinite(s)).all():
        raise InputError(
            f"modes of strength {data!r} go from {start:g} to below that strength and never reach {final!r}; give a "
            "final strength in between"
        )
    if depth == 1:
        return np.log((s - start) / (s - last))
    if depth == 2:
        return np.log(last * (s - start) / (start * (s - last))) / (2 * s)

    # with w^D = strength / data and time in units of data^(2/D - 2): dw/dt = w^(D-1) (1 - w^D)
    def since(strength: ArrayLike) -> Floats:
        x = np.asarray(strength / s)
        exponent = 2 / depth - 1
        return x**exponent / (2 - depth) * hyp2f1(1, exponent, exponent + 1, x)

    return (since(last) - since(start)) / s ** (2 - 2 / depth)


def teacher_error(
    seen: Imprint, learned: Floats, noise: Floats, share: ArrayLike | None = None, fraction: float = 1.0
) -> Floats:
    """Error of a student against the teacher without noise, relative to the teacher's size.

    Parameters
    ----------
    seen : Imprint
        The teacher, and what the data show of it.
    learned : array, shape (p, r)
        Strength of the student's modes that belong to the teacher, in the order of ``seen``; zero where not trained.
    noise : array, shape (p, k)
        Strength of the modes that are noise.
    share : array, shape (r,), optional
        For an error on some of the outputs: squared norm of the teacher's output directions there; all by default.
    fraction : float
        Those outputs, as a fraction of all.

    Returns
    -------
    array, shape (p,)

    Examples
    --------
    >>> seen = imprint([3.0], num_inputs=100, num_outputs=50)
    >>> teacher_error(seen, np.array([[0.0], [3.0]]), np.zeros((2, 0))).round(3)
    array([1.   , 0.165])
    """
    part = np.ones(len(seen.teacher)) if share is None else np.asarray(share, dtype=float)
    size = (seen.teacher**2 * part).sum()
    along = learned @ (seen.teacher * seen.alignment * part)
    o = seen.output_overlap
    own = learned**2 @ (o * part + (1 - o) * fraction)
    return (size - 2 * along + own + fraction * (noise**2).sum(1)) / size


class Stop(NamedTuple):
    """The best time to stop, and the error there."""

    time: float
    error: float


def best_stop(error: Callable[[Floats], Floats], end: float) -> Stop:
    """The time between 0 and ``end`` of the least error, given the error at an array of times.

    Examples
    --------
    >>> stop = best_stop(lambda t: (t - 1) ** 2 + 0.5, end=4)
    >>> round(stop.time, 4), round(stop.error, 4)
    (1.0, 0.5)
    """
    times = np.linspace(0, end, TRACKED)
    values = error(times)
    best = int(np.argmin(values))
    around = times[max(best - 1, 0)], times[min(best + 1, TRACKED - 1)]
    found = minimize_scalar(lambda t: float(error(np.array([t]))[0]), bounds=around, method="bounded")
    if found.fun < values[best]:
        return Stop(float(found.x), float(found.fun))
    return Stop(float(times[best]), float(values[best]))


def learning_end(data: ArrayLike, start: float, depth: int) -> float:
    """Time until which a best stop must have come: all these modes are learned, later ones are noise."""
    s = np.asarray(data, dtype=float)
    s = s[s * LEARNED > start]
    return float(time_to_learn(s, s * LEARNED, start, depth).max()) if len(s) else 1.0


@dataclass(frozen=True)
class DeepLinear:
    """A student of a noisy linear teacher.

    Parameters
    ----------
    num_inputs, num_outputs : int
        Sides of the teacher; there are as many samples as inputs.
    hidden : int
        Width of the hidden layers: no more modes than that are learned.
    strengths : sequence of float
        Singular values of the teacher, which are the signal-to-noise ratios of its modes.
    start : float
        Strength of each mode of the student at time 0.
    depth : int
        Number of weight layers.
    labels : {"structured", "random"}
        Outputs of the teacher with noise, or Gaussian numbers of the same variance, where there is nothing to learn but
        the samples themselves. (Outputs in another order of the samples would not do: with as many whitened samples as
        inputs that is a rotation, which leaves every singular value as it is.)
    student : {"aligned", "random"}
        How simulated students start: along the modes of the data, as the closed form has it, or from small random
        weights, by gradient flow. Random layers give each direction the length ``start ** (1 / depth)``.
    leak : float
        Slope of the simulated student's hidden units for negative inputs (leaky ReLU); 1 is a linear student. The
        prediction is always that of the linear one.
    end : float, optional
        Last time; by default three times that at which the strongest noise is learned.
    num_times : int
        Number of times from 0 to ``end``.

    Raises
    ------
    InputError
        What is no such number or name, a teacher of larger rank than the smaller side, or an aligned start with
        ``leak`` other than 1, whose modes do not decouple.

    Examples
    --------
    >>> DeepLinear(strengths=(3.0, 2.0)).depth
    2
    """

    num_inputs: int = 100
    num_outputs: int = 50
    hidden: int = 50
    strengths: Sequence[float] = (3.0,)
    start: float = 1e-3
    depth: int = 2
    labels: Literal["structured", "random"] = "structured"
    student: Literal["aligned", "random"] = "aligned"
    leak: float = 1.0
    end: float | None = None
    num_times: int = 161

    def __post_init__(self) -> None:
        for name in ("num_inputs", "num_outputs", "hidden", "depth"):
            check_whole(name, getattr(self, name), 1)
        check_whole("num_times", self.num_times, 2)
        check_strengths("strengths", self.strengths)
        for name in ("start", "leak") if self.end is None else ("start", "leak", "end"):
            check_number(name, getattr(self, name))
        for name, known in (("labels", ("structured", "random")), ("student", ("aligned", "random"))):
            if getattr(self, name) not in known:
                raise InputError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.leak != 1 and self.student == "aligned":
            raise InputError("students with leaky units do not stay aligned; give student='random'")
        check_rank(len(self.strengths), self.num_inputs, self.num_outputs)

    @cached_property
    def seen(self) -> Imprint:
        """What the data show of the teacher; of random labels a bulk alone, of the variance of the structured ones."""
        if self.labels == "structured":
            return imprint(self.strengths, self.num_inputs, self.num_outputs)
        return imprint([], self.num_inputs, self.num_outputs, self.random_scale)

    @property
    def random_scale(self) -> float:
        """Scale of random labels that have the variance of teacher and noise together."""
        return float((1 + np.square(self.strengths).sum() / self.num_outputs) ** 0.5)

    @cached_property
    def times(self) -> Floats:
        if self.end is not None:
            return np.linspace(0, self.end, self.num_times)
        bulk = self.seen.bulk
        values = np.append(self.seen.data, bulk[:1])
        learned = values[values * 0.9 > self.start]
        last = time_to_learn(learned, learned * 0.9, self.start, self.depth).max() if len(learned) else 1.0
        return np.linspace(0, 3 * last, self.num_times)


def _student(config: DeepLinear, seen: Imprint, times: Floats) -> tuple[Floats, Floats]:
    """Strengths of the modes of teacher and noise, zero where the hidden layer has no room for them."""
    data = np.concatenate([seen.data, seen.bulk])
    strengths = mode_strengths(times, data, config.start, config.depth) * (np.arange(len(data)) < _width(config))
    return strengths[:, : len(seen.data)], strengths[:, len(seen.data) :]


def _width(config: DeepLinear) -> int:
    """Modes that can be learned; a single layer has no hidden one."""
    smaller = min(config.num_inputs, config.num_outputs)
    return smaller if config.depth == 1 else min(config.hidden, smaller)


def best_stopping(config: DeepLinear) -> Stop:
    """When the test error is least, and that error.

    Time 0 is an answer: nothing learnable is visible at this noise.

    Examples
    --------
    >>> stop = best_stopping(DeepLinear(strengths=(3.0,)))
    >>> round(stop.time, 2), round(stop.error, 3)
    (1.48, 0.167)
    """
    if config.labels == "random":
        raise InputError("random labels have no teacher, so there is no test error; give labels='structured'")
    seen = config.seen
    end = learning_end(np.append(seen.data, seen.bulk[:1]), config.start, config.depth)
    return best_stop(lambda t: teacher_error(seen, *_student(config, seen, t)), end)


def predict(config: DeepLinear) -> Curves:
    """Training and test error over time in closed form; random labels have no test error.

    Training error is relative to the size of the data, test error, against the teacher without noise, to that of the
    teacher.

    Examples
    --------
    >>> curves = predict(DeepLinear(strengths=(3.0,), end=8.0, num_times=5))
    >>> curves["test error"].round(3)
    array([0.999, 0.301, 4.035, 5.26 , 5.527])
    """
    seen, times = config.seen, config.times
    learned, noise = _student(config, seen, times)
    data = np.concatenate([seen.data, seen.bulk])
    left = ((np.hstack([learned, noise]) - data) ** 2).sum(1) / (data**2).sum()
    if config.labels == "random":
        return _curves(config, left)
    stop = best_stopping(config)
    return _curves(config, left, teacher_error(seen, learned, noise), stop.time)


def modes(config: DeepLinear) -> Curves:
    """Strength of each mode of the teacher in the student over time, and of the strongest noise.

    Examples
    --------
    >>> list(modes(DeepLinear(strengths=(5.0, 3.0))).series)
    ['mode 1', 'mode 2', 'strongest noise']
    """
    seen, times = config.seen, config.times
    learned, noise = _student(config, seen, times)
    series = {f"mode {i + 1}": values for i, values in enumerate(learned.T)}
    if noise.shape[1]:
        series["strongest noise"] = noise[:, 0]
    title = f"Modes of a student of depth {config.depth}"
    return Curves(title, "time", times, series, unit="tau", value="strength of the mode (noise)")


def simulate(config: DeepLinear, seeds: Sequence[int] = range(5)) -> Curves:
    """The same errors of students trained on drawn teachers and noise.

    Aligned students follow from the singular value decomposition of each draw, random ones are trained by gradient
    flow.

    Examples
    --------
    >>> found = simulate(DeepLinear(strengths=(3.0,), end=8.0, num_times=5), seeds=[0])
    >>> bool(found["test error"][-1] > found["test error"][1])
    True
    """
    return average([(_aligned if config.student == "aligned" else _trained)(config, seed) for seed in seeds])


def _drawn(config: DeepLinear, seed: int) -> tuple[Floats, Floats]:
    teacher, data = draw(config.strengths, config.num_inputs, config.num_outputs, seed)
    if config.labels == "random":
        rng = np.random.default_rng([seed, 1])
        data = rng.normal(size=data.shape) * config.random_scale / config.num_inputs**0.5
    return teacher, data


def _aligned(config: DeepLinear, seed: int) -> Curves:
    teacher, data = _drawn(config, seed)
    left, values, right = np.linalg.svd(data, full_matrices=False)
    s = mode_strengths(config.times, values, config.start, config.depth) * (np.arange(len(values)) < _width(config))
    training = ((s - values) ** 2).sum(1) / (values**2).sum()
    if config.labels == "random":
        return _curves(config, training)
    along = np.einsum("ij,ik,kj->k", teacher, left, right)
    size = (teacher**2).sum()
    return _sampled(config, training, (size - 2 * s @ along + (s**2).sum(1)) / size)


def _trained(config: DeepLinear, seed: int) -> Curves:
    teacher, data = _drawn(config, seed)
    rng = np.random.default_rng([seed, 2])
    n = config.num_inputs
    x = test = np.eye(n)
    if config.leak != 1:  # a student that is not linear sees more of the inputs than their second moments
        x, test = np.linalg.qr(rng.normal(size=(n, n)))[0], rng.normal(size=(n, 5 * n)) / n**0.5
    widths = [n, *[config.hidden] * (config.depth - 1), config.num_outputs]
    scale = config.start ** (1 / config.depth)
    layers = [
        scale * rng.normal(size=(wide, narrow)) / (config.hidden if i else wide) ** 0.5
        for i, (narrow, wide) in enumerate(pairwise(widths))
    ]
    y, wanted = data @ x, teacher @ test
    found = train(layers, x, y, config.times, config.leak, test)
    training = np.array([((y - outputs) ** 2).sum() for outputs, _ in found]) / (y**2).sum()
    if config.labels == "random":
        return _curves(config, training)
    return _sampled(
        config, training, np.array([((wanted - outputs) ** 2).sum() for _, outputs in found]) / (wanted**2).sum()
    )


def _sampled(config: DeepLinear, training: Floats, test: Floats) -> Curves:
    return _curves(config, training, test, float(config.times[np.argmin(test)]))


def _curves(config: DeepLinear, training: Floats, test: Floats | None = None, stop: float | None = None) -> Curves:
    return Curves(
        f"A linear student of depth {config.depth}, {config.labels} labels",
        "time",
        config.times,
        {"training error": training} | ({} if test is None else {"test error": test}),
        unit="tau",
        value="relative squared error",
        marks={} if stop is None else {"best stopping time": stop},
    )


THEORIES.register("deep_linear")(Theory(DeepLinear, predict, simulate))
