"""Which tokens one attention head ends up combining: training of a one-layer transformer on classes of sequences.

Common tokens, which occur in every class, lose attention; distinct ones gain it in the order of their weights; then the
pattern freezes, sparse but never one-hot. Attention is given as shares of 1, entropy as a part of that of equal shares
(in nats in `entropy_of_rates`), and time in steps of the optimiser.

References
----------
Tian, Wang, Chen and Du, "Scan and snap: understanding training dynamics and token composition in 1-layer transformer",
NeurIPS 2023, arXiv 2305.16380. Equations are from the paper's text; their form for infinitely long sequences is derived
from them and agrees with sampled training in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..checks import check_flag, check_nonnegative, check_number, check_whole
from ..errors import InputError
from . import THEORIES, distinct_tokens
from .curves import Curves, Floats, Theory, over_seeds
from .inputs import as_row, check_entries, check_one_of, on
from .optimizers import adam, heavy_ball

__all__ = ["ScanAndSnap", "entropy_of_rates", "predict", "simulate", "winners"]

Batch = tuple[Floats, NDArray[np.intp]]
Optimizer = Literal["sgd", "adam"]
COMMON, ENTROPY = "common tokens", "entropy of distinct tokens"


@dataclass(frozen=True)
class ScanAndSnap:
    """Classes of sequences and a one-layer model that is trained to name the class.

    A sequence of class n has a query (its last token) and context tokens drawn independently from P(l|n). *Common*
    tokens occur in all classes, with weight 1; *distinct* tokens in one, with weights that grow linearly from
    ``lowest`` to 1.

    Parameters
    ----------
    num_classes, num_common, num_distinct : int
        Classes K, common tokens, distinct tokens of each class.
    lowest : float
        Weight of the rarest distinct token, at most 1.
    rate_y, rate_z : float
        Learning rates of the decoder (eta_Y) and of the attention logits (eta_Z). The published analysis is for
        ``rate_y`` well above ``rate_z``.
    momentum : float
        Heavy-ball momentum of "sgd", in [0, 1); 0.9 means steps that are ten times as long in the end.
    num_steps : int
        Training steps.
    length, batch : int
        Tokens of a sequence with its query, and sequences of a step, in the simulation.
    shared_query : bool
        Whether all classes have the same query, and so compete for one row of attention logits.
    optimizer : {"sgd", "adam"}
        Adam has its usual constants (0.9, 0.999).
    start_spread : float
        Standard deviation of the attention logits at the start; the prediction starts at zero.

    Raises
    ------
    InputError
        Values outside these ranges.

    Examples
    --------
    >>> ScanAndSnap(rate_y=10).vocabulary
    34
    """

    num_classes: int = 2
    num_common: int = 10
    num_distinct: int = 10
    lowest: float = 0.1
    rate_y: float = 1.0
    rate_z: float = 1.0
    momentum: float = 0.9
    num_steps: int = 100
    length: int = 128
    batch: int = 128
    shared_query: bool = False
    optimizer: Optimizer = "sgd"
    start_spread: float = 0.0

    def __post_init__(self) -> None:
        for name in ("num_classes", "num_distinct", "length"):
            check_whole(name, getattr(self, name), 2)
        for name in ("num_steps", "batch"):
            check_whole(name, getattr(self, name), 1)
        check_whole("num_common", self.num_common)
        check_entries("the table of classes and tokens", self.num_classes * self.vocabulary)
        check_entries("the table of tokens over steps", self.num_steps * self.vocabulary)
        check_entries("a batch of sequences", self.batch * self.length)
        check_flag("shared_query", self.shared_query)
        distinct_tokens.check_lowest(self.lowest)
        for name in ("rate_y", "rate_z"):
            check_number(name, getattr(self, name))
        check_nonnegative("momentum", self.momentum)
        if self.momentum >= 1:
            raise InputError(f"momentum must be below 1, got {self.momentum!r}")
        check_nonnegative("start_spread", self.start_spread)
        check_one_of("optimizer", self.optimizer, get_args(Optimizer))

    @property
    def vocabulary(self) -> int:
        """Tokens that can come next: those of the context, one query and one answer for each class."""
        return self.num_common + self.num_classes * (self.num_distinct + 2)

    @property
    def probabilities(self) -> Floats:
        """P(l|n), shape (num_classes, tokens): the common tokens first, then the distinct ones of each class."""
        k, c, d = self.num_classes, self.num_common, self.num_distinct
        weights = np.zeros((k, c + k * d))
        weights[:, :c] = 1
        for n in range(k):
            weights[n, c + n * d : c + (n + 1) * d] = distinct_tokens.weights(self.lowest, d)
        return weights / weights.sum(1, keepdims=True)


@on(ScanAndSnap)
def predict(config: ScanAndSnap) -> Curves:
    r"""Training on the exact mean gradient of infinitely long sequences.

    Parameters
    ----------
    config : ScanAndSnap

    Returns
    -------
    Curves
        Against the step, the mean over classes of: the attention that all common tokens together get; that of each
        distinct token, by its weight; the entropy of the attention on distinct tokens alone, as a part of that of
        equal shares.

    Notes
    -----
    With :math:`c_n \propto P(l|n) e^{z_{\psi(n) l}}`, :math:`f_n = c_n / |c_n|` and
    :math:`\alpha_n = \mathrm{softmax}(Y^T f_n)` the gradient flow is

    .. math::
        \dot Y = \eta_Y \, \mathrm{mean}_n \, f_n (e_n - \alpha_n)^T, \qquad
        \dot z_m = \eta_Z \, \mathrm{mean}_n \, \mathrm{diag}(f_n) (I - f_n f_n^T) Y (e_n - \alpha_n),

    the second sum over the classes with query m. What is computed are the steps of the configured optimiser on this
    gradient: the limit of `simulate` for long sequences and large batches. At length 128 sampling sharpens
    attention: the entropy of the simulation is lower by about 2 %.

    Examples
    --------
    >>> curves = predict(ScanAndSnap(num_steps=20))
    >>> bool(curves["common tokens"][-1] < curves["common tokens"][0])
    True
    """
    exact = config.probabilities, np.arange(config.num_classes)
    return _train(replace(config, start_spread=0.0), lambda: exact, np.random.default_rng(0))


@on(ScanAndSnap)
def simulate(config: ScanAndSnap, seeds: Sequence[int] = range(5)) -> Curves:
    """Training on sampled batches of sequences of the configured length: the curves of `predict`, mean over seeds.

    Attention is shown for the true P(l|n), not for counts of a batch.

    Examples
    --------
    >>> curves = simulate(ScanAndSnap(num_steps=5), seeds=[0, 1])
    >>> sorted(curves.spread) == sorted(curves.series)
    True
    """
    return over_seeds(lambda seed: _drawn(config, seed), seeds)


def entropy_of_rates(
    rates_z: Sequence[float],
    ratios: Sequence[float],
    config: ScanAndSnap | None = None,
    seeds: Sequence[int] = (),
) -> Curves:
    """Entropy in nats of the final attention on distinct tokens, against the ratio of learning rates.

    Parameters
    ----------
    rates_z, ratios : sequence of float
        Values of ``rate_z``, a curve each, and of ``rate_y / rate_z``, the axis.
    config : ScanAndSnap, optional
        Everything else.
    seeds : sequence of int
        Draws to simulate; predicted where there are none.

    Examples
    --------
    >>> curves = entropy_of_rates([0.5, 1.0], [1.0, 10.0], ScanAndSnap(num_steps=50))
    >>> bool(curves["eta_Z = 1"][0] < curves["eta_Z = 0.5"][0] < curves["eta_Z = 0.5"][1])
    True
    """
    config = config or ScanAndSnap()
    series: dict[str, list[float]] = {}
    spread: dict[str, list[float]] = {}
    for rate in rates_z:
        name = f"eta_Z = {rate:g}"
        for ratio in ratios:
            one = replace(config, rate_z=rate, rate_y=rate * ratio)
            curves = simulate(one, seeds) if len(seeds) else predict(one)
            nats = np.log(config.num_distinct)
            series.setdefault(name, []).append(float(curves[ENTROPY][-1] * nats))
            if ENTROPY in curves.spread:
                spread.setdefault(name, []).append(float(np.asarray(curves.spread[ENTROPY])[-1] * nats))
    return Curves(
        "Entropy of attention on distinct tokens",
        "eta_Y / eta_Z",
        ratios,
        series,
        value="entropy (nats)",
        spread=spread,
    )


def winners(config: ScanAndSnap, seeds: Sequence[int] = range(5)) -> NDArray[np.intp]:
    """Distinct token with the most attention at the end, counted from the rarest; shape (seeds,).

    Attention is the mean over classes. Random logits at the start (``start_spread``) are a prior that changes the
    winner among tokens of nearly the same weight, and Adam picks other tokens than SGD.

    Examples
    --------
    >>> winners(ScanAndSnap(num_steps=30), seeds=[0, 1])
    array([9, 9])
    """
    found = (_drawn(config, seed) for seed in as_row("seeds", seeds, "whole numbers", check_whole))
    names = distinct_tokens.names(config.lowest, config.num_distinct)
    return np.array([np.argmax([curves[name][-1] for name in names]) for curves in found])


def _drawn(config: ScanAndSnap, seed: int) -> Curves:
    random = np.random.default_rng(seed)
    chances = config.probabilities

    def batch() -> Batch:
        labels = random.integers(config.num_classes, size=config.batch)
        return random.multinomial(config.length - 1, chances[labels]).astype(float), labels

    return _train(config, batch, random)


def _train(config: ScanAndSnap, batch: Callable[[], Batch], random: np.random.Generator) -> Curves:
    k, chances = config.num_classes, config.probabilities
    num_tokens, num_outputs = chances.shape[1], config.vocabulary
    queries = np.zeros(k, dtype=int) if config.shared_query else np.arange(k)
    logits = config.start_spread * random.standard_normal((int(queries[-1]) + 1, num_tokens))
    decoder = np.zeros((num_tokens, num_outputs))
    update = adam if config.optimizer == "adam" else heavy_ball
    step_y, step_z = update(config.rate_y, config.momentum), update(config.rate_z, config.momentum)
    seen = [_shares(config, chances, logits[queries])]
    for _ in range(config.num_steps):
        counts, labels = batch()
        attention = _normal(counts, logits[queries[labels]])
        length = np.linalg.norm(attention, axis=1, keepdims=True)
        features = attention / length
        outputs = features @ decoder
        residual = -np.exp(outputs - outputs.max(1, keepdims=True))
        residual /= -residual.sum(1, keepdims=True)
        residual[np.arange(len(labels)), labels] += 1
        signal = residual @ decoder.T
        # through the l2 norm; what is left is orthogonal to the features, so the softmax adds no term of its own
        signal -= (signal * features).sum(1, keepdims=True) * features
        pull = np.zeros_like(logits)
        np.add.at(pull, queries[labels], features * signal / len(labels))
        decoder = decoder + step_y(features.T @ residual / len(labels))
        logits = logits + step_z(pull)
        seen.append(_shares(config, chances, logits[queries]))
    names = [COMMON, *distinct_tokens.names(config.lowest, config.num_distinct), ENTROPY]
    return Curves(
        "Attention of a one-layer transformer in training",
        "step",
        np.arange(config.num_steps + 1),
        dict(zip(names, np.stack(seen, axis=1), strict=True)),
        value="share of attention; entropy: share of its maximum",
    )


def _shares(config: ScanAndSnap, chances: Floats, logits: Floats) -> Floats:
    """Attention on the common tokens, on each distinct one, and the entropy of the latter; means over classes."""
    attention = _normal(chances, logits)
    k, c, d = config.num_classes, config.num_common, config.num_distinct
    own = np.stack([attention[n, c + n * d : c + (n + 1) * d] for n in range(k)])
    part = own / own.sum(1, keepdims=True)
    entropy = -(part * np.log(np.maximum(part, np.finfo(float).tiny))).sum(1) / np.log(d)
    return np.concatenate([[attention[:, :c].sum(1).mean()], own.mean(0), [entropy.mean()]])


def _normal(counts: Floats, logits: Floats) -> Floats:
    weights: Floats = counts * np.exp(logits - logits.max(1, keepdims=True))
    total: Floats = weights.sum(1, keepdims=True)
    return weights / total


THEORIES.register("scan_and_snap")(Theory(ScanAndSnap, predict, simulate))
