"""A fitted head as a torch module on raw tokens."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts import Tokens, TokenSource
from ..errors import InputError, unknown_name
from ..files import hash_tensors
from ..losses import LOSSES
from ..solvers import Certificate, Factors
from ..tokens import num_views, view_rows
from .facts import TokenFacts, Training
from .fitted_part import FittedPart
from .part_module import PartModule
from .parts import PartSpec
from .portable import PortableHead

if TYPE_CHECKING:
    from .atoms import Atoms
    from .clusters import GateClusters

__all__ = ["Head", "Views"]

Views = Literal["first", "average"]


class Head(PortableHead):
    """A fitted head: raw tokens ``(n, s, d)`` in, outputs ``(n, c)`` out, or those of every token ``(n, s, c)``.

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

    kind = "head"

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
            self.parts.append(self._module_of(part)(part, factors.u[at : at + count], factors.v[at : at + count]))
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
    def per_token(self) -> bool:
        """Whether every token has outputs of its own."""
        return any(spec.per_token for spec in self.specs)

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

    def _module_of(self, part: FittedPart) -> type[PartModule]:
        return PartModule

    def _parts(self) -> list[PartModule]:
        return list(self.parts)  # type: ignore[arg-type]

    def part_words(self) -> list[str]:
        """Each part for people, such as "attention on the patch tokens"."""
        return [self.facts.called(part.words) for part in self._parts()]

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

    def records(self) -> dict[str, dict[str, Any]]:
        """What is known of the head as it is, as JSON, by the names of the files that hold it.

        A certificate is of the numbers that were fitted: what was changed since, a float32 copy too, has none.
        """
        return {"certificate.json": self.certificate.to_dict()} if self.certificate and not self.changed else {}

    @property
    def changed(self) -> bool:
        """Whether there is a certificate, and the head is not the one that it is of."""
        return self.certificate is not None and self.certificate.context.get("head") != self.fingerprint

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

    def check_source(self, source: TokenSource) -> None:
        """Refuse a source whose tokens have another width, number or layout than those the head was fitted on."""
        self.check(source.num_tokens, source.width)
        if said := self.facts.differs(source):
            raise InputError(f"{said}; give tokens in the layout of the fit")

    def batch(self, tokens: Tensor, mask: Tensor | None = None) -> Tokens:
        """Tokens ``(n, s, d)`` or ``(n, d)`` as the parts take them; refused where they do not fit the head."""
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
        return Tokens(tokens.to(self.intercept.dtype), self.facts.num_prefix, self.facts.grid, mask)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Outputs ``(n, c)`` of tokens ``(n, s, d)``, prefix tokens first; ``mask`` ``(n, s)`` is True where real.

        Where every token has outputs of its own they are ``(n, s, c)`` (without prefix tokens, where the head acts on
        patch tokens), and zero for tokens that are not real.
        """
        batch = self.batch(tokens, mask)
        each = self._parts()[0].fitted.rows
        out = self.intercept.expand(batch.values.shape[0] * each, -1)
        for part in self.parts:
            out = out + part(batch)
        if not self.per_token:
            return out
        out = out.unflatten(0, (-1, each))
        return out if mask is None else torch.where(mask[:, -each:, None], out, 0)

    @torch.no_grad()
    def outputs(self, source: TokenSource, rows: np.ndarray | None = None, views: Views = "first") -> Tensor:
        """Outputs, as of `forward`, of a store or of arrays, chunk by chunk; on the processor, wherever the head is.

        Parameters
        ----------
        source : TokenSource
        rows : ndarray of int, optional
            Samples; all by default.
        views : {"first", "average"}
            Those of view 0, or the mean over the views of each sample; the same where there is one view.
        """
        self.check_source(source)
        if views not in ("first", "average"):
            raise unknown_name("views", views, ("first", "average"))
        count = num_views(source) if views == "average" else 1
        if self.per_token and count > 1:
            raise InputError("crops and flips move tokens: outputs of each token are not averaged over views")
        every, its = view_rows(source, rows, count)
        device, pieces = self.intercept.device, list[Tensor]()
        for _, tokens in every.chunks(its):
            mask = None if tokens.mask is None else tokens.mask.to(device)
            pieces.append(self(tokens.values.to(device), mask).cpu())
        found = torch.cat(pieces)
        return found.unflatten(0, (-1, count)).mean(1)

    def link(self, outputs: Tensor) -> Tensor:
        """Mean predictions from outputs ``(..., c)``: probabilities, numbers, rates, relative risks, by the loss."""
        return LOSSES.get(self.loss["name"]).link(outputs.flatten(0, -2)).view_as(outputs)

    def to_module(self, dtype: torch.dtype = torch.float32) -> Head:
        """A copy in ``dtype``, for use inside other modules and for export.

        The certificate is of the head as it was fitted, in float64: other copies are saved without it.

        Raises
        ------
        InputError
            ``dtype`` is no real floating-point type of torch.
        """
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise InputError(f"dtype must be a floating-point type such as torch.float32, got {dtype!r}")
        return copy.deepcopy(self).to(dtype)

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs for people: of the classes, or ``output 0`` and so on.

        One output of two classes stands for the second.
        """
        count = len(self.intercept)
        names = self.class_names or [str(c) for c in self.classes or ()]
        if count == 1 and len(names) == 2:
            return names[1:]
        return list(names) if len(names) == count else [f"output {k}" for k in range(count)]

    def atoms(self) -> Atoms:
        """Atoms in order of weight, a list that prints as a table; see `headwise.heads.atoms`."""
        from .atoms import atoms

        return atoms(self)

    @torch.inference_mode()
    def token_outputs(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Share of every token in pooled outputs, ``(n, s, c)``; with the intercept they sum to the outputs."""
        from .explain import token_outputs

        return token_outputs(self, self.batch(tokens, mask))

    @torch.inference_mode()
    def atom_outputs(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """What each of `atoms` adds to the outputs, ``(n, atoms, c)``; with the intercept they sum to the outputs.

        Where every token has outputs of its own, ``(n, s, atoms, c)``.
        """
        from .atoms import atom_outputs

        return atom_outputs(self, self.batch(tokens, mask))

    def clusters(self, tokens: Tensor, mask: Tensor | None = None) -> list[GateClusters]:
        """Clusters into which each gate with atoms sorts the tokens; see `headwise.heads.clusters`."""
        from .clusters import clusters

        return clusters(self, self.batch(tokens, mask))

    @property
    def takes_mask(self) -> bool:
        """Whether tokens may be hidden; a part on a grid or on token places needs every token in its place."""
        return all(part.fitted.takes_mask for part in self._parts())
