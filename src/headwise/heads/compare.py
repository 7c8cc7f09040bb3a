"""Certified heads and baselines on the same splits, scored on the same samples."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..contracts import Progress, TokenSource
from ..tokens import num_views
from ..tokens.pooling import pooled_tokens
from .baselines import Scores, logistic_probabilities, majority, neighbours, score
from .conditioning import Conditioner
from .facts import TokenFacts
from .fitting import prepare
from .head import Head
from .metrics import paired_difference
from .parts import resolve_parts
from .path import BetaPath, choose, follow_path
from .reading import Reading
from .record import PathRecord
from .targets import bind, encode

__all__ = [
    "Comparison",
    "HeadResult",
    "PlainFeatures",
    "Splits",
    "baseline_results",
    "certified_results",
    "paired_bootstrap",
]

NAMES = {
    "linear_prefix": ("linear, prefix token", "linear on the prefix tokens (class token)"),
    "linear": ("linear, mean token", "linear on the mean patch token"),
    "mlp": ("gated MLP", "an MLP over the patch tokens, with fixed random gates in place of its ReLU"),
    "attention": ("attention", "linear attention over the patch tokens"),
    "default": ("default head", "linear on the prefix tokens + linear attention over the patch tokens"),
}
"""What people read for the short names of heads: a title and a sentence."""

GATES = {"mlp": "gaussian"}
"""Gates of a head, where it has some: without them it would collapse to a linear one."""


@dataclass(frozen=True)
class Splits:
    """Rows and targets of the three parts of the data; targets count in ``classes``, the labels that occur."""

    rows: dict[str, NDArray[Any]]
    targets: dict[str, NDArray[Any]]
    classes: NDArray[Any]

    @property
    def num_classes(self) -> int:
        return len(self.classes)


@dataclass(frozen=True)
class PlainFeatures:
    """Features of the samples themselves, without a backbone, for a logistic regression that a head has to beat.

    Parameters
    ----------
    name, what : str
        A title and a sentence.
    features : dict of array or sparse matrix
        Those of "train", "val" and "test".
    standardize : bool
        Whether they are standardised: numbers of all sizes are, words that are weighted already are not.
    """

    name: str
    what: str
    features: dict[str, Any]
    standardize: bool = False


@dataclass
class HeadResult:
    """One row of the table of heads."""

    name: str
    kind: str
    what: str
    block: str
    scores: dict[str, Scores]
    seconds: float
    probabilities: NDArray[Any] = field(repr=False)
    """Class probabilities of the test samples."""
    parameters: int | None = None
    rank: int | None = None
    beta: float | None = None
    relative_gap: float | None = None
    certificate_kind: str | None = None
    path: BetaPath | None = None
    head: Head | None = field(default=None, repr=False)
    linear: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON, without path, head and probabilities."""
        left_out = ("probabilities", "path", "head", "scores")
        row = {k: v for k, v in self.__dict__.items() if k not in left_out}
        return {**row, "scores": {k: asdict(v) for k, v in self.scores.items()}}


def baseline_results(source: TokenSource, splits: Splits, plain: PlainFeatures | None) -> list[HeadResult]:
    """Majority class, 20 nearest neighbours, and logistic regression on the samples themselves where they are given."""
    y, c, facts = splits.targets, splits.num_classes, TokenFacts.of(source)
    results = []

    def add(name: str, what: str, began: float, probabilities: Sequence[NDArray[Any]], **more: Any) -> None:
        scores = {part: score(p, y[part]) for part, p in zip(("val", "test"), probabilities, strict=True)}
        seconds = time.perf_counter() - began
        said = facts.called(what)
        results.append(HeadResult(name, "baseline", said, name, scores, seconds, probabilities[1], **more))

    began = time.perf_counter()
    add(
        "majority class",
        "always the class frequencies of the training samples",
        began,
        [majority(y["train"], c, len(y[part])) for part in ("val", "test")],
    )
    began = time.perf_counter()
    features = {part: pooled_tokens(source, splits.rows[part], unit_length=True) for part in ("train", "val", "test")}
    found = neighbours(features["train"], y["train"], [features["val"], features["test"]])
    pooled = "prefix and mean patch tokens" if source.num_prefix else "the mean token"
    add("20 nearest neighbours", f"on {pooled} of unit length", began, found)
    if plain is not None:
        began, x = time.perf_counter(), plain.features
        found, count = logistic_probabilities(
            x["train"], y["train"], x["val"], y["val"], x["test"], standardize=plain.standardize
        )
        add(plain.name, plain.what, began, found, parameters=count, linear=True)
    return results


