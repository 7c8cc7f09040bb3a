"""How far attention logits grow, and when they freeze: the snap of a one-layer transformer in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.special import lambertw, wrightomega

from ..checks import check_number, check_whole
from ..errors import InputError, unknown_name
from . import THEORIES
from .curves import Curves, Theory, average

__all__ = ["GrowthLawConfig", "compete", "margin", "predict", "signal", "simulate", "snap_time"]

Array = NDArray[np.float64]
COMMON = "common token"
LAWS = ("orthogonal", "published")


@dataclass(frozen=True)
class GrowthLawConfig:
    r"""K classes of sequences with one query and one token in common.

    Parameters
    ----------
    n_classes, vocabulary : int
        K, and the number M > K of tokens that can come next.
    rate_y, rate_z : float
        Learning rates of the decoder and of the attention logits.
    contrast : float
        :math:`\rho_0`: l2 norm of the probabilities of a class's distinct tokens over that of the common token. The
        laws are for ``contrast`` well above 1.
    n_distinct : int
        Distinct tokens of each class.
    lowest : float
        Weight of the rarest distinct token; weights grow linearly to 1.
    law : {"orthogonal", "published"}
        Which closed form `predict` gives.
    start_spread : float
        Standard deviation of the logits at the start of the simulation.
    duration : float, optional
        Time of training; ten times the snap by default.
    n_points : int
        Times at which curves are given.

    Raises
    ------
    InputError
        Values outside these ranges.

    Examples
    --------
    >>> round(GrowthLawConfig().end)
    364
    """

    n_classes: int = 10
    vocabulary: int = 1000
    rate_y: float = 5.0
    rate_z: float = 0.5
    contrast: float = 10.0
    n_distinct: int = 5
    lowest: float = 0.1
    law: str = "orthogonal"
    start_spread: float = 0.0
    duration: float | None = None
    n_points: int = 120

    def __post_init__(self) -> None:
        for name, least in (("n_classes", 2), ("vocabulary", 3), ("n_distinct", 1), ("n_points", 2)):
            check_whole(name, getattr(self, name), least)
        for name in ("rate_y", "rate_z", "contrast", "lowest"):
            check_number(name, getattr(self, name))
        if self.duration is not None:
            check_number("duration", self.duration)
        if self.lowest > 1:
            raise InputError(f"lowest is the weight of the rarest distinct token and at most 1, got {self.lowest!r}")
        if self.vocabulary <= self.n_classes:
            raise InputError(
                f"vocabulary must be above n_classes, which all are answers in it; got {self.vocabulary} and "
                f"{self.n_classes}"
            )
        if not 0 <= self.start_spread < float("inf"):
            raise InputError(f"start_spread must be a finite number of at least 0, got {self.start_spread!r}")
        if self.law not in LAWS:
            raise unknown_name("law", self.law, LAWS)

    @property
    def end(self) -> float:
        """Time of training."""
        return float(10 * snap_time(self) if self.duration is None else self.duration)

    def times(self) -> Array:
        """Times of the curves, evenly spaced in their logarithm over three decades."""
        return np.geomspace(self.end / 1000, self.end, self.n_points)

    def weights(self) -> Array:
        """Probabilities of the distinct tokens of a class, with l2 norm 1; the common token has 1 / contrast."""
        raw = np.linspace(self.lowest, 1, self.n_distinct) if self.n_distinct > 1 else np.ones(1)
        return raw / np.sqrt((raw**2).sum())


def margin(config: GrowthLawConfig, times: Array) -> Array:
    r"""Logit of the right answer over the others, :math:`x = M h`, at each time.

    Notes
    -----
    :math:`\dot h = \eta_Y / (M - 1 + e^{Mh})` in the time of a class, t / K, so
    :math:`e^x + (M - 1) x = M \eta_Y t / K + 1`, solved by Wright's omega function. Source: Lemma 5 of arXiv
    2305.16380 (from the paper's text); exact for classes without overlap.

    Examples
    --------
    >>> config = GrowthLawConfig()
    >>> x = margin(config, np.array([100.0]))
    >>> bool(abs(np.exp(x) + 999 * x - 5 * 1000 * 100 / 10 - 1) < 1e-6)
    True
    """
    others = config.vocabulary - 1
    right = (config.vocabulary * config.rate_y * np.asarray(times, dtype=float) / config.n_classes + 1) / others
    return np.maximum(right - np.real(wrightomega(right - np.log(others))), 0)


def signal(config: GrowthLawConfig, times: Array) -> tuple[Array, Array]:
    r"""What reaches the attention logits: speed :math:`\gamma(t)` and its integral :math:`\Gamma(t)`.

    Notes
    -----
    :math:`\gamma = (M-1)^2 h / (M - 1 + e^{Mh})` (Lemma 5 of arXiv 2305.16380, from the paper's text). With
    the equation for h the integral has a closed form, :math:`\Gamma = K (M-1)^2 h^2 / (2 \eta_Y)` (derived here; the
    tests integrate :math:`\gamma`).

    Examples
    --------
    >>> speed, total = signal(GrowthLawConfig(), np.array([1.0, 15.0, 10000.0]))
    >>> bool(speed[1] > speed[0] and speed[1] > speed[2] and total[2] > total[1])
    True
    """
    m, x = config.vocabulary, margin(config, times)
    speed = (m - 1) ** 2 * x / m / (m - 1 + np.exp(x))
    return speed, config.n_classes * (m - 1) ** 2 * (x / m) ** 2 / (2 * config.rate_y)


def snap_time(config: GrowthLawConfig) -> float:
    r"""Time at which growth turns from a power of time into its logarithm.

    Where both terms of :math:`e^x + (M-1) x` are equal; :math:`2 K \ln M / \eta_Y (1 + o(1))`, as in Theorem 4 of arXiv
    2305.16380. A larger ``rate_y`` makes it earlier in proportion.

    Examples
    --------
    >>> late, early = GrowthLawConfig(rate_y=1), GrowthLawConfig(rate_y=5)
    >>> round(snap_time(late) / snap_time(early), 6)
    5.0
    """
    # below four tokens the terms never meet, and the curve bends where they are closest, at x = 1
    x = float(-lambertw(max(-1 / (config.vocabulary - 1), -1 / np.e), -1).real)
    return (2 * (config.vocabulary - 1) * x - 1) * config.n_classes / (config.vocabulary * config.rate_y)


def compete(weights: Array, growth: Array) -> Array:
    r"""Logits of distinct tokens that share one growth: the rich get richer.

    Parameters
    ----------
    weights : array, shape (tokens,)
        Probabilities of the tokens of one class, in any unit.
    growth : array, shape (points,)
        :math:`B = \eta_Z \int \xi_n`, at least 0.

    Returns
    -------
    array, shape (points, tokens)
        :math:`z_l - z_l(0)`; they add up to the growth.

    Notes
    -----
    With :math:`u_l = w_l e^{z_l}` and the norm over the distinct tokens alone, :math:`dz_l / dB = u_l^2 / \sum u^2`
    makes :math:`1/u_l^2` fall at the same rate for all tokens. That is the ratio law of Theorem 3 of arXiv 2305.16380
    (from the paper's text): :math:`r = (u_l / u_{l'})^2 - 1` grows as :math:`r(t) = r(0) e^{2 (z_l(t) - z_l(0))}`.
    Hence :math:`z_l = -\tfrac12 \ln(1 - s w_l^2)` with s from :math:`\sum_l z_l = B` (derived here; the tests
    integrate the equation).

    Examples
    --------
    >>> z = compete(np.array([1.0, 2.0]), np.array([0.0, 1.0]))
    >>> z[0].tolist(), round(float(z[1].sum()), 9)
    ([0.0, 0.0], 1.0)
    """
    square = np.asarray(weights, dtype=float) ** 2
    square = square / square.max()
    growth = np.asarray(growth, dtype=float)
    # s = 1 - e^{-v}: the logit of the most likely token is v / 2, and the sum of all lies between v / 2 and n v / 2
    low, high = np.zeros_like(growth), 2 * growth

    def logits(v: Array) -> Array:
        rest = (1 - square) + square * np.exp(-v)[:, None]
        return np.asarray(0.5 * np.log(1 / rest))

    for _ in range(100):
        middle = (low + high) / 2
        above = logits(middle).sum(1) > growth
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return logits((low + high) / 2)


def predict(config: GrowthLawConfig) -> Curves:
    r"""Logits of the common token and of the distinct tokens of a class in time, in closed form.

    Parameters
    ----------
    config : GrowthLawConfig

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

    The distinct tokens of a class share B / K, as a sequence belongs to it with probability 1 / K; see `compete`.

    Examples
    --------
    >>> curves = predict(GrowthLawConfig())
    >>> bool(curves["common token"][-1] < 0 < curves["distinct, weight 1"][-1])
    True
    """
    times = config.times()
    _, total = signal(config, times)
    power, scale = _law(config)
    growth = np.log1p(power * config.rate_z * total / scale) / power
    return _curves(config, -growth, compete(config.weights(), growth / config.n_classes))


def simulate(config: GrowthLawConfig, seeds: Sequence[int]) -> Curves:
    """Gradient flow of the model itself, decoder and attention together, integrated numerically.

    Infinitely long sequences, all classes with the same weight. Seeds draw the logits at the start, and so without
    ``start_spread`` all draws are the same.

    Raises
    ------
    InputError
        No seeds, or more numbers than a small simulation should hold.

    Examples
    --------
    >>> config = GrowthLawConfig(n_classes=3, vocabulary=50, n_points=20)
    >>> curves = simulate(config, seeds=[0])
    >>> bool(curves["common token"][-1] < 0)
    True
    """
    return average([_flow(config, seed) for seed in seeds])


def _law(config: GrowthLawConfig) -> tuple[int, float]:
    k, m, rho = config.n_classes, config.vocabulary, config.contrast
    if config.law == "published":
        return 4, rho**4 / k
    return 2, rho**2 * (m - 1) ** 2 / ((k - 1) * m)


def _flow(config: GrowthLawConfig, seed: int) -> Curves:
    check_whole("seed", seed)
    k, d, m = config.n_classes, config.n_distinct, config.vocabulary
    n_tokens = 1 + k * d
    if n_tokens * (k + 1) > 200_000:
        raise InputError(
            f"the simulation would follow {n_tokens * (k + 1):,} numbers, at most 200,000 are; take fewer classes or "
            "distinct tokens"
        )
    chances = np.zeros((k, n_tokens))
    chances[:, 0] = 1 / config.contrast
    for n in range(k):
        chances[n, 1 + n * d : 1 + (n + 1) * d] = config.weights()
    start = config.start_spread * np.random.default_rng(seed).standard_normal(n_tokens)
    times_unused = np.ones(k + 1)
    times_unused[k] = m - k  # the answers of no class stay alike: one column stands for them

    def slope(_: float, state: Array) -> Array:
        decoder, logits = state[:-n_tokens].reshape(n_tokens, k + 1), state[-n_tokens:]
        attention = chances * np.exp(logits - logits.max())
        features = attention / np.linalg.norm(attention, axis=1, keepdims=True)
        outputs = features @ decoder
        share = np.exp(outputs - outputs.max(1, keepdims=True))
        residual = np.eye(k, k + 1) - share / (share @ times_unused)[:, None]
        back = (residual * times_unused) @ decoder.T
        back -= (back * features).sum(1, keepdims=True) * features
        pull = config.rate_z * (features * back).mean(0)
        return np.concatenate([(config.rate_y * features.T @ residual / k).ravel(), pull])

    first = np.concatenate([np.zeros(n_tokens * (k + 1)), start])
    times = config.times()
    solved = solve_ivp(slope, (0, times[-1]), first, t_eval=times, rtol=1e-6, atol=1e-9)
    logits = solved.y[-n_tokens:].T - start
    return _curves(config, logits[:, 0], logits[:, 1:].reshape(-1, k, d).mean(1))


def _curves(config: GrowthLawConfig, common: Array, distinct: Array) -> Curves:
    raw = np.linspace(config.lowest, 1, config.n_distinct) if config.n_distinct > 1 else np.ones(1)
    names = [f"distinct, weight {w:.3g}" for w in raw]
    if len(set(names)) < len(names):
        names = [f"{name} ({i})" for i, name in enumerate(names)]
    return Curves(
        "growth of attention logits",
        "time",
        config.times(),
        {COMMON: common, **dict(zip(names, distinct.T, strict=True))},
        unit="steps x step size",
        value="change of the logit",
        marks={"snap": snap_time(config)},
        log_axis=True,
    )


THEORIES.register("growth_law")(Theory(GrowthLawConfig, predict, simulate))
