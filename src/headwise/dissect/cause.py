"""What modes cause: change them in the running model, and measure what changes, beside random modes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from ..checks import check_called, check_whole, told
from ..contracts import AttentionModel
from ..errors import InputError
from .editing import Edit, Term, added, as_edits, edited_modes, mode_terms, random_terms
from .faithful import check
from .running import in_float64
from .runs import compared, mass_of, watch

__all__ = ["Effect", "LayerEffect", "effect"]


@dataclass(frozen=True, repr=False)
class LayerEffect:
    """What edits do to the attention of one layer.

    Attributes
    ----------
    layer : int
    name : str
        Path of the attention module.
    variation : Tensor, shape (heads,)
        Total variation between the attention of a query before and after (half the sum of absolute differences, 0 to
        1), in the mean over queries.
    control_variation : Tensor, shape (draws, heads)
        The same for each draw of random modes.
    mass : Tensor, shape (2, heads), or None
        Attention to the region, in the mean over queries, before and after; None where no region was given.
    control_mass : Tensor, shape (draws, heads), or None
        After each draw of random modes.
    """

    layer: int
    name: str
    variation: Tensor
    control_variation: Tensor
    mass: Tensor | None = None
    control_mass: Tensor | None = None

    def __repr__(self) -> str:
        means = self.variation.mean(), self.control_variation.mean()
        return "LayerEffect({}: attention varies by {:.3f}, by {:.3f} with random modes)".format(self.name, *means)


@dataclass(frozen=True, repr=False)
class Effect:
    """What changes when modes are edited, beside the same for random modes of the same strength.

    Attributes
    ----------
    edits : tuple of (layer, head, mode, factor)
    layers : list of LayerEffect
        From the first edited layer on; those before it do not change.
    outputs : float
        Root mean square of the change of the model's outputs, over that of the outputs.
    control_outputs : Tensor, shape (draws,)
    scores : (float, float) or None
        ``score(model)`` before and after; None where none was given.
    control_scores : Tensor, shape (draws,), or None
    """

    edits: tuple[Edit, ...]
    layers: list[LayerEffect]
    outputs: float
    control_outputs: Tensor
    scores: tuple[float, float] | None = None
    control_scores: Tensor | None = None

    def __repr__(self) -> str:
        said = f"outputs change by {self.outputs:.3f}, by {float(self.control_outputs.mean()):.3f} with random modes"
        return f"Effect({len(self.edits)} edits; {said})"

    @property
    def heads(self) -> list[dict[str, Any]]:
        """One row of plain numbers for each attention head, for a table: ``pandas.DataFrame(found.heads)``.

        ``variation``, and where a region was given ``mass_before``, ``mass_after`` and ``mass_change``. What starts
        with ``control_`` is the mean over random modes, and what ends with ``_spread`` their standard deviation.
        """
        named = {(layer, head) for layer, head, _, _ in self.edits}
        rows = []
        for each in self.layers:
            for head in range(len(each.variation)):
                row: dict[str, Any] = {
                    "layer": each.layer,
                    "head": head,
                    "name": each.name,
                    "edited": (each.layer, head) in named,
                    "variation": float(each.variation[head]),
                    **_control("variation", each.control_variation[:, head]),
                }
                if each.mass is not None and each.control_mass is not None:
                    before, after = each.mass[:, head].tolist()
                    row |= {"mass_before": before, "mass_after": after, "mass_change": after - before}
                    row |= _control("mass_change", each.control_mass[:, head] - before)
                rows.append(row)
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON: ``edits``, ``draws``, ``outputs``, ``score``, and the rows of `Effect.heads`."""
        score = None
        if self.scores is not None and self.control_scores is not None:
            before, after = self.scores
            score = {"before": before, "after": after, "change": after - before}
            score |= _control("change", self.control_scores - before)
        return {
            "edits": [list(edit) for edit in self.edits],
            "draws": len(self.control_outputs),
            "outputs": self.outputs,
            **_control("outputs", self.control_outputs),
            "score": score,
            "heads": self.heads,
        }


