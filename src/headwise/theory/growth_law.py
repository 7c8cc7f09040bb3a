"""How far attention logits grow, and when they freeze: the snap of a one-layer transformer in closed form.

Classes of infinitely long sequences with one query and one common token, in the limit of continuous training. Time is
the number of steps times the step; logits are numbers without unit.

References
----------
Tian, Wang, Chen and Du, "Scan and snap: understanding training dynamics and token composition in 1-layer transformer",
NeurIPS 2023, arXiv 2305.16380. What is quoted from the paper's text and what is derived here is said at each function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Literal, get_args

import numpy as np
from scipy.special import lambertw, wrightomega

from ..checks import check_nonnegative, check_number, check_whole
from ..errors import InputError
from . import THEORIES, distinct_tokens
from .curves import Curves, Floats, Theory, over_seeds
from .inputs import check_entries, check_one_of, on
from .integration import integrate

__all__ = ["GrowthLaw", "margin", "predict", "signal", "simulate", "snap_time"]

COMMON = "common token"
LARGEST = 200_000  # numbers that a simulation follows

Law = Literal["orthogonal", "published"]


@dataclass(frozen=True)
class GrowthLaw:
    r"""K classes of sequences with one query and one token in common.

    Parameters
    ----------
    num_classes, vocabulary : int
        K, and the number M > K of tokens that can come next.
    rate_y, rate_z : float
        Learning rates of the decoder and of the attention logits.
    contrast : float
        :math:`\rho_0`: l2 norm of the probabilities of a class's distinct tokens over that of the common token. The
        laws are for ``contrast`` well above 1.
    num_distinct : int
        Distinct tokens of each class.
    lowest : float
        Weight of the rarest distinct token; weights grow linearly to 1.
    law : {"orthogonal", "published"}
        Which closed form `predict` gives.
    start_spread : float
        Standard deviation of the logits at the start of the simulation.
    end : float, optional
        Last time; by default ten times that of the snap.
    num_times : int
        Number of times, evenly spaced in their logarithm over the last three decades.

    Raises
    ------
    InputError
        Values outside these ranges.

    Examples
    --------
    >>> round(GrowthLaw().times[-1])
    364
    """

    num_classes: int = 10
    vocabulary: int = 1000
    rate_y: float = 5.0
    rate_z: float = 0.5
    contrast: float = 10.0
    num_distinct: int = 5
    lowest: float = 0.1
    law: Law = "orthogonal"
    start_spread: float = 0.0
    end: float | None = None
    num_times: int = 120

    def __post_init__(self) -> None:
        for name, least in (("num_classes", 2), ("vocabulary", 3), ("num_distinct", 1), ("num_times", 2)):
            check_whole(name, getattr(self, name), least)
        check_entries("the table of tokens over times", self.num_times * self.num_distinct)
        for name in ("rate_y", "rate_z", "contrast") if self.end is None else ("rate_y", "rate_z", "contrast", "end"):
            check_number(name, getattr(self, name))
        distinct_tokens.check_lowest(self.lowest)
        if self.vocabulary <= self.num_classes:
            raise InputError(
                f"vocabulary must be above num_classes, which all are answers in it; got {self.vocabulary} and "
                f"{self.num_classes}"
            )
        check_nonnegative("start_spread", self.start_spread)
        check_one_of("law", self.law, get_args(Law))

    @cached_property
    def times(self) -> Floats:
        """Times of the curves, in steps x step size."""
        end = 10 * snap_time(self) if self.end is None else self.end
        return np.geomspace(end / 1000, end, self.num_times)

    @property
    def probabilities(self) -> Floats:
        """Those of the distinct tokens of a class, with l2 norm 1; the common token has 1 / contrast."""
        raw = distinct_tokens.weights(self.lowest, self.num_distinct)
        return raw / np.sqrt((raw**2).sum())


def margin(config: GrowthLaw, times: Floats) -> Floats:
    r"""Logit of the right answer over the others, :math:`x = M h`, at each time.

    Notes
    -----
    :math:`\dot h = \eta_Y / (M - 1 + e^{Mh})` in the time of a class, t / K, so
    :math:`e^x + (M - 1) x = M \eta_Y t / K + 1`, solved by Wright's omega function. Source: Lemma 5 of arXiv
    2305.16380 (from the paper's text); exact for classes without overlap.

    Examples
    --------
    >>> config = GrowthLaw()
    >>> x = margin(config, np.array([100.0]))
    >>> bool(abs(np.exp(x) + 999 * x - 5 * 1000 * 100 / 10 - 1) < 1e-6)
    True
    """
    others = config.vocabulary - 1
    right = (config.vocabulary * config.rate_y * np.asarray(times, dtype=float) / config.num_classes + 1) / others
    return np.maximum(right - np.real(wrightomega(right - np.log(others))), 0)


def signal(config: GrowthLaw, times: Floats) -> tuple[Floats, Floats]:
    r"""What reaches the attention logits: speed :math:`\gamma(t)` and its integral :math:`\Gamma(t)`.

    Notes
    -----
    :math:`\gamma = (M-1)^2 h / (M - 1 + e^{Mh})` (Lemma 5 of arXiv 2305.16380, from the paper's text). With
    the equation for h the integral has a closed form, :math:`\Gamma = K (M-1)^2 h^2 / (2 \eta_Y)` (derived here; the
    tests integrate :math:`\gamma`).

    Examples
    --------
    >>> speed, total = signal(GrowthLaw(), np.array([1.0, 15.0, 10000.0]))
    >>> bool(speed[1] > speed[0] and speed[1] > speed[2] and total[2] > total[1])
    True
    """
    m, x = config.vocabulary, margin(config, times)
    speed = (m - 1) ** 2 * x / m / (m - 1 + np.exp(x))
    return speed, config.num_classes * (m - 1) ** 2 * (x / m) ** 2 / (2 * config.rate_y)


def snap_time(config: GrowthLaw) -> float:
    r"""Time at which growth turns from a power of time into its logarithm.

    Where both terms of :math:`e^x + (M-1) x` are equal; :math:`2 K \ln M / \eta_Y (1 + o(1))`, as in Theorem 4 of arXiv
    2305.16380. A larger ``rate_y`` makes it earlier in proportion.

    Examples
    --------
    >>> late, early = GrowthLaw(rate_y=1), GrowthLaw(rate_y=5)
    >>> round(snap_time(late) / snap_time(early), 6)
    5.0
    """
    # below four tokens the terms never meet, and the curve bends where they are closest, at x = 1
    x = float(-lambertw(max(-1 / (config.vocabulary - 1), -1 / np.e), -1).real)
    return (2 * (config.vocabulary - 1) * x - 1) * config.num_classes / (config.vocabulary * config.rate_y)


@on(GrowthLaw)
def predict(config: GrowthLaw) -> Curves:
    r"""Logits of the common token and of the distinct tokens of a class in time, in closed form.

    Parameters
    ----------
    config : GrowthLaw

    Returns
    -------
    Curves
        Change of the logits since the start, against time (number of steps x step), with the snap as a mark.

    Notes
    -----
    The common token obeys :math:`\dot z = -\eta_Z \gamma(t) e^{p z} / C`, so it falls by
    :math:`B(t) = \frac1p \ln(1 + p \eta_Z \Gamma(t) / C)`.

    - ``law="published"``: p = 4, :math:`C = \rho_0^4 / K`, Theorem 4 of arXiv 2305.16380 (from the paper's text).
      With :math:`\Gamma` in closed form this gives both of its regimes; the paper's formulas lack the constant
      :math:`-\frac14 \ln C` that makes B(0) = 0. That :math:`\rho_0` is the contrast as defined here is a
      reconstruction.
    - ``law="orthogonal"``: p = 2, :math:`C = \rho_0^2 (M-1)^2 / ((K-1) M)` (derived here). Lemma 3 makes the
      coefficient of another class's features in the signal :math:`M / (M-1)^2` when classes hardly overlap. The
      gradient flow of the model (`simulate`) agrees to 5 % for ``rate_y / rate_z`` of 100 and ``contrast`` of 20
      (tests); as the ratio falls it lags behind, because the decoder remembers older features.

    For small B the published law is about :math:`M / \rho_0^2` times faster than the model. Both laws depend on time
    only by :math:`\Gamma`, and so freeze at the same time.

    The distinct tokens of a class share B / K, as a sequence belongs to it with probability 1 / K; see
    `headwise.theory.distinct_tokens.compete`.

    Examples
    --------
    >>> curves = predict(GrowthLaw())
    >>> bool(curves["common token"][-1] < 0 < curves["distinct, weight 1"][-1])
    True
    """
    times = config.times
    _, total = signal(config, times)
    power, scale = _law(config)
    growth = np.log1p(power * config.rate_z * total / scale) / power
    return _curves(config, -growth, distinct_tokens.compete(config.probabilities, growth / config.num_classes))


@on(GrowthLaw)
def simulate(config: GrowthLaw, seeds: Sequence[int] = range(5)) -> Curves:
    """Gradient flow of the model itself, decoder and attention together, integrated numerically; the mean over seeds.

    Infinitely long sequences, all classes with the same weight. Seeds draw the logits at the start, and so without
    ``start_spread`` all draws are the same, and one is made.

    Raises
    ------
    InputError
        More numbers than a small simulation should hold.

    Examples
    --------
    >>> config = GrowthLaw(num_classes=3, vocabulary=50, num_times=20)
    >>> curves = simulate(config, seeds=[0])
    >>> bool(curves["common token"][-1] < 0)
    True
    """
    drawn = cache(partial(_drawn, config))
    return over_seeds(lambda seed: drawn(seed if config.start_spread else 0), seeds)


def _law(config: GrowthLaw) -> tuple[int, float]:
    k, m, rho = config.num_classes, config.vocabulary, config.contrast
    if config.law == "published":
        return 4, rho**4 / k
    return 2, rho**2 * (m - 1) ** 2 / ((k - 1) * m)


def _drawn(config: GrowthLaw, seed: int) -> Curves:
    k, d, m = config.num_classes, config.num_distinct, config.vocabulary
    num_tokens = 1 + k * d
    if num_tokens * (k + 1) > LARGEST:
        raise InputError(
            f"the simulation would follow {num_tokens * (k + 1):,} numbers, at most {LARGEST:,} are; take fewer "
            "classes or distinct tokens"
        )
    chances = np.zeros((k, num_tokens))
    chances[:, 0] = 1 / config.contrast
    for n in range(k):
        chances[n, 1 + n * d : 1 + (n + 1) * d] = config.probabilities
    start = config.start_spread * np.random.default_rng(seed).standard_normal(num_tokens)
    answers = np.ones(k + 1)
    answers[k] = m - k  # those of no class stay alike: one column stands for them

    def slope(_: float, state: Floats) -> Floats:
        decoder, logits = state[:-num_tokens].reshape(num_tokens, k + 1), state[-num_tokens:]
        attention = chances * np.exp(logits - logits.max())
        features = attention / np.linalg.norm(attention, axis=1, keepdims=True)
        outputs = features @ decoder
        share = np.exp(outputs - outputs.max(1, keepdims=True))
        residual = np.eye(k, k + 1) - share / (share @ answers)[:, None]
        back = (residual * answers) @ decoder.T
        back -= (back * features).sum(1, keepdims=True) * features
        pull = config.rate_z * (features * back).mean(0)
        return np.concatenate([(config.rate_y * features.T @ residual / k).ravel(), pull])

    first = np.concatenate([np.zeros(num_tokens * (k + 1)), start])
    states = integrate("training", slope, first, config.times, rtol=1e-6, atol=1e-9)
    logits = states[:, -num_tokens:] - start
    return _curves(config, logits[:, 0], logits[:, 1:].reshape(-1, k, d).mean(1))


def _curves(config: GrowthLaw, common: Floats, distinct: Floats) -> Curves:
    names = distinct_tokens.names(config.lowest, config.num_distinct)
    return Curves(
        "Growth of attention logits",
        "time",
        config.times,
        {COMMON: common, **dict(zip(names, distinct.T, strict=True))},
        unit="steps x step size",
        value="change of the logit",
        marks={"snap": snap_time(config)},
        log_axis=True,
    )


THEORIES.register("growth_law")(Theory(GrowthLaw, predict, simulate))
