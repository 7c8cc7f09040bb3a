"""A part of a head with its coordinates, blocks and gates: from tokens to statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..blocks import BLOCKS
from ..checks import check_whole
from ..contracts import Block, FittedGates, GateValues, Tokens, TokenShape, TokenSource
from ..errors import InputError
from ..penalties import PENALTIES
from ..processes import current
from ..solvers import Part
from .conditioning import Conditioner, FittedConditioner, spread_samples
from .facts import TokenFacts
from .parts import PartSpec, part_tokens
from .reading import Reading

__all__ = ["FittedPart"]


@dataclass(frozen=True)
class Cell:
    """One block on a run of the features, for a run of the outputs, under its gates."""

    block: Block
    features: slice
    columns: slice
    gates: FittedGates | None

    @property
    def indices(self) -> Sequence[int | None]:
        return (None,) if self.gates is None else range(self.gates.count)


@dataclass(frozen=True)
class Matrix:
    """What one matrix Z acts on: the tokens of its cell ``(n, s, d)``, pooling weights ``(n, s)`` if any, its gate."""

    cell: Cell
    index: int | None
    values: Tensor
    pooling: Tensor | None
    sees: Tensor
    """Tokens that decide the gate."""

    @property
    def gate(self) -> GateValues | None:
        """Made anew each time: masks are larger than tokens."""
        gates = self.cell.gates
        return None if self.index is None or gates is None else gates.values(self.sees, self.index)


@dataclass(frozen=True)
class FittedPart:
    """What turns raw tokens into the statistics of a part.

    A part is one matrix Z for each of its gates, and for each channel group of a block that has groups. These come in
    one order everywhere: groups first, then gates.
    """

    spec: PartSpec
    conditioner: FittedConditioner
    shape: TokenShape
    num_outputs: int
    cells: tuple[Cell, ...]

    @classmethod
    def fit(
        cls,
        spec: PartSpec,
        source: TokenSource,
        rows: np.ndarray,
        conditioner: Conditioner | None,
        num_outputs: int,
        weights: Tensor | None = None,
        reading: Reading | None = None,
    ) -> FittedPart:
        """Fit coordinates and gates on the training rows."""
        check = getattr(spec.family, "check_origin", None)
        if check is not None:
            check(TokenFacts.of(source).origin)
        fitted = FittedConditioner.identity()
        if conditioner is not None:
            own = _own_conditioner(spec, conditioner)

            def ungated(width: int) -> Block:  # the same scale with and without gates makes betas comparable
                return _block(spec, _shape(spec, source, width), gated=spec.per_token)

            fitted = own.fit(source, rows, spec, ungated, weights, reading)
        family = spec.family
        bare = cls.build(spec, fitted, _shape(spec, source, fitted.width(_raw_width(spec, source))), num_outputs)
        if family is None:
            return bare
        cells, some = [], rows[spread_samples(len(rows), weights)]
        for cell in bare.cells:
            shape = replace(bare.shape, width=len(range(bare.shape.width)[cell.features]))
            if family.raw:
                chunks = _Chunks(FittedConditioner.identity(), source, some, spec, slice(None))
            else:
                chunks = _Chunks(fitted, source, some, spec, cell.features)
            gates = family.fit(cell.block, shape, chunks, spec.num_gates, spec.gate_seed)
            current().agree(*gates.tensors().values())
            cells.append(replace(cell, gates=gates))
        return replace(bare, cells=tuple(cells))

    @classmethod
    def unfitted(
        cls, spec: PartSpec, tokens: TokenFacts, conditioner: Conditioner | None, num_outputs: int
    ) -> FittedPart:
        """The part in the shapes that `fit` gives it, without coordinates and gates: no token is read."""
        width = _raw_width(spec, tokens)
        if conditioner is not None:
            own = _own_conditioner(spec, conditioner)
            width = own.kept(width) + own.constant
        return cls.build(spec, FittedConditioner.identity(), _shape(spec, tokens, width), num_outputs)

    @classmethod
    def build(
        cls,
        spec: PartSpec,
        conditioner: FittedConditioner,
        shape: TokenShape,
        num_outputs: int,
        gates: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> FittedPart:
        """The part on conditioned tokens of ``shape``; ``gates`` holds saved numbers of each channel group."""
        default = min(getattr(BLOCKS.get(spec.block), "groups", 1), shape.width, num_outputs)
        groups = spec.options.get("groups", default)
        check_whole("groups", groups, least=1)
        if not 1 <= groups <= min(shape.width, num_outputs):
            raise InputError(
                f"{spec.block} with {groups} channel groups needs at least as many features and outputs, got "
                f"{shape.width} and {num_outputs}; give options={{'groups': ...}}"
            )
        cells = []
        for number, (features, columns) in enumerate(
            zip(_runs(shape.width, groups), _runs(num_outputs, groups), strict=True)
        ):
            own = replace(shape, width=features.stop - features.start)
            block = _block(spec, own, gated=spec.family is not None or spec.per_token)
            found = None
            if gates is not None and spec.family is not None:
                found = spec.family.restore(block, own, gates[number])
            cells.append(Cell(block, features, slice(None) if groups == 1 else columns, found))
        return cls(spec, conditioner, shape, num_outputs, tuple(cells))

    def parts(self) -> list[Part]:
        """The solver's parts: one for each matrix Z."""
        penalty = PENALTIES.get(self.spec.penalty)()
        return [Part(cell.block, penalty, cell.columns) for cell in self.cells for _ in cell.indices]

    @property
    def takes_mask(self) -> bool:
        """Whether tokens may be hidden."""
        return self.cells[0].block.hides

    @property
    def rows(self) -> int:
        """Rows of outputs of a sample."""
        return self.shape.num_tokens if self.spec.per_token else 1

    def conditioned(self, tokens: Tokens) -> tuple[Tensor, Tensor | None]:
        """The part's tokens ``(n, s, d)`` in its coordinates, and their pooling weights ``(n, s)`` if any."""
        _, values, pooling = self._read(tokens)
        return values, pooling

    def _read(self, tokens: Tokens) -> tuple[Tensor, Tensor, Tensor | None]:
        """The part's tokens as they came and in its coordinates, and their pooling weights if any."""
        values, pooling, seen = part_tokens(self.spec, tokens)
        if not self.takes_mask and tokens.mask is not None:
            if torch.compiler.is_exporting():  # the program is the same for all tokens: it could not refuse some
                raise InputError(f"{self.spec} needs every token in its place; export it without a mask")
            if not bool(seen.all()):
                raise InputError(f"{self.spec} needs every token in its place; these tokens are masked (padded)")
        return values, self.conditioner(values, seen), pooling

    def matrices(self, tokens: Tokens) -> Iterator[Matrix]:
        """For each matrix Z what it acts on."""
        raw, values, pooling = self._read(tokens)
        family = self.spec.family
        for cell in self.cells:
            own = values[..., cell.features]
            for index in cell.indices:
                yield Matrix(cell, index, own, pooling, raw if family is not None and family.raw else own)

    def statistics(self, tokens: Tokens) -> list[dict[str, Tensor]]:
        """Statistics of each matrix Z, in the dtype of the tokens."""
        return [z.cell.block.statistics(z.values, z.pooling, z.gate) for z in self.matrices(tokens)]

    def outputs(self, tokens: Tokens, us: Sequence[Tensor], vs: Sequence[Tensor]) -> Tensor:
        """Share of the part in all outputs, ``(n, c)``, or those of each token, ``(n s, c)``."""
        total = tokens.values.new_zeros(tokens.values.shape[0] * self.rows, self.num_outputs)
        for z, u, v in zip(self.matrices(tokens), us, vs, strict=True):
            if len(u):  # a strong penalty leaves gates without atoms
                block = z.cell.block
                stats = block.statistics(z.values, z.pooling, z.gate)
                total[:, z.cell.columns] += block.inner(stats, u).flatten(1) @ v.flatten(0, 1)
        return total

    def token_outputs(self, tokens: Tokens, us: Sequence[Tensor], vs: Sequence[Tensor]) -> Tensor:
        """Share of each of the part's tokens in all outputs, ``(n, s, c)``; summed over tokens they are `outputs`."""
        total: Tensor | None = None
        for z, u, v in zip(self.matrices(tokens), us, vs, strict=True):
            if total is None:
                total = z.values.new_zeros(*z.values.shape[:2], self.num_outputs)
            if len(u):
                assert z.pooling is not None, "shares of tokens are those of pooled outputs"
                total[..., z.cell.columns] += z.cell.block.token_outputs(z.values, z.pooling, u, v, z.gate)
        assert total is not None, "a part has at least one matrix Z"
        return total

    def tensors(self) -> dict[str, Tensor]:
        """Numbers of the coordinates, and of the gates of each channel group."""
        gates = {
            f"gates.{group}.{name}": value
            for group, cell in enumerate(self.cells)
            if cell.gates is not None
            for name, value in cell.gates.tensors().items()
        }
        return {**self.conditioner.tensors(), **gates}

    def to_dict(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON."""
        return {**self.spec.to_dict(), "conditioner": self.conditioner.to_dict(), "shape": asdict(self.shape)}

    def describe_gates(self) -> dict[str, Any] | None:
        """What a certificate says of the gates."""
        if self.spec.gate_name == "none":
            return None
        count = sum(len(cell.indices) for cell in self.cells)
        return {"family": self.spec.gate_name, "count": count, "seed": self.spec.gate_seed}


@dataclass(frozen=True)
class _Chunks:
    """Conditioned training tokens, chunk by chunk, as often as asked."""

    conditioner: FittedConditioner
    source: TokenSource
    rows: np.ndarray
    spec: PartSpec
    features: slice

    def __iter__(self) -> Iterator[Tensor]:
        for values, *_ in self.conditioner.chunks(self.source, self.rows, self.spec):
            yield values[..., self.features]


def _runs(size: int, groups: int) -> list[slice]:
    """``groups`` runs of ``size`` places, as even as they can be, the longer ones first."""
    ends = np.cumsum([len(part) for part in np.array_split(np.arange(size), groups)])
    return [slice(int(start), int(end)) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _own_conditioner(spec: PartSpec, conditioner: Conditioner) -> Conditioner:
    if spec.block == "linear":  # it has its own intercept and costs little: no constant, all components
        return replace(conditioner, constant=False, n_components=None)
    if hasattr(BLOCKS.get(spec.block), "groups"):  # a constant would fill a channel group of its own
        return replace(conditioner, constant=False)
    return conditioner


def _raw_width(spec: PartSpec, source: TokenSource | TokenFacts) -> int:
    return source.width * (source.num_prefix if spec.tokens == "prefix" else 1)


def _shape(spec: PartSpec, source: TokenSource | TokenFacts, width: int) -> TokenShape:
    count = {"prefix": 1, "patch": source.num_tokens - source.num_prefix, "all": source.num_tokens}[spec.tokens]
    return TokenShape(count, width, None if spec.tokens == "prefix" else source.grid)


def _block(spec: PartSpec, shape: TokenShape, gated: bool) -> Block:
    """A block of one channel group."""
    options = {k: v for k, v in spec.options.items() if k != "groups"}
    try:
        return BLOCKS.get(spec.block)(shape, gated=gated, **options)  # type: ignore[call-arg]
    except TypeError as error:
        raise InputError(f"{spec.block} does not take options={dict(spec.options)}: {error}") from None
