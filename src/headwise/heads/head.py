"""A fitted head as a torch module on raw tokens."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts import Tokens, TokenSource
from ..errors import InputError
from ..files import hash_tensors
from ..losses import LOSSES
from ..solvers import Certificate, Factors
from ..tokens import TokenStore
from .fitted_part import FittedPart
from .parts import PartSpec

__all__ = ["Head", "TokenFacts", "Training"]


@dataclass(frozen=True)
class TokenFacts:
    """What the tokens of a head look like, and where they came from.

    ``origin`` says which backbone made them, in the words of a store's manifest: ``backbone``, ``weights_hash``,
    ``layer``, ``at`` and ``preprocessing``. It is None for tokens from arrays.
    """

    num_tokens: int
    width: int
    num_prefix: int
    grid: tuple[int, int] | None
    origin: dict[str, Any] | None = None

    @classmethod
    def of(cls, source: TokenSource) -> TokenFacts:
        origin = source.manifest.origin if isinstance(source, TokenStore) else None
        return cls(source.num_tokens, source.width, source.num_prefix, source.grid, origin)


@dataclass(frozen=True)
class Training:
    """What `headwise verify` needs besides the store: the training rows and their weights."""

    rows: np.ndarray
    weights: np.ndarray | None = None


class _PartModule(nn.Module):
    """Coordinates, gates and atoms of one part."""

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
        fitted = self.fitted
        out = tokens.values.new_zeros(len(tokens.values), fitted.num_outputs)
        for part, stats, u, v in zip(fitted.parts(), fitted.statistics(tokens), self.u, self.v, strict=True):
            out[:, part.columns] += part.block.inner(stats, u).flatten(1) @ v.flatten(0, 1)
        return out

    def token_outputs(self, tokens: Tokens) -> Tensor:
        return self.fitted.token_outputs(tokens, list(self.u), list(self.v))


class Head(nn.Module):
    """A fitted head: raw tokens ``(n, s, d)`` in, outputs ``(n, c)`` out.

    Made by the estimators (`HeadClassifier.to_module`) or read from a folder (`Head.from_pretrained`); rarely by hand.

    Parameters
    ----------
    parts : sequence of FittedPart
    factors : Factors
    classes : sequence, optional
        Labels that the outputs stand for; None for numbers.
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
        parts: Sequence[FittedPart],
        factors: Factors,
        classes: Sequence[Any] | None,
        facts: TokenFacts,
        certificate: Certificate | None = None,
        training: Training | None = None,
        loss: dict[str, Any] | None = None,
        fit_intercept: bool = True,
    ) -> None:
        super().__init__()
        self.parts, at = nn.ModuleList(), 0
        for part in parts:
            count = len(part.parts())
            self.parts.append(_PartModule(part, factors.u[at : at + count], factors.v[at : at + count]))
            at += count
        self.intercept = nn.Parameter(factors.intercept.clone())
        self.classes = None if classes is None else list(classes)
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
        return sum(len(u) for part in self._parts() if part.spec.penalty == "nuclear" for u in part.u)

    @property
    def num_parameters(self) -> int:
        """Numbers that were fitted: atoms (or the whole Z of a ridge part) and the intercept."""
        moving = [
            tensor
            for part in self._parts()
            for tensor in (*part.v, *(part.u if part.spec.penalty == "nuclear" else ()))
        ]
        return sum(x.numel() for x in moving) + self.intercept.numel()

    def _parts(self) -> list[_PartModule]:
        return list(self.parts)  # type: ignore[arg-type]

    def factors(self) -> Factors:
        us = [u.detach() for part in self._parts() for u in part.u]
        vs = [v.detach() for part in self._parts() for v in part.v]
        return Factors(us, vs, self.intercept.detach())

    def tensors(self) -> dict[str, Tensor]:
        """Atoms, intercept, coordinates and gates: what ``model.safetensors`` holds."""
        found = {"intercept": self.intercept.detach()}
        for index, part in enumerate(self._parts()):
            for name, atoms in (("u", part.u), ("v", part.v)):
                found |= {f"parts.{index}.{name}.{j}": x.detach() for j, x in enumerate(atoms)}
            found |= {f"parts.{index}.{name}": x for name, x in part.fitted.tensors().items()}
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything but tensors and names, as JSON: parts, classes, loss, and the tokens that it takes."""
        return {
            "parts": [part.fitted.to_dict() for part in self._parts()],
            "classes": self.classes,
            "loss": self.loss,
            "fit_intercept": self.fit_intercept,
            "tokens": asdict(self.facts),
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the tensors and of what describes them."""
        told = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(f"{told}|{hash_tensors(self.tensors())}".encode()).hexdigest()

    def check(self, num_tokens: int, width: int) -> None:
        """Refuse tokens of another width or number than those the head was fitted on."""
        if width != self.facts.width:
            raise InputError(f"the head was fitted on tokens of width {self.facts.width}, got width {width}")
        if num_tokens != self.facts.num_tokens:
            raise InputError(f"the head was fitted on {self.facts.num_tokens} tokens a sample, got {num_tokens}")

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Outputs ``(n, c)`` of tokens ``(n, s, d)``, prefix tokens first; ``mask`` ``(n, s)`` is True where real."""
        if not isinstance(tokens, Tensor):
            raise InputError(
                f"tokens must be a torch tensor, got {type(tokens).__name__}; give torch.as_tensor(tokens)"
            )
        if tokens.ndim == 2:
            tokens = tokens.unsqueeze(1)
        if tokens.ndim != 3:
            raise InputError(f"tokens must be (n, s, d) or (n, d), got shape {tuple(tokens.shape)}")
        self.check(tokens.shape[1], tokens.shape[2])
        if mask is not None and not (
            isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.shape == tokens.shape[:2]
        ):
            found = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise InputError(f"mask must be a bool tensor of shape {tuple(tokens.shape[:2])}, got {found}")
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

    def link(self, outputs: Tensor) -> Tensor:
        """Mean predictions from outputs: probabilities, numbers, rates, relative risks, by the loss."""
        return LOSSES.get(self.loss["name"]).link(outputs)

    def to_module(self, dtype: torch.dtype = torch.float32) -> Head:
        """A copy in ``dtype``, for use inside other modules and for export.

        Raises
        ------
        InputError
            ``dtype`` is no real floating-point type of torch.
        """
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise InputError(f"dtype must be a floating-point type such as torch.float32, got {dtype!r}")
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
