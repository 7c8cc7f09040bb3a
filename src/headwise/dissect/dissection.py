"""The dissection of a whole backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checks import as_bytes, as_path, check_backbone, check_flag, check_whole
from ..contracts import AttentionModel, QueryKey
from .faithful import Faithful, observe
from .logits import logit_parts
from .metrics import (
    chance_band,
    effective_rank,
    permuted_weighted_cosine,
    symmetric_share,
    weighted_cosine,
    weighted_cosine_band,
)
from .modes import Modes, all_modes, modes
from .projections import default_context, num_prefix
from .seen import Seen
from .shares import variance_shares
from .sinks import Sinks, find_sinks
from .table import head_rows, layer_rows, lists, mode_rows

__all__ = ["Dissection", "Evidence", "dissect"]


@dataclass(frozen=True, repr=False)
class Evidence:
    """What was measured on the inputs of the check, in one layer.

    Attributes
    ----------
    shares : dict of Tensor, each (heads,)
        Share of each part in the variance of the logits; see `headwise.dissect.variance_shares`.
    sinks : Sinks
        Tokens that soak up attention, and what serves them.
    """

    shares: dict[str, Tensor]
    sinks: Sinks

    def __repr__(self) -> str:
        heads = len(next(iter(self.shares.values())))
        return f"Evidence({heads} attention heads: shares of {', '.join(self.shares)}; {self.sinks})"


@dataclass(frozen=True, repr=False)
class Dissection:
    """Modes and metrics of every attention head, layer by layer.

    Attributes
    ----------
    modes : list of Modes
        Their ``about`` says what they leave out of the logits.
    weighted_cosine, effective_rank, symmetric_share : Tensor, shape (layers, heads)
        NaN where a layer has fewer attention heads than another. The antisymmetric share is one less the symmetric.
    chance : float
        Band of single mode cosines: 99 % of random directions lie within plus or minus this, at the smallest width.
    weighted_chance : Tensor, shape (layers, heads)
        The same for the weighted cosine of each head, from permutations of its key features.
    check : Faithful or None
        Differences between the logits that the model computes and those of its records and modes; None where no inputs
        were given.
    names : tuple of str
        Path of each layer's attention module.
    weighted_band : Tensor, shape (layers, heads)
        The band of the weighted cosine in closed form: that of a random rotation of the key directions.
    evidence : list of Evidence or None
        By layer, what was measured on the inputs of the check; None without them, or without the norm folded in.
    """

    modes: list[Modes]
    weighted_cosine: Tensor
    effective_rank: Tensor
    symmetric_share: Tensor
    chance: float
    weighted_chance: Tensor
    check: Faithful | None
    names: tuple[str, ...]
    weighted_band: Tensor
    evidence: list[Evidence] | None = None

    def __repr__(self) -> str:
        heads = sum(len(each.sigma) for each in self.modes)
        checked = "not checked" if self.check is None else f"logits within {self.check.largest:.1e} of their spread"
        return f"Dissection({len(self.modes)} layers, {heads} attention heads; {checked})"

    @property
    def difference(self) -> float | None:
        """Largest difference of all attention heads, as a share of the logits' spread; None without a check."""
        return None if self.check is None else self.check.largest

    @property
    def heads(self) -> list[dict[str, Any]]:
        """One row of plain numbers for each attention head, for a table: ``pandas.DataFrame(found.heads)``.

        Cosines, rank, symmetric share and chance bands; with evidence also shares of the logits' variance
        (``*_share``), attention that special tokens take (``*_mass``), which of them the head serves (at least 30 % of
        its attention), and what serves the largest of these.
        """
        return head_rows(self)

    @property
    def layers(self) -> list[dict[str, Any]]:
        """One row for each layer: means over its attention heads, and what its modes leave out."""
        return layer_rows(self)

    def modes_of(self, layer: int, head: int) -> list[dict[str, Any]]:
        """One row for each mode of an attention head: singular value, cosine, and the subspace that it belongs to.

        Raises
        ------
        InputError
            No such layer or attention head.
        """
        return mode_rows(self, layer, head)

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON; the modes themselves are left out.

        Returns
        -------
        dict
            ``weighted_cosine``, ``effective_rank``, ``symmetric_share``, ``weighted_chance`` and ``weighted_band``:
            lists of layers, each a list of attention heads, None where a layer has fewer. ``chance``: a number.
            ``norm_folded``: whether the norm is part of the modes. ``names``: of the layers, and ``about``: what the
            modes of each leave out. ``check``: the largest difference, its bound and what was left out
            (`Faithful.to_dict`), or None where no check was made. ``heads``: the rows of `Dissection.heads`, where
            there is evidence the numbers of it.
        """
        return {
            "weighted_cosine": lists(self.weighted_cosine),
            "effective_rank": lists(self.effective_rank),
            "symmetric_share": lists(self.symmetric_share),
            "chance": self.chance,
            "weighted_chance": lists(self.weighted_chance),
            "weighted_band": lists(self.weighted_band),
            "norm_folded": self.modes[0].norm_folded,
            "names": list(self.names),
            "about": [each.about for each in self.modes],
            "check": None if self.check is None else self.check.to_dict(),
            "heads": self.heads,
        }

    def save(
        self,
        path: str | Path,
        modes: int | None = None,
        max_bytes: int | str | None = None,
        records: Sequence[QueryKey] = (),
    ) -> None:
        """Write ``dissection.json`` and ``dissection.safetensors`` into a folder, which is made.

        Parameters
        ----------
        path : path
        modes : int, optional
            Leading modes of each attention head whose directions are written, all by default. Singular values and
            cosines of all of them always are, so that the numbers of a dissection that was loaded are the same.
        max_bytes : int or str, optional
            What directions and factors may take, in bytes or as ``"500MB"``: fewer modes are written where it is too
            little. What was left out stands in ``dissection.json``.
        records : sequence of QueryKey
            ``model.query_keys()``: the two factors of each query-key matrix, norm folded in, are written too (float32;
            ``layers.i.query`` and ``layers.i.key``, of shape ``(heads, head_dim, d)``), where they fit.

        Raises
        ------
        InputError
            The folder holds files that headwise did not make, or cannot be written; records of another model.
        """
        from .saving import save

        check_whole("modes", modes, least=1, or_none=True)
        save(self, as_path("path", path), modes=modes, max_bytes=as_bytes("max_bytes", max_bytes), records=records)

    @classmethod
    def load(cls, path: str | Path) -> Dissection:
        """Read what `save` has written.

        Raises
        ------
        InputError
            The folder holds no dissection, or one of a newer headwise.
        """
        from .saving import load

        return load(as_path("path", path))


@torch.no_grad()
def dissect(
    model: AttentionModel,
    check: Any = None,
    *,
    fold: bool = True,
    context: int | None = None,
    draws: int = 100,
    seed: int = 0,
) -> Dissection:
    """Decompose the query-key interaction of every attention head of a backbone.

    Parameters
    ----------
    model : AttentionModel
        From `headwise.load_backbone`: a backbone by its name, or a torch module.
    check : Tensor or mapping, optional
        Inputs of the model (a preprocessed batch). The logits that it computes are then compared, in float64, with
        those of its records and modes (see `headwise.dissect.check`), and what attention does on them is measured:
        where the logits' variance comes from, and which tokens soak up attention.
    fold : bool
        Fold the norm in front of each layer into its matrix. Without it the check is one of the records alone, and
        nothing is measured.
    context : int, optional
        Tokens over whose pairs of places rotary embeddings are averaged: by default as many as the inputs have, or as
        an image has.
    draws, seed : int
        Permutations behind the chance band of the weighted cosine.

    Returns
    -------
    Dissection

    Raises
    ------
    InputError
        What is given is no backbone, or a layer with something that modes do not describe, by name; or rotary
        embeddings and neither inputs nor a context.
    HeadwiseError
        Records or modes that do not reproduce the model's logits, by the name of the layer.

    Examples
    --------
    >>> import headwise, torch
    >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, batch_first=True)
    >>> found = headwise.dissect(headwise.load_backbone(layer), check=torch.randn(2, 5, 8), draws=10)
    >>> found.weighted_cosine.shape, found.difference < 1e-6
    (torch.Size([1, 2]), True)
    >>> sorted(found.heads[0])[:3]
    ['chance', 'content_share', 'effective_rank']
    """
    check_backbone(model, "query_keys")
    check_flag("fold", fold)
    check_whole("context", context, least=1, or_none=True)
    check_whole("draws", draws, least=1)
    check_whole("seed", seed)
    records = model.query_keys()
    if context is None and check is None:
        context = default_context(model)
    contexts: list[int | None] = [context] * len(records)
    found: dict[int, Modes] = {}
    evidence: dict[int, Evidence] = {}

    def tell(seen: Seen) -> Modes | None:
        if seen.number not in found:
            contexts[seen.number] = contexts[seen.number] or seen.logits.shape[-1]
            found[seen.number] = modes(seen.record, fold, context=contexts[seen.number])
        if not fold:
            return None
        each = found[seen.number]
        parts = logit_parts(seen.record, seen.tokens, each.turn)
        # of a layer that runs several times the last run is told
        evidence[seen.number] = Evidence(
            variance_shares(parts, seen.used), find_sinks(seen, each, parts, num_prefix(model))
        )
        return each

    if check is None:
        checked, every = None, all_modes(records, fold, context=context)
    else:
        checked = observe(model, records, check, tell)
        every = [found[i] for i in range(len(records))]
    permuted = [
        permuted_weighted_cosine(record, draws, seed, fold, context=count).abs().quantile(0.99, dim=0)
        for record, count in zip(records, contexts, strict=True)
    ]
    return Dissection(
        every,
        _stacked([weighted_cosine(m) for m in every]),
        _stacked([effective_rank(m) for m in every]),
        _stacked([symmetric_share(m) for m in every]),
        chance_band(min(_width(record) for record in records)),
        _stacked(permuted),
        checked,
        tuple(record.name for record in records),
        _stacked([weighted_cosine_band(m) for m in every]),
        [evidence[i] for i in range(len(records))] if evidence else None,
    )


def _width(record: QueryKey) -> int:
    return record.query.shape[2]


def _stacked(rows: list[Tensor]) -> Tensor:
    """Rows of attention heads as one table, NaN where a layer has fewer."""
    most = max(len(row) for row in rows)
    return torch.stack([torch.nn.functional.pad(row, (0, most - len(row)), value=torch.nan) for row in rows])
