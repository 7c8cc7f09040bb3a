"""Blocks and gates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from .tokens import TokenShape

__all__ = ["Block", "FittedGates", "GateFamily", "GateKind", "GateValues", "PairGate", "TokenTable"]


@dataclass(frozen=True)
class PairGate:
    """A mask between tokens that depends on their labels alone: ``D[t, u] = table[query[t], key[u]]``.

    ``query`` and ``key`` are integer labels ``(n, s)``, ``table`` is ``(query labels, key labels)``.
    """

    query: Tensor
    key: Tensor
    table: Tensor

    def mask(self) -> Tensor:
        """The mask itself, ``(n, s, s)``."""
        return self.table[self.query[:, :, None], self.key[:, None, :]]


@dataclass(frozen=True)
class TokenTable:
    """Which tokens see each other, by labels that an affine map of each token decides, or its place.

    Parameters
    ----------
    table : Tensor of bool, shape (labels, labels)
        Whether tokens of one label (rows) see those of another.
    weight, bias : Tensor, shape (maps, labels, d) and (maps, labels), or None
        The label of a token x under map m is the place of the largest of ``weight[m] x + bias[m]``. Without them it is
        the place of the token in its sample.
    """

    table: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None


GateKind = Literal["token", "feature", "pair"]


GateValues = Tensor | PairGate
"""Token gates are weights ``(n, s)``, feature gates ``(n, s, d)``, pair gates a mask ``(n, s, s)`` or a `PairGate`."""


class Block(Protocol):
    """A family of heads, linear in a matrix ``Z = sum_j u_j v_j^T``.

    Every block has the same shape inside: atom j turns sample i into ``k`` inner features ``h_ij = B_i u_j`` (linear
    in u), and the outputs are ``f_i = sum_j h_ij^T V_j`` with ``V_j`` of shape ``(k, c)``. So a block says only how u
    acts; u is stored as ``(atoms, *u_shape)`` and v as ``(atoms, k, c)``, and Z has ``p = prod(u_shape)`` rows and
    ``q = k c`` columns.

    A block first condenses the tokens of each sample, under one gate, to statistics; every later pass works on those
    alone. It is made for one `TokenShape`: ``Attention(shape, gated=False)``.

    A sample has one row of outputs, that of its pooled tokens; or one for each token, where no pooling weights are
    given to `statistics`. Below, ``rows`` is ``n`` or ``n s``, sample by sample.
    """

    name: str
    degree: int
    """How the features grow with the scale of the tokens: 1 for linear, 3 for attention."""
    gates: tuple[GateKind, ...]
    """Kinds of gates that it takes."""
    hides: bool
    """Whether tokens may be hidden (padded text); blocks on a grid refuse them."""
    per_token: bool
    """Whether every token may have a row of outputs of its own."""
    u_shape: tuple[int, ...]
    inner_width: int
    """k, the inner features of one atom."""

    def statistics(self, values: Tensor, pooling: Tensor | None, gate: GateValues | None = None) -> dict[str, Tensor]:
        """Statistics of conditioned tokens ``(n, s, d)`` under pooling weights ``(n, s)``; first axes are samples.

        Without pooling weights every token is a row of outputs.
        """
        ...

    def scores(self, values: Tensor, u: Tensor) -> Tensor:
        """What an activation would act on for one atom ``u``: ``(n, s)``, ``(n, s, d)`` or ``(n, s, s)``."""
        ...

    def inner(self, stats: Mapping[str, Tensor], u: Tensor) -> Tensor:
        """Inner features ``(rows, atoms, k)``."""
        ...

    def inner_adjoint(self, stats: Mapping[str, Tensor], grad: Tensor) -> Tensor:
        """Adjoint of `inner`: from ``(rows, atoms, k)`` to ``(atoms, *u_shape)``, summed over rows."""
        ...

    def adjoint(self, stats: Mapping[str, Tensor], theta: Tensor) -> Tensor:
        """``A*(theta)``, the matrix ``(p, q)`` with ``<A*(theta), Z> = <theta, A(Z)>``."""
        ...

    def mean_square(self, stats: Mapping[str, Tensor]) -> Tensor:
        """Squared norm of the features that multiply Z, ``(rows,)``; conditioning makes their summed variance one."""
        ...

    def token_outputs(
        self, values: Tensor, pooling: Tensor, u: Tensor, v: Tensor, gate: GateValues | None = None
    ) -> Tensor:
        """Share of each token in the pooled outputs, ``(n, s, c)``; summed over tokens it is the block's output."""
        ...


class FittedGates(Protocol):
    """Gates with their numbers, ready for tokens: masks that depend on the tokens and never on Z."""

    count: int

    def values(self, tokens: Tensor, index: int) -> GateValues:
        """Gate ``index`` on tokens ``(n, s, d)``, conditioned unless the family is `GateFamily.raw`."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """The numbers, as saved in a head."""
        ...


class GateFamily(Protocol):
    """A way of choosing gates.

    A family that is about tokens of one place in a backbone may also have ``check_origin(origin)``, which refuses
    others before a fit. ``origin`` is a mapping with ``backbone``, ``weights_hash``, ``layer``, ``at`` and
    ``preprocessing``, or None where nothing is known of where the tokens came from.
    """

    name: str
    kinds: tuple[GateKind, ...]
    raw: bool
    """Whether gates see the part's tokens as they came, instead of conditioned ones."""

    def fit(self, block: Block, shape: TokenShape, tokens: Iterable[Tensor], count: int, seed: int) -> FittedGates:
        """Choose ``count`` gates for a block from chunks of training tokens ``(n, s, d)``, some of them."""
        ...

    def restore(self, block: Block, shape: TokenShape, tensors: Mapping[str, Tensor]) -> FittedGates:
        """The gates that `FittedGates.tensors` describes."""
        ...
