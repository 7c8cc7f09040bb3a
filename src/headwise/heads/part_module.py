"""One part of a head as a torch module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from ..contracts import Tokens
from ..solvers.problem import singular_atoms
from .fitted_part import FittedPart
from .parts import PartSpec

__all__ = ["PartModule"]


class PartModule(nn.Module):
    """Coordinates, gates and atoms of one part."""

    convex = True
    """Whether it is a part of the convex problem, whose penalty counts its atoms."""

    def __init__(self, fitted: FittedPart, u: Sequence[Tensor], v: Sequence[Tensor]) -> None:
        super().__init__()
        self._fitted = fitted
        for name, value in fitted.conditioner.tensors().items():
            self.register_buffer(name, value.clone())
        self.u = nn.ParameterList(nn.Parameter(x.clone()) for x in u)
        self.v = nn.ParameterList(nn.Parameter(x.clone()) for x in v)

    @property
    def spec(self) -> PartSpec:
        return self._fitted.spec

    @property
    def fitted(self) -> FittedPart:
        """The part with its coordinates where (and in the dtype in which) the module's buffers are."""
        held = {name: getattr(self, name) for name in self._fitted.conditioner.tensors()}
        return replace(self._fitted, conditioner=replace(self._fitted.conditioner, **held))

    def forward(self, tokens: Tokens) -> Tensor:
        return self.fitted.outputs(tokens, list(self.u), list(self.v))

    def token_outputs(self, tokens: Tokens) -> Tensor:
        return self.fitted.token_outputs(tokens, list(self.u), list(self.v))

    @property
    def words(self) -> str:
        """The part for people."""
        return str(self.spec)

    def atoms_of(self, matrix: int) -> tuple[Tensor, Tensor]:
        """Atoms of one matrix Z that do not depend on how it was found."""
        return singular_atoms(self.u[matrix].detach(), self.v[matrix].detach())

    def atom_outputs(self, tokens: Tokens, atoms: Sequence[tuple[int, Tensor, Tensor]]) -> Tensor:
        """What each of some atoms, given as ``(matrix, u, v)``, adds to each row of outputs, ``(rows, atoms, c)``."""
        stats, solved = self.fitted.statistics(tokens), self.fitted.parts()
        rows = len(tokens.values) * self.fitted.rows
        total = tokens.values.new_zeros(rows, len(atoms), self.fitted.num_outputs)
        for place, (matrix, u, v) in enumerate(atoms):
            part = solved[matrix]
            total[:, place, part.columns] = part.block.inner(stats[matrix], u[None])[:, 0] @ v
        return total