def certified_results(
    source: TokenSource,
    splits: Splits,
    names: Sequence[str],
    *,
    conditioner: Conditioner,
    betas: int,
    tol: float,
    checkpoint: Path | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[HeadResult]:
    """Fit the path of each named head, choose beta on the validation samples, and score on both held-out parts.

    Solutions are kept in the folder ``checkpoint`` as soon as they are there, and those of a stopped run are taken up.
    """
    results = []
    rows, y = splits.rows, splits.targets
    for name in names:
        began = time.perf_counter()
        specs = resolve_parts(name, source, GATES.get(name, "none"))
        targets = encode("classes", y["train"], np.arange(splits.num_classes))
        loss = bind("multinomial", targets, views=num_views(source), device=device)
        reading = Reading(device=torch.device(device))
        prepared = prepare(source, rows["train"], loss, specs, conditioner, reading=reading)
        seconds = time.perf_counter() - began
        record = None
        if checkpoint is not None:
            record = PathRecord.of(checkpoint, prepared, torch.from_numpy(y["train"]), [tol])

        def tell(step: str, done: int, total: int, name: str = name) -> None:
            if progress:
                progress(f"fit {NAMES[name][0]}", done, total)

        held_out = torch.from_numpy(y["val"])
        steps = list(
            follow_path(prepared, rows["val"], held_out, num=betas, tol=tol, patience=1, progress=tell, record=record)
        )
        points = [point for point, _ in steps]
        path = BetaPath(points, choose(points), "accuracy")
        solution = steps[path.best][1]
        head = prepared.head(solution, splits.classes.tolist())
        probabilities = {}
        for part in ("val", "test"):
            probabilities[part] = loss.link(prepared.outputs(solution.factors, rows[part])).numpy()
        certificate = solution.certificate
        results.append(
            HeadResult(
                name=NAMES[name][0],
                kind="certified",
                what=head.facts.called(NAMES[name][1]),
                block=" + ".join(head.part_words()),
                scores={part: score(p, y[part]) for part, p in probabilities.items()},
                seconds=seconds + sum(point.seconds for point in points),  # also those of solutions taken up
                probabilities=probabilities["test"],
                parameters=head.num_parameters,
                rank=solution.rank,
                beta=path.chosen.beta,
                relative_gap=certificate.relative_gap,
                certificate_kind=certificate.kind,
                path=path,
                head=head,
                linear=all(s.block == "linear" for s in specs),
            )
        )
    return results


@dataclass(frozen=True)
class Comparison:
    """Difference of two classifiers on the same test samples, with a paired interval."""

    best: str
    linear: str
    difference: float
    low: float
    high: float
    level: float
    num_test: int
    linear_is_enough: bool
    metric: str = "accuracy"
    method: str = "paired bootstrap, 2000 resamples"


def paired_bootstrap(
    best: HeadResult, linear: HeadResult, targets: NDArray[Any], seed: int = 0, level: float = 0.95
) -> Comparison:
    """Interval of "best minus linear" test accuracy; linear is enough where it is best or the interval holds 0."""
    found = paired_difference(
        "classes",
        best.probabilities,
        linear.probabilities,
        targets,
        metrics=["accuracy"],
        intervals=level,
        resamples=2000,
        seed=seed,
    )["accuracy"]
    assert found.value is not None and found.low is not None and found.high is not None  # accuracy always has a value
    enough = best is linear or found.low <= 0
    return Comparison(best.name, linear.name, found.value, found.low, found.high, level, len(targets), enough)
