"""The attention of layers before an edit, and how far that of an edited model is from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..checks import takes_texts
from ..contracts import AttentionModel
from ..errors import InputError
from .faithful import observe
from .logits import in_windows
from .running import doubled, logits_of
from .seen import Seen
from .sinks import attention

__all__ = ["Run", "compared", "mass_of", "watch"]


@dataclass(frozen=True)
class Run:
    """A layer at work before the edit; ``rows`` are the weights of its queries in a mean, by attention head."""

    seen: Seen
    rows: Tensor
    region: Tensor | None

    def variation(self, weights: Tensor) -> Tensor:
        return torch.einsum("nhqk,nhq->h", (weights - attention(self.seen)).abs(), self.rows) / 2

    def mass(self, weights: Tensor) -> Tensor | None:
        return None if self.region is None else torch.einsum("nhqk,nk,nhq->h", weights, self.region, self.rows)


def watch(model: AttentionModel, inputs: Any, first: int, region: Tensor | None, queries: Tensor | None) -> list[Run]:
    """The layers from ``first`` on at work, in the order in which they run."""
    runs: list[Run] = []

    def tell(seen: Seen) -> None:
        rows = seen.used.any(-1)
        if queries is not None:
            rows = rows & _masked(seen, queries, "queries")[:, None]
        rows = rows.to(seen.logits)
        keys = None if region is None else _masked(seen, region, "region").to(rows)
        runs.append(Run(seen, rows / rows.sum((0, 2), keepdim=True).clamp(min=1), keys))

    observe(model, model.query_keys()[first:], inputs, tell)
    return runs


def compared(
    model: AttentionModel, inputs: Any, before: list[Run]
) -> tuple[dict[int, tuple[Tensor, Tensor | None]], Tensor]:
    """Variation against ``before``, and mass, of each layer by its number among those, and the model's outputs.

    One pass, without the check that the layers have had. Means where a layer runs often.
    """
    left = iter(before)
    found: dict[int, list[tuple[Tensor, Tensor | None]]] = {}

    def tell(path: str, logits: Tensor) -> None:
        run = next(left)
        weights = attention(replace(run.seen, logits=logits.reshape(run.seen.logits.shape)))
        found.setdefault(run.seen.number, []).append((run.variation(weights), run.mass(weights)))

    with logits_of(model.model, {run.seen.record.name for run in before}, tell):
        (tokens,) = model.tokens(doubled(inputs))
    if takes_texts(model):  # what padding gets does not matter
        tokens = tokens.masked_fill(~model.seen(inputs).to(tokens.device)[..., None], 0)
    means = {n: (_mean(v for v, _ in runs), _mean(m for _, m in runs)) for n, runs in sorted(found.items())}
    return means, tokens


def _mean(values: Any) -> Any:
    """Mean of tensors; None where these are None."""
    given = list(values)
    return None if given[0] is None else torch.stack(given).mean(0)


def mass_of(runs: list[Run], number: int) -> Tensor:
    found: Tensor = _mean(run.mass(attention(run.seen)) for run in runs if run.seen.number == number)
    return found


def _masked(seen: Seen, mask: Tensor, name: str) -> Tensor:
    """A mask over the tokens of a layer, in its windows."""
    if mask.shape != seen.tokens.shape[:2]:
        raise InputError(
            f"{name} is {tuple(mask.shape)}, and {seen.record.name} sees {tuple(seen.tokens.shape[:2])} samples and "
            "tokens (prefix tokens included); give a mask of that shape"
        )
    return in_windows(seen.record, mask.to(seen.tokens.device))
