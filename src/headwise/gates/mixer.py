"""A frozen mixer as gates: the clusters or the windows within which its tokens see each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..contracts import Block, GateKind, GateValues, PairGate, TokenShape
from ..errors import InputError
from . import GATES
from .frozen import frozen

__all__ = ["FrozenMixer", "FrozenMixerGates"]


class FrozenMixerGates:
    """``D_g[t, u] = table[label t, label u]``, scaled so that rows sum to about s/2 where labels are equally frequent.

    Labels of gate g are the places of the largest of ``weight[g] x + bias[g]``; without weights there is one gate,
    and the label of a token is its place.
    """

    def __init__(self, table: Tensor, weight: Tensor, bias: Tensor) -> None:
        self.table, self.weight, self.bias = table, weight, bias
        self.count = max(len(weight), 1)
        self._scale = len(table) / 2 / table.double().sum(1).mean()

    def labels(self, tokens: Tensor, index: int) -> Tensor:
        """Label of every token under one gate, ``(n, s)``."""
        if not len(self.weight):
            return torch.arange(len(self.table), device=tokens.device).expand(tokens.shape[0], -1)
        return (tokens @ self.weight[index].to(tokens).T + self.bias[index].to(tokens)).argmax(-1)

    def values(self, tokens: Tensor, index: int) -> GateValues:
        labels = self.labels(tokens, index)
        return PairGate(labels, labels, (self.table * self._scale).to(tokens))

    def tensors(self) -> dict[str, Tensor]:
        return {"table": self.table, "weight": self.weight, "bias": self.bias}


@GATES.register("mixer")
class FrozenMixer:
    """Tokens see those that a mixer lets them see; ``count`` and ``seed`` change nothing.

    What decides it is copied into the head, which then needs no mixer. `headwise.mixers.Mixer.as_gate` makes it.

    Parameters
    ----------
    mixer : object
        With a method ``token_table(shape)`` that gives a `headwise.contracts.TokenTable`.

    Raises
    ------
    InputError
        There is no such method; or (in a fit) there is no mixer, the tokens do not match it, or its weights are
        not finite.

    Examples
    --------
    >>> import torch
    >>> from headwise.contracts import TokenShape
    >>> from headwise.mixers import create
    >>> routing = create("routing", dim=4, num_heads=2, num_clusters=3).double()
    >>> shape, x = TokenShape(6, 4), torch.randn(5, 6, 4, dtype=torch.float64)
    >>> gates = FrozenMixer(routing).fit(None, shape, [x], count=1, seed=0)
    >>> gates.count, torch.equal(gates.labels(x, 1), routing.labels(x)[:, 1])
    (2, True)
    """

    name = "mixer"
    kinds: tuple[GateKind, ...] = ("pair",)
    raw = True

    def __init__(self, mixer: Any = None) -> None:
        if mixer is not None and not hasattr(mixer, "token_table"):
            raise InputError(
                f"FrozenMixer takes a mixer with clusters or windows, such as headwise.mixers.create('routing', ...), "
                f"got {type(mixer).__name__}"
            )
        self.mixer = mixer

    def fit(
        self, block: Block | None, shape: TokenShape, tokens: Iterable[Tensor], count: int, seed: int
    ) -> FrozenMixerGates:
        if self.mixer is None:
            raise InputError("the gate 'mixer' is a frozen mixer: give gate=mixer.as_gate() in place of its name")
        found = self.mixer.token_table(shape)
        table = found.table.to("cpu", torch.bool, copy=True)
        if found.weight is None:
            empty = torch.zeros(0, dtype=torch.float64, device="cpu")
            return FrozenMixerGates(table, empty, empty)
        width = next(iter(tokens)).shape[-1]
        if found.weight.shape[-1] != width:
            raise InputError(f"the mixer takes tokens of width {found.weight.shape[-1]}, got width {width}")
        layer = getattr(self.mixer, "name", type(self.mixer).__name__)
        weight, bias = (frozen(layer, numbers) for numbers in (found.weight, found.bias))
        return FrozenMixerGates(table, weight, bias)

    def restore(self, block: Block, shape: TokenShape, tensors: Mapping[str, Tensor]) -> FrozenMixerGates:
        return FrozenMixerGates(tensors["table"], tensors["weight"], tensors["bias"])
