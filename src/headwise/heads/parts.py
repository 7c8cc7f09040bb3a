"""Which tokens a part of a head acts on, and how: the words that describe a head."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ..blocks import BLOCKS
from ..checks import check_whole
from ..contracts import GateFamily, Tokens, TokenSource
from ..errors import InputError, unknown_name
from ..gates import GATES
from ..penalties import PENALTIES
from .facts import TokenFacts

__all__ = ["PartSpec", "output_rows", "part_tokens", "resolve_parts"]

Scope = Literal["prefix", "patch", "all"]
Pooling = Literal["mean", "class", "token"]


@dataclass(frozen=True)
class PartSpec:
    """One part of a head.

    Parameters
    ----------
    block : str
        Registered block ("linear", "mlp", "attention", "mlp_mixer", "fno", "bfno", "hadamard").
    tokens : {"patch", "prefix", "all"}
        Tokens it acts on. Several prefix tokens are joined into one long token.
    penalty : str
        Registered penalty ("nuclear", or "ridge" for linear parts).
    gate : str or GateFamily
        Registered family of gates ("gaussian", "rank_one", "cluster", "window", "attention_maps"), "none" for a linear
        activation, or an object that keeps the protocol: that of `headwise.mixers.Mixer.as_gate`, or one of your own.
    num_gates : int
        Number of gates; clusters of "cluster", radius of "window".
    gate_seed : int
        Decides the gates.
    pooling : {"mean", "class", "token"}
        Mean over the tokens; the first prefix token (class token) as the only query, then ``tokens="all"``, and prefix
        tokens are keys too; or none: every token has outputs of its own (dense prediction, one label a token). All
        parts of a head are then of this kind and act on the same tokens.
    options : mapping
        Options of the block (``{"dims": 1}`` of fno, ``{"filter_size": 3}`` of hadamard, ``{"groups": 2}`` of bfno).

    Examples
    --------
    >>> str(PartSpec("attention", gate="rank_one", num_gates=4))
    'attention with 4 rank_one gates on the patch tokens'
    """

    block: str
    tokens: Scope = "patch"
    penalty: str = "nuclear"
    gate: str | GateFamily = "none"
    num_gates: int = 8
    gate_seed: int = 0
    pooling: Pooling = "mean"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        block = BLOCKS.get(self.block)
        PENALTIES.get(self.penalty)
        check_gate(self.gate)
        check_whole("num_gates", self.num_gates)
        check_whole("gate_seed", self.gate_seed)
        _check_options(self.block, self.options)
        if self.tokens not in ("patch", "prefix", "all"):
            raise unknown_name("token scope", self.tokens, ("patch", "prefix", "all"))
        if self.penalty == "ridge" and self.block != "linear":
            raise InputError(f"the ridge penalty keeps Z whole and is for linear parts; {self.block} needs 'nuclear'")
        if self.pooling not in ("mean", "class", "token"):
            raise unknown_name("pooling", self.pooling, ("mean", "class", "token"))
        if self.pooling == "token" and self.tokens == "prefix":
            raise InputError("pooling='token' gives each token its own outputs: give tokens='patch' or tokens='all'")
        if self.pooling == "token" and not getattr(block, "per_token", False):
            raise InputError(f"the block {self.block} gives one output a sample: take pooling='mean', or another block")
        if self.pooling == "class" and self.tokens != "all":
            raise InputError("pooling='class' has the class token as the only query: give tokens='all'")
        family = self.family
        if family is not None and not set(family.kinds) & set(block.gates):
            takes = " or ".join(block.gates) or "no"
            raise InputError(
                f"{family.name} gates are {' or '.join(family.kinds)} gates; {self.block} takes {takes} gates"
            )

    @property
    def family(self) -> GateFamily | None:
        """The family of gates, None for a linear activation."""
        if not isinstance(self.gate, str):
            return self.gate
        return None if self.gate == "none" else GATES.get(self.gate)()

    @property
    def gate_name(self) -> str:
        return self.gate if isinstance(self.gate, str) else self.gate.name

    @property
    def per_token(self) -> bool:
        """Whether every token has outputs of its own."""
        return self.pooling == "token"

    @property
    def collapses(self) -> str | None:
        """The simpler head that this one is without gates, in words; None where it is itself."""
        if self.gate_name != "none" or (self.per_token and self.block not in ("mlp", "hadamard")):
            return None
        return {
            "mlp": "the linear head with a nuclear norm",
            "fno": "the linear head: every shift of the tokens has the same mean",
            "bfno": "a linear head in each channel group: every shift of the tokens has the same mean",
            "mlp_mixer": "one weight for each token place (Z of s x d c)",
            "hadamard": "one linear head on products for each feature",
        }.get(self.block)

    def to_dict(self) -> dict[str, Any]:
        return {
            "block": self.block,
            "tokens": self.tokens,
            "penalty": self.penalty,
            "gate": self.gate_name,
            "num_gates": self.num_gates,
            "gate_seed": self.gate_seed,
            "pooling": self.pooling,
            "options": dict(self.options),
        }

    def __str__(self) -> str:
        where = {"patch": "the patch tokens", "prefix": "the prefix tokens", "all": "all tokens"}[self.tokens]
        gates = {
            "none": "",
            "cluster": f" within {self.num_gates} clusters",
            "window": f" in windows of radius {self.num_gates}",
            "attention_maps": " under attention maps",
            "mixer": " where a frozen mixer looks",
        }.get(self.gate_name, f" with {self.num_gates} {self.gate_name} gates")
        query = {"class": ", class token as query", "token": ", outputs of each token"}.get(self.pooling, "")
        return f"{self.block}{gates} on {where}{query}"


def check_gate(gate: Any) -> None:
    """Refuse what is neither a known name nor a family of gates."""
    if isinstance(gate, str) and gate not in (names := ("none", *GATES.names())):
        raise unknown_name(GATES.kind, gate, names)
    if not isinstance(gate, str) and hasattr(gate, "as_gate"):
        name = getattr(gate, "name", type(gate).__name__)
        raise InputError(f"gate is a mixer ({name}), and gates are made of it: give gate=mixer.as_gate()")
    if not isinstance(gate, str) and not all(
        hasattr(gate, name) for name in ("name", "kinds", "raw", "fit", "restore")
    ):
        raise InputError(
            f"gate must be a name ('none', {', '.join(map(repr, GATES.names()))}) or an object with the methods of "
            f"headwise.contracts.GateFamily, got {gate!r}"
        )


def _check_options(name: str, options: Any) -> None:
    """Refuse options that the constructor of a block does not have."""
    if not isinstance(options, Mapping):
        raise InputError(f"options must be a mapping of names to values, got {options!r}")
    block = BLOCKS.get(name)
    known = set(inspect.signature(block).parameters) - {"shape", "gated"}
    known |= {"groups"} if hasattr(block, "groups") else set()
    for option in options:
        if option not in known:
            raise unknown_name(f"option of {name}", option, known) if known else InputError(f"{name} has no options")


def resolve_parts(
    block: str | PartSpec | Sequence[PartSpec],
    source: TokenSource | TokenFacts,
    gate: str | GateFamily = "none",
    num_gates: int = 8,
    gate_seed: int = 0,
) -> tuple[PartSpec, ...]:
    """Parts of a head from a short name, or the parts given.

    Parameters
    ----------
    block : str, PartSpec or sequence of PartSpec
        "default" is linear on the prefix tokens plus attention on the patch tokens; where there is one token only it is
        linear, and where there are no prefix tokens the linear part acts on the mean patch token. "linear_prefix" is
        linear on the prefix tokens. Any other name is that of a block, on the patch tokens, or where there are none on
        the prefix tokens joined into one.
    source : TokenSource or TokenFacts
    gate, num_gates, gate_seed
        Gates of the parts that are not linear, where ``block`` is a name.

    Raises
    ------
    InputError
        An unknown name, a part on tokens that the source does not have, or gates that no part takes.
    """
    patches = source.num_tokens - source.num_prefix
    check_gate(gate)
    if isinstance(block, str):
        linear_on: Scope = "prefix" if source.num_prefix else "patch"
        gates: dict[str, Any] = {"gate": gate, "num_gates": num_gates, "gate_seed": gate_seed}
        if block == "default":
            alone = patches + source.num_prefix == 1 or not patches
            parts = (PartSpec("linear", linear_on), *(() if alone else (PartSpec("attention", "patch", **gates),)))
        elif block == "linear_prefix":
            parts = (PartSpec("linear", "prefix"),)
        elif block in BLOCKS.names():
            own = {} if block == "linear" else gates
            parts = (PartSpec(block, "patch" if patches else "prefix", **own),)
        else:
            raise unknown_name("head", block, ("default", "linear_prefix", *BLOCKS.names()))
    else:
        parts = (block,) if isinstance(block, PartSpec) else tuple(block) if isinstance(block, Iterable) else ()
        if not parts or not all(isinstance(p, PartSpec) for p in parts):
            raise InputError(f"block takes a name, a PartSpec or a non-empty sequence of PartSpec, got {block!r}")
    if gate != "none" and not isinstance(block, str):
        raise InputError("block gives parts, each with its own gates: leave gate out and give PartSpec(..., gate=...)")
    if gate != "none" and all(part.gate_name == "none" for part in parts):
        raise InputError(f"no part of {block!r} takes gates on these tokens; leave the gate out")
    for part in parts:
        if part.tokens == "prefix" and not source.num_prefix:
            raise InputError(f"{part} was asked for, but these tokens have no prefix tokens")
        if part.tokens == "patch" and not patches:
            raise InputError(f"{part} was asked for, but these tokens have prefix tokens only")
        if part.pooling == "class" and not source.num_prefix:
            raise InputError(f"{part} was asked for, but these tokens have no prefix tokens")
    if any(part.per_token for part in parts) and len({(part.per_token, part.tokens) for part in parts}) > 1:
        said = "; ".join(map(str, parts))
        raise InputError(
            f"the parts of a head give outputs of the same tokens or are all pooled, got: {said}. Give each "
            "pooling='token' and the same tokens"
        )
    return parts


def output_rows(parts: Sequence[PartSpec], source: TokenSource) -> int | None:
    """How many tokens of a sample have outputs of their own; None where outputs are pooled."""
    if not parts[0].per_token:
        return None
    return source.num_tokens - (source.num_prefix if parts[0].tokens == "patch" else 0)


def part_tokens(spec: PartSpec, tokens: Tokens) -> tuple[Tensor, Tensor | None, Tensor]:
    """Values ``(n, s, d)``, pooling weights ``(n, s)`` and what is seen, bool ``(n, s)``, of a part's tokens.

    There are no pooling weights where every token has outputs of its own.
    """
    values, mask, prefix = tokens.values, tokens.mask, tokens.num_prefix
    if spec.tokens == "prefix":
        values = values[:, :prefix].flatten(1).unsqueeze(1)
        mask = None
    elif spec.tokens == "patch":
        values = values[:, prefix:]
        mask = None if mask is None else mask[:, prefix:]
    n, s = values.shape[:2]
    if mask is None:
        seen = torch.ones(n, s, dtype=torch.bool, device=values.device)
    else:
        seen = mask
        values = torch.where(mask[..., None], values, 0)
    if spec.per_token:
        return values, None, seen
    if spec.pooling == "class":
        pooling = torch.zeros(n, s, dtype=values.dtype, device=values.device)
        pooling[:, 0] = 1
        return values, pooling, seen
    weights = seen.to(values.dtype)
    return values, weights / weights.sum(1, keepdim=True).clamp(min=1), seen
