"""Deep linear networks: how fast each mode is learned, what it does to unseen samples, and when to stop.

Whitened inputs, as many samples as inputs, full-batch gradient flow on half the squared error. Noise and sides are as
in `headwise.theory.random_matrix`; time is in units of the learning rate's inverse (tau). With balanced layers every
mode of the data is learned on its own. The closed forms were derived again and are checked against simulations; that
students with leaky units learn in the same shape is recalled from the paper and here a simulation only.

References
----------
Lampinen and Ganguli, "An analytic theory of generalization dynamics and transfer learning in deep linear networks",
ICLR 2019, arXiv 1809.10374. Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in
deep linear neural networks", ICLR 2014, arXiv 1312.6120.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from ..checks import check_number, check_whole
from ..errors import InputError
from . import THEORIES
from .curves import Curves, Floats, Theory, over_seeds
from .gradient_flow import small_layers, train
from .inputs import as_row, check_entries, check_one_of, check_rank, check_strength, on
from .mode_growth import mode_strengths, time_to_learn
from .random_matrix import Imprint, draw, imprint
from .stopping import Stop, best_stop, draw_error, learning_end, teacher_error

__all__ = ["DeepLinear", "best_stopping", "modes", "predict", "simulate"]

Labels = Literal["structured", "random"]
Student = Literal["aligned", "random"]


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
    labels: Labels = "structured"
    student: Student = "aligned"
    leak: float = 1.0
    end: float | None = None
    num_times: int = 161

    def __post_init__(self) -> None:
        for name in ("num_inputs", "num_outputs", "hidden", "depth"):
            check_whole(name, getattr(self, name), 1)
        check_whole("num_times", self.num_times, 2)
        check_entries("the table of outputs over times", self.num_times * self.num_outputs)
        object.__setattr__(self, "strengths", as_row("strengths", self.strengths, check=check_strength))
        for name in ("start", "leak") if self.end is None else ("start", "leak", "end"):
            check_number(name, getattr(self, name))
        check_one_of("labels", self.labels, get_args(Labels))
        check_one_of("student", self.student, get_args(Student))
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
        """Times of the curves, in tau."""
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


@on(DeepLinear)
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
    return Curves(title, "time", times, series, unit="tau", value="strength of the mode (noise = 1)")


@on(DeepLinear)
def simulate(config: DeepLinear, seeds: Sequence[int] = range(5)) -> Curves:
    """The same errors of students trained on drawn teachers and noise; the mean over seeds.

    Aligned students follow from the singular value decomposition of each draw, random ones are trained by gradient
    flow.

    Examples
    --------
    >>> found = simulate(DeepLinear(strengths=(3.0,), end=8.0, num_times=5), seeds=[0])
    >>> bool(found["test error"][-1] > found["test error"][1])
    True
    """
    run = _aligned if config.student == "aligned" else _trained
    return over_seeds(lambda seed: run(config, seed), seeds)


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
    return _sampled(config, training, draw_error(teacher, left, right, s))


def _trained(config: DeepLinear, seed: int) -> Curves:
    teacher, data = _drawn(config, seed)
    rng = np.random.default_rng([seed, 2])
    n = config.num_inputs
    x = test = np.eye(n)
    if config.leak != 1:  # a student that is not linear sees more of the inputs than their second moments
        x, test = np.linalg.qr(rng.normal(size=(n, n)))[0], rng.normal(size=(n, 5 * n)) / n**0.5
    widths = [n, *[config.hidden] * (config.depth - 1), config.num_outputs]
    y, wanted = data @ x, teacher @ test
    found = train(small_layers(widths, config.start, rng), x, y, config.times, config.leak, test)
    training = np.array([((y - outputs) ** 2).sum() for outputs, _ in found]) / (y**2).sum()
    missed = np.array([((wanted - outputs) ** 2).sum() for _, outputs in found])
    return _sampled(config, training, missed / (wanted**2).sum())


def _sampled(config: DeepLinear, training: Floats, test: Floats) -> Curves:
    if config.labels == "random":
        return _curves(config, training)
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