def effect(
    model: AttentionModel,
    inputs: Any,
    edits: Sequence[Edit],
    score: Callable[[AttentionModel], float] | None = None,
    *,
    region: Tensor | None = None,
    queries: Tensor | None = None,
    draws: int = 20,
    seed: int = 0,
) -> Effect:
    """Edit modes in a running model and measure what changes, beside random modes of the same strength.

    Parameters
    ----------
    model : AttentionModel
        From `headwise.load_backbone`.
    inputs : Tensor or mapping
        A preprocessed batch, a few samples: their attention in all layers from the first edited one on is held in
        memory, in float64.
    edits : sequence of (layer, head, mode, factor)
        As `headwise.dissect.edited` takes them.
    score : callable, optional
        ``score(model)``, a finite number. It is called with the model as it is, edited, and with each draw of random
        modes, in the model's own precision.
    region : Tensor, shape (n, s), optional
        Keys to which attention is measured: a mask over all tokens, prefix tokens included, bool or shares from 0 to 1,
        not all of them 0.
    queries : Tensor of bool, shape (n, s), optional
        Queries whose attention counts, in its variation as in what the region gets; all by default.
    draws, seed : int
        Random modes: each edit's u and v are replaced by random directions among those that the attention head
        reads, and added to M with the strength ``(factor - 1) sigma`` of the edit.

    Returns
    -------
    Effect

    Raises
    ------
    InputError
        What `headwise.dissect.edited` refuses; inputs that the model does not take; masks of another shape than the
        tokens, no query or no key at all, shares that are none; a score that is no finite number.
    HeadwiseError
        A layer whose logits are not those of its record; see `headwise.dissect.check`.

    Notes
    -----
    Attention and outputs are what the model computes in float64, checked against its records before and after the edit.
    The model is afterwards as it was, whatever ``score`` does.

    Examples
    --------
    >>> import headwise, torch
    >>> from headwise.dissect import effect
    >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, batch_first=True)
    >>> found = effect(headwise.load_backbone(layer), torch.randn(2, 5, 8), [(0, 1, 0, 0.0)], draws=3)
    >>> [row["edited"] for row in found.heads], found.heads[0]["variation"] < 1e-9 < found.heads[1]["variation"]
    ([False, True], True)
    """
    check_whole("draws", draws, least=2)
    check_whole("seed", seed)
    for name, mask in (("region", region), ("queries", queries)):
        if mask is not None and (not isinstance(mask, Tensor) or mask.ndim != 2):
            raise InputError(f"{name} is a mask over the tokens of each sample, (n, s)")
    if region is not None:
        _check_shares(region)
    if queries is not None and not (queries.dtype == torch.bool and bool(queries.any())):
        raise InputError("queries is a bool mask (n, s) that holds at least one token")
    check_called("score", score, "score(model)")
    edits = as_edits(edits)
    records, found = edited_modes(model, edits)
    first = min(layer for layer, *_ in edits)
    terms = mode_terms(found, edits)
    generator = torch.Generator().manual_seed(seed)
    controls = [random_terms(found, terms, generator) for _ in range(draws)]
    # first, so that what is no score is refused before all is measured
    plain = 0.0 if score is None else _number(score(model))
    with in_float64(model.model), torch.no_grad():
        before = watch(model, inputs, first, region, queries)
        _, outputs = compared(model, inputs, before)

        def look(these: Sequence[Term]) -> tuple[dict[int, tuple[Tensor, Tensor | None]], float]:
            with added(model, model.query_keys(), these):
                changes, got = compared(model, inputs, before)
            return changes, float((got - outputs).square().mean().sqrt() / outputs.square().mean().sqrt())

        after, shift = look(terms)
        with added(model, model.query_keys(), terms):  # these logits are those of the records as well
            check(model, model.query_keys()[first:], inputs)
        random = [look(these) for these in controls]
    scores, control_scores = None, None
    if score is not None:
        got = []
        for these in (terms, *controls):
            with added(model, records, these):
                got.append(_number(score(model)))
        scores, control_scores = (plain, got[0]), torch.tensor(got[1:], dtype=torch.float64)
    layers = []
    for number, (variation, mass) in after.items():
        own = [by_layer[number] for by_layer, _ in random]
        masses = [other for _, other in own if other is not None]
        layers.append(
            LayerEffect(
                first + number,
                records[first + number].name,
                variation,
                torch.stack([other for other, _ in own]),
                None if mass is None else torch.stack((mass_of(before, number), mass)),
                torch.stack(masses) if masses else None,
            )
        )
    made = tuple((int(layer), int(head), int(mode), float(factor)) for layer, head, mode, factor in edits)
    return Effect(
        made,
        layers,
        shift,
        torch.tensor([other for _, other in random], dtype=torch.float64),
        scores,
        control_scores,
    )


def _check_shares(region: Tensor) -> None:
    """Refuse a mask that is not of shares from 0 to 1, or is 0 throughout."""
    numbers = region.numel() and not region.is_complex()
    low, high = (float(end) for end in region.double().aminmax()) if numbers else (float("nan"),) * 2
    if not 0 <= low <= high <= 1 or not high:
        raise InputError(
            "region is a mask (n, s) that holds at least one token: bool, or the share of each token, from 0 to 1; got "
            f"numbers from {low:g} to {high:g}"
        )


def _number(score: Any) -> float:
    """What ``score`` gave, as a number."""
    try:
        value = float("nan") if isinstance(score, (str, bytes)) else float(score)
    except (TypeError, ValueError, RuntimeError):
        value = float("nan")
    if not isfinite(value):
        raise InputError(f"score(model) must return a finite number, got {told(score)}")
    return value


def _control(name: str, values: Tensor) -> dict[str, float]:
    return {f"control_{name}": float(values.mean()), f"control_{name}_spread": float(values.std())}
