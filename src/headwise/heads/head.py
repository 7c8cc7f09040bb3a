"""A fitted head as a torch module on raw tokens."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..blocks import BLOCKS
from ..contracts import Tokens, TokenSource
from ..errors import InputError
from ..solvers import Certificate, Factors
from .conditioning import FittedConditioner
from .parts import PartSpec, part_tokens

__all__ = ["Head", "TokenFacts", "Training"]


@dataclass(frozen=True)
class TokenFacts:
    """What the tokens of a head look like."""

    num_tokens: int
    width: int
    num_prefix: int
    grid: tuple[int, int] | None

    @classmethod
    def of(cls, source: TokenSource) -> TokenFacts:
        return cls(source.num_tokens, source.width, source.num_prefix, source.grid)


@dataclass(frozen=True)
class Training:
    """What `headwise verify` needs besides the store: the training rows and their weights."""

    rows: np.ndarray
    weights: np.ndarray | None = None


class _PartModule(nn.Module):
    """Conditioning and atoms of one part."""

    def __init__(self, spec: PartSpec, conditioner: FittedConditioner, u: Tensor, v: Tensor) -> None:
        super().__init__()
        self.spec, self.conditioner = spec, conditioner
        self.block = BLOCKS.get(spec.block)()
        for name, value in conditioner.tensors().items():
            self.register_buffer(name, value.clone())
        self.u, self.v = nn.Parameter(u.clone()), nn.Parameter(v.clone())

    def condition(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        values, pooling = part_tokens(self.spec, tokens)
        held = {k: getattr(self, k) for k in self.conditioner.tensors()}
        return replace(self.conditioner, **held)(values, pooling), pooling

    def forward(self, tokens: Tokens) -> Tensor:
        values, pooling = self.condition(tokens)
        return self.block.inner(self.block.statistics(values, pooling), self.u).flatten(1) @ self.v.flatten(0, 1)


class Head(nn.Module):
    """A fitted head: raw tokens ``(n, s, d)`` in, outputs ``(n, c)`` out.

    Made by the estimators (`HeadClassifier.to_module`) or read from a folder (`Head.from_pretrained`); rarely by hand.

    Parameters
    ----------
    specs : sequence of PartSpec
    conditioners : sequence of FittedConditioner
    factors : Factors
    classes : sequence
        Names or numbers of the outputs.
    facts : TokenFacts
        Tokens that the head was fitted on; others are refused.
    certificate : Certificate, optional
    training : Training, optional
    loss : dict, optional
        Description of the loss.
    fit_intercept : bool
        Whether the intercept was free.

    Attributes
    ----------
    class_names : list of str or None
        Names of ``classes`` for people.
    """

    def __init__(
        self,
        specs: Sequence[PartSpec],
        conditioners: Sequence[FittedConditioner],
        factors: Factors,
        classes: Sequence[Any],
        facts: TokenFacts,
        certificate: Certificate | None = None,
        training: Training | None = None,
        loss: dict[str, Any] | None = None,
        fit_intercept: bool = True,
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            _PartModule(*each) for each in zip(specs, conditioners, factors.u, factors.v, strict=True)
        )
        self.intercept = nn.Parameter(factors.intercept.clone())
        self.classes = list(classes)
        self.class_names: list[str] | None = None
        self.facts, self.certificate, self.training_data = facts, certificate, training
        self.loss = loss or {}
        self.fit_intercept = fit_intercept

    @property
    def specs(self) -> tuple[PartSpec, ...]:
        return tuple(part.spec for part in self._parts())

    @property
    def rank(self) -> int:
        """Atoms of the parts with a nuclear norm."""
        return sum(len(part.u) for part in self._parts() if part.spec.penalty == "nuclear")

    @property
    def num_parameters(self) -> int:
        """Numbers that were fitted: atoms (or the whole Z of a ridge part) and the intercept."""
        atoms = sum(p.v.numel() + (p.u.numel() if p.spec.penalty == "nuclear" else 0) for p in self._parts())
        return atoms + self.intercept.numel()

    def _parts(self) -> list[_PartModule]:
        return list(self.parts)  # type: ignore[arg-type]

    def factors(self) -> Factors:
        return Factors(
            [p.u.detach() for p in self._parts()], [p.v.detach() for p in self._parts()], self.intercept.detach()
        )

    def check(self, num_tokens: int, width: int) -> None:
        """Refuse tokens of another width or number than those the head was fitted on."""
        if width != self.facts.width:
            raise InputError(f"the head was fitted on tokens of width {self.facts.width}, got width {width}")
        if num_tokens != self.facts.num_tokens:
            raise InputError(f"the head was fitted on {self.facts.num_tokens} tokens a sample, got {num_tokens}")

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Outputs ``(n, c)`` of tokens ``(n, s, d)``, prefix tokens first; ``mask`` ``(n, s)`` is True where real."""
        if tokens.ndim == 2:
            tokens = tokens.unsqueeze(1)
        if tokens.ndim != 3:
            raise InputError(f"tokens must be (n, s, d) or (n, d), got shape {tuple(tokens.shape)}")
        self.check(tokens.shape[1], tokens.shape[2])
        batch = Tokens(tokens.to(self.intercept.dtype), self.facts.num_prefix, self.facts.grid, mask)
        out = self.intercept.expand(len(tokens), -1)
        for part in self.parts:
            out = out + part(batch)
        return out

    @torch.inference_mode()
    def outputs(self, source: TokenSource, rows: np.ndarray | None = None) -> Tensor:
        """Outputs of a store or of arrays, chunk by chunk."""
        self.check(source.num_tokens, source.width)
        return torch.cat([self(tokens.values, tokens.mask) for _, tokens in source.chunks(rows)])

    def to_module(self, dtype: torch.dtype = torch.float32) -> Head:
        """A copy in ``dtype``, for use inside other modules and for export."""
        return copy.deepcopy(self).to(dtype)

    def save_pretrained(self, path: Any, overwrite: bool = False) -> None:
        """Write config.json, model.safetensors and certificate.json into a folder; see `headwise.heads.save`."""
        from .save import save_head

        save_head(self, path, overwrite)

    @classmethod
    def from_pretrained(cls, path: Any) -> Head:
        """Read a folder written by `save_pretrained`."""
        from .save import load_head

        return load_head(path)
