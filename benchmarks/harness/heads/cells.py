"""Certified heads of the table: one cell is a block with an activation, one record is a cell under one gate seed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from headwise import PartSpec, relu
from headwise.blocks import BLOCKS
from headwise.heads.facts import TokenFacts
from headwise.heads.fitted_part import FittedPart
from headwise.heads.fitting import Prepared, prepare
from headwise.heads.parts import resolve_parts
from headwise.heads.path import choose, follow_path
from headwise.heads.relu import check_cones
from headwise.heads.targets import bind, encode
from headwise.solvers import Solution

from .datasets import Dataset

__all__ = ["Cell", "Limits", "cells", "check_relu_size", "feasible", "record", "relu_record"]


@dataclass(frozen=True)
class Limits:
    """What a cell may cost; what costs more is named in the table and left out."""

    memory: float = 6 * 2**30
    """Bytes of its statistics, in float64 and float32."""
    work: float = 6e10
    """Multiplications of one pass that looks for new atoms."""
    betas: int = 8
    ratio: float = 0.01
    tol: float = 1e-3


@dataclass(frozen=True)
class Cell:
    """A block with an activation. A ReLU head has no cell of its own: it is made from a gated one."""

    name: str
    activation: str
    parts: tuple[PartSpec, ...]

    @property
    def gated(self) -> bool:
        return any(part.gate_name != "none" for part in self.parts)

    @property
    def gives_relu(self) -> bool:
        """Whether its gates are patterns that scores of the block have, whatever the tokens."""
        return any(part.gate_name == "gaussian" for part in self.parts)

    @property
    def collapses(self) -> str:
        found = [part.collapses for part in self.parts if part.block != "linear" and part.collapses]
        return f"is {found[0]}" if found else ""

    def seeded(self, seed: int) -> tuple[PartSpec, ...]:
        return tuple(replace(part, gate_seed=seed) for part in self.parts)


def cells(dataset: Dataset, gates: int) -> Iterator[Cell]:
    """All blocks, with a linear activation, with every family of gates that stands for gated ReLU there."""
    if dataset.source.num_prefix:
        yield Cell("linear, class token", "linear", resolve_parts("linear_prefix", dataset.source))
        yield Cell("default (class token + attention)", "linear", resolve_parts("default", dataset.source))
    order = ["linear", "mlp", *(name for name in BLOCKS.names() if name not in ("linear", "mlp"))]
    for name in order:
        yield Cell(name, "linear", (PartSpec(name),))
        kinds = BLOCKS.get(name).gates
        if kinds:
            yield Cell(name, "gated (gaussian)", (PartSpec(name, gate="gaussian", num_gates=gates),))
        if "pair" in kinds:
            yield Cell(name, "gated (rank_one)", (PartSpec(name, gate="rank_one", num_gates=gates),))


def feasible(cell: Cell, dataset: Dataset, limits: Limits) -> tuple[int | None, str]:
    """Components to keep, and why there are none (then -1)."""
    said = ""
    for components in dataset.components:
        size, work = _cost(cell, dataset, components)
        if size <= limits.memory and work <= limits.work:
            return components, ""
        said = f"left out: {size / 2**30:.1f} GiB of statistics, {work:.0e} multiplications a pass"
    return -1, said


def relu_record(cell: Cell, dataset: Dataset, gated: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """The ReLU head of a gated one, which is fitted again with the seed and the beta of its record."""
    began = time.process_time()
    prepared = _prepared(cell, dataset, gated["components"], gated["seed"])
    head = prepared.head(prepared.solver(gated["beta"], tol=limits.tol), list(range(dataset.num_classes)))
    found = relu(head, dataset.source)
    accuracy = {}
    for part in ("val", "test"):
        outputs = found.module.outputs(dataset.source, dataset.rows[part])
        accuracy[part] = float((outputs.argmax(1).numpy() == dataset.targets(part)).mean())
    return {
        "seed": gated["seed"],
        "beta": gated["beta"],
        "objective": found.objective,
        "gated_objective": found.gated_objective,
        "rank": found.module.rank,
        "parameters": found.module.num_parameters,
        "accuracy": accuracy,
        "seconds": time.process_time() - began,
    }


def check_relu_size(cell: Cell, dataset: Dataset, components: int | None) -> None:
    """Raise `InputError` where the cones of a ReLU head are too large, before anything is fitted."""
    for fitted in _built(cell, dataset, components):
        check_cones(fitted, len(dataset.rows["train"]))


def _built(cell: Cell, dataset: Dataset, components: int | None) -> Iterator[FittedPart]:
    """The parts that are not linear, with the shapes that they will have, without coordinates and gates."""
    tokens, conditioner = TokenFacts.of(dataset.source), replace(dataset.conditioner, n_components=components)
    for spec in cell.parts:
        if spec.block != "linear":  # one vector a sample
            yield FittedPart.unfitted(spec, tokens, conditioner, dataset.num_classes)


def _cost(cell: Cell, dataset: Dataset, components: int | None) -> tuple[float, float]:
    """Bytes of the statistics and multiplications of one adjoint, found on generated tokens of the same shape."""
    n, c = len(dataset.rows["train"]), dataset.num_classes
    generator = torch.Generator().manual_seed(0)
    size = work = 0.0
    for fitted in _built(cell, dataset, components):
        spec, shape, width = fitted.spec, fitted.shape, fitted.shape.width
        for group, part in zip(fitted.cells, fitted.parts(), strict=True):
            own = replace(shape, width=len(range(width)[group.features]))
            values = torch.randn(2, own.num_tokens, own.width, generator=generator, dtype=torch.float64)
            gate, times = None, 1
            if spec.family is not None:
                gate, times = spec.family.fit(group.block, own, [values], 1, 0).values(values, 0), spec.num_gates
            pooling = torch.full(values.shape[:2], 1 / own.num_tokens, dtype=torch.float64)
            stats = group.block.statistics(values, pooling, gate)
            size += times * n * (8 + 4) * sum(x[0].numel() for x in stats.values())
            # attention sums over its keys, or over the groups of them that share a query
            keys = next((stats[name].shape[1] for name in ("keys", "query") if name in stats), 1)
            work += times * n * keys * part.p * part.k * part.outputs(c)
    return size, work


def record(
    cell: Cell, dataset: Dataset, components: int | None, seed: int, beta: float | None, limits: Limits
) -> dict[str, Any]:
    """One fit: along a path with beta chosen on the validation samples, or at ``beta``; scored on the test samples."""
    began = time.process_time()
    prepared = _prepared(cell, dataset, components, seed)
    condition_s = time.process_time() - began
    path: list[dict[str, float]] = []
    if beta is None:
        held_out = torch.from_numpy(dataset.targets("val"))
        steps = list(
            follow_path(prepared, dataset.rows["val"], held_out, num=limits.betas, ratio=limits.ratio, tol=limits.tol)
        )
        points = [point for point, _ in steps]
        solution = steps[choose(points)][1]
        path = [point.to_dict() for point in points]
    else:
        solution = prepared.solver(beta, tol=limits.tol)
    seconds = time.process_time() - began
    certificate, head = solution.certificate, prepared.head(solution)
    return {
        "seed": seed,
        "beta": certificate.beta,
        "components": components,
        "relative_gap": certificate.relative_gap,
        "certificate": certificate.kind,
        "status": solution.status.value,
        "rank": solution.rank,
        "parameters": head.num_parameters,
        "accuracy": {part: _accuracy(prepared, solution, dataset, part) for part in ("val", "test")},
        "condition_s": condition_s,
        "seconds": seconds,
        "path": path,
    }


def _prepared(cell: Cell, dataset: Dataset, components: int | None, seed: int) -> Prepared:
    loss = bind("multinomial", encode("classes", dataset.targets("train"), np.arange(dataset.num_classes)))
    conditioner = replace(dataset.conditioner, n_components=components)
    return prepare(dataset.source, dataset.rows["train"], loss, cell.seeded(seed), conditioner)


def _accuracy(prepared: Prepared, solution: Solution, dataset: Dataset, part: str) -> float:
    hits = total = 0
    for rows in np.array_split(dataset.rows[part], max(1, len(dataset.rows[part]) // 500)):
        outputs = prepared.outputs(solution.factors, rows)  # few at a time: statistics of gates are large
        hits += int((outputs.argmax(1).numpy() == dataset.labels[rows]).sum())
        total += len(rows)
    return hits / total
