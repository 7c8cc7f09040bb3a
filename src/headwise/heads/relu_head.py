"""A ReLU head: atoms with an activation of their own, and what is known of their value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..contracts import Tokens
from ..errors import InputError
from ..solvers import Certificate
from .fitted_part import Cell, FittedPart
from .head import Head
from .part_module import PartModule

__all__ = ["ReluHead", "ReluModule"]


class _ReluPart(PartModule):
    """Atoms with an activation of their own: the mask of each is the sign of its own scores."""

    convex = False

    @property
    def words(self) -> str:
        return str(replace(self.spec, gate="none")).replace(self.spec.block, f"{self.spec.block} with ReLU", 1)

    def _masked(
        self, values: Tensor, atoms: Iterable[tuple[int, Tensor, Tensor]]
    ) -> Iterator[tuple[Cell, Tensor, Tensor, Tensor, Tensor]]:
        """Each atom with its block, its tokens, and where its scores are positive."""
        for matrix, u, v in atoms:
            cell = self.fitted.cells[matrix]
            own = values[..., cell.features]
            mask = (cell.block.scores(own, u) >= 0).to(own.dtype)
            yield cell, own, mask, u[None], v[None]

    def _own(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        for matrix, (us, vs) in enumerate(zip(self.u, self.v, strict=True)):
            for u, v in zip(us, vs, strict=True):
                yield matrix, u, v

    def _outputs(self, tokens: Tokens, atoms: Iterable[tuple[int, Tensor, Tensor]]) -> Iterator[tuple[Cell, Tensor]]:
        values, pooling = self.fitted.conditioned(tokens)
        for cell, own, mask, u, v in self._masked(values, atoms):
            stats = cell.block.statistics(own, pooling, mask)
            yield cell, cell.block.inner(stats, u).flatten(1) @ v.flatten(0, 1)

    def forward(self, tokens: Tokens) -> Tensor:
        out = tokens.values.new_zeros(len(tokens.values), self.fitted.num_outputs)
        for cell, found in self._outputs(tokens, self._own()):
            out[:, cell.columns] += found
        return out

    def token_outputs(self, tokens: Tokens) -> Tensor:
        values, pooling = self.fitted.conditioned(tokens)
        assert pooling is not None, "relu heads are pooled"
        total = values.new_zeros(*values.shape[:2], self.fitted.num_outputs)
        for cell, own, mask, u, v in self._masked(values, self._own()):
            total[..., cell.columns] += cell.block.token_outputs(own, pooling, u, v, mask)
        return total

    def atoms_of(self, matrix: int) -> tuple[Tensor, Tensor]:
        return self.u[matrix].detach(), self.v[matrix].detach()

    def atom_outputs(self, tokens: Tokens, atoms: Sequence[tuple[int, Tensor, Tensor]]) -> Tensor:
        total = tokens.values.new_zeros(len(tokens.values), len(atoms), self.fitted.num_outputs)
        for place, (cell, found) in enumerate(self._outputs(tokens, atoms)):
            total[:, place, cell.columns] = found
        return total


class ReluModule(Head):
    """A ReLU head on raw tokens: `Head` with ``relu(score)`` where that has gates, and no certificate.

    Parts without gates are linear, as they were. Made by `headwise.relu`; rarely by hand.

    Attributes
    ----------
    record : dict or None
        Both objectives and the certificate of the gated head: `ReluHead.to_dict`, saved beside the head as
        ``relu.json``. A head that was changed since (a float32 copy, say) is saved without it.
    """

    kind = "relu head"
    record: dict[str, Any] | None = None

    def records(self) -> dict[str, dict[str, Any]]:
        own = self.record is not None and self.record.get("head") == self.fingerprint
        return {"relu.json": self.record} if self.record is not None and own else {}

    def _module_of(self, part: FittedPart) -> type[PartModule]:
        return PartModule if part.spec.family is None else _ReluPart


@dataclass(frozen=True)
class ReluHead:
    """A ReLU head and what is known of it, made by `headwise.relu`. Its objective is approximate, not certified.

    Attributes
    ----------
    module : ReluModule
        The head itself, an ``nn.Module`` on raw tokens, float64; ``module.to_module()`` is a float32 copy.
    objective : float
        Value of the ReLU problem (loss plus beta times half the squared norms of all atoms) of this head on the
        training rows. An upper bound of that problem's optimum; nothing is proved of how far above it lies.
    gated_objective : float
        Value of the gated problem of the head it was made from. Only where the gates are *all* patterns that the scores
        can have on the training tokens is the gated optimum a lower bound of the ReLU optimum.
    certificate : Certificate
        That of the gated problem; its context says so under ``"about"``.
    """

    module: ReluModule
    objective: float
    gated_objective: float
    certificate: Certificate

    @property
    def ratio(self) -> float:
        """The approximate objective over that of the gated head."""
        return self.objective / self.gated_objective if self.gated_objective else 1.0

    def to_dict(self) -> dict[str, Any]:
        """JSON: what ``relu.json`` holds."""
        return {
            "head": self.module.fingerprint,
            "approximate_objective": self.objective,
            "gated_objective": self.gated_objective,
            "gated_certificate": self.certificate.to_dict(),
        }

    def __str__(self) -> str:
        return (
            f"ReLU head with {self.module.rank} atoms: approximate objective {self.objective:.6g} "
            f"(of the gated head {self.gated_objective:.6g}); the certificate is that of the gated problem alone: "
            f"{self.certificate}"
        )

    def save_pretrained(self, path: str | Path, overwrite: bool = False) -> None:
        """Write the module and ``relu.json``, which holds both objectives and the gated certificate, into a folder.

        Raises
        ------
        InputError
            The folder holds another head (without ``overwrite``) or files that headwise did not make.
        """
        self.module.save_pretrained(path, overwrite)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload what `save_pretrained` writes to the Hugging Face hub; options as of `Head.push_to_hub`.

        Raises
        ------
        InputError
            huggingface_hub is not installed, or the hub refuses; the message says why.
        """
        return self.module.push_to_hub(repo_id, **options)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, hub: bool = False, revision: str | None = None, token: str | None = None
    ) -> ReluHead:
        """Read a folder written by `save_pretrained`, or a repository of `push_to_hub`; see `Head.from_pretrained`.

        Raises
        ------
        InputError
            A file is missing or broken, or the folder holds a head that is not a ReLU head.
        """
        module = Head.from_pretrained(path, hub=hub, revision=revision, token=token)
        if not isinstance(module, ReluModule):
            raise InputError(f"{path} holds a gated head, not a ReLU head; read it with Head.from_pretrained")
        told = module.record
        if told is None:
            raise InputError(f"{path} has no relu.json: it holds the module alone; read that with Head.from_pretrained")
        try:
            if told["head"] != module.fingerprint:
                raise InputError(f"relu.json in {path} speaks of another head than the one beside it; save it again")
            certificate = Certificate(**told["gated_certificate"])
            return cls(module, told["approximate_objective"], told["gated_objective"], certificate)
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} is not a complete ReLU head: {error}") from None
