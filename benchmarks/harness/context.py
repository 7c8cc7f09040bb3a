"""What every task is given: sizes, repeats, tokens, and the way from tokens to a problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from headwise import Conditioner, PartSpec, TokenStore
from headwise.heads.fitting import Prepared, prepare
from headwise.heads.targets import bind, encode
from headwise.solvers import Solution, solve

from .data import Labelled, cifar_store, data_folder, large_store, synthetic
from .measure import timed

__all__ = ["FULL", "QUICK", "Context", "Fit", "Sizes"]


@dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    samples: int = 5000
    components: int = 64
    wide: int = 128
    gates: int = 8
    beta: float = 5e-3
    classes: int = 100
    counts: tuple[int, ...] = (1000, 2000, 5000, 10_000, 20_000)
    path: int = 20
    path_ratio: float = 0.05
    learning_rates: tuple[float, ...] = (1e-3, 1e-2, 5e-2)
    token_learning_rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    atoms: int = 16
    cut: float = 50
    """A peer is cut at this multiple of our own time."""
    conic: tuple[tuple[int, int, int], ...] = (
        (40, 3, 3),
        (60, 4, 3),
        (80, 5, 3),
        (100, 6, 4),
        (150, 8, 4),
        (200, 10, 5),
        (300, 12, 5),
        (400, 14, 6),
        (500, 16, 6),
    )
    """Samples, features and classes of the problems for conic solvers, tried in this order."""
    conic_limit: float = 300
    mlp: tuple[tuple[int, int], ...] = ((20, 25), (64, 100))
    """Features and gates of the problems for pyscnn."""


FULL = Sizes()
QUICK = Sizes(
    samples=120,
    components=5,
    wide=7,
    gates=2,
    beta=0.02,
    classes=6,
    counts=(60, 90, 120),
    path=3,
    learning_rates=(1e-2,),
    token_learning_rates=(1e-2,),
    atoms=6,
    cut=3,
    conic=((30, 2, 2),),
    conic_limit=60,
    mlp=((4, 5),),
)


@dataclass(frozen=True)
class Fit:
    """One whole fit from tokens, and the seconds of its halves."""

    prepared: Prepared
    solution: Solution
    condition_s: float

    @property
    def seconds(self) -> float:
        return self.condition_s + self.solution.seconds


@dataclass
class Context:
    """Sizes, data and repeats of a run of benchmarks."""

    data: Path
    sizes: Sizes
    quick: bool = False
    repeats: int = 5
    say: Callable[[str], None] = field(default=print)

    @cached_property
    def tokens(self) -> Labelled:
        """ViT-Ti tokens of the CIFAR-10 subset, or generated ones in a smoke run."""
        if self.quick:
            return synthetic(self.sizes.samples)
        store = TokenStore.open(cifar_store(data_folder(self.data), self.sizes.samples))
        return Labelled(store, store.labels, 10, self.sizes.samples)

    @cached_property
    def many_tokens(self) -> Labelled:
        """As many samples as the largest of ``sizes.counts``."""
        if self.quick:
            return synthetic(max(self.sizes.counts))
        store = TokenStore.open(large_store(data_folder(self.data)))
        return Labelled(store, store.labels, 10, store.num_samples)

    def prepare(
        self,
        tokens: Labelled,
        rows: np.ndarray,
        spec: PartSpec | None = None,
        components: int | None = None,
        labels: np.ndarray | None = None,
    ) -> Prepared:
        """Conditioned statistics of a head, linear attention on the patch tokens by default."""
        own = (tokens.labels if labels is None else labels)[rows]
        loss = bind("multinomial", encode("classes", own))
        conditioner = Conditioner(n_components=components or self.sizes.components)
        return prepare(tokens.source, rows, loss, (spec or PartSpec("attention"),), conditioner)

    def fit(self, tokens: Labelled, rows: np.ndarray, beta: float, tol: float, **more: Any) -> Fit:
        """One fit from tokens to certificate."""
        seconds, prepared = timed(lambda: self.prepare(tokens, rows, **more))
        return Fit(prepared, solve(prepared.problem, beta, tol=tol), seconds)

    def fits(self, *args: Any, **more: Any) -> list[Fit]:
        """The same fit, ``repeats`` times; only the last keeps its statistics in memory."""
        found = []
        for _ in range(self.repeats):
            found = [Fit(None, fit.solution, fit.condition_s) for fit in found]  # type: ignore[arg-type]
            found.append(self.fit(*args, **more))
        return found
