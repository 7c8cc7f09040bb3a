"""One pass of a backbone over many samples, in search of those that excite each mode most."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..checks import as_list, check_backbone, check_flag, check_whole, takes_texts
from ..contracts import AttentionModel, Backbone, QueryKey, TextBackbone
from ..errors import InputError
from ..files import hash_tensors
from .examples import BY, SIGNS, Examples
from .inputs import entering
from .modes import Modes
from .projections import layer_tokens, num_prefix, paired
from .samples import chained
from .sinks import high_norm_tokens

__all__ = ["ExampleSearch"]

_BYTES = 168
"""Of a mode, for each sample that is kept: a score and three numbers, for each of three rankings and two signs."""

_MOST_BYTES = 8 * 2**30
"""That examples may take; while a batch is ranked they are there about three times."""


@dataclass(frozen=True)
class _Layer:
    """One layer of the search: ``directions`` are ``(2 heads modes, d)``, queries first."""

    record: QueryKey
    found: Modes
    directions: Tensor
    shape: tuple[int, int]


class ExampleSearch:
    """The samples that excite each mode most among those seen so far, batch by batch.

    `top_examples` is this in one call. Here the caller holds the loop: between any two batches ``found`` can be read,
    saved (`save_examples`), and given to a later search that goes on from there.

    Parameters
    ----------
    model, modes, per_mode, most_modes, context, high_norm
        See `top_examples`.
    begin : sequence of Examples, optional
        What an earlier search has found with the same model, modes and settings.

    Attributes
    ----------
    most_tokens : int or None
        Tokens of a text that the model takes; None where it takes no texts.
    filled : int
        Texts that have as many: they may have been cut.

    Raises
    ------
    InputError
        See `top_examples`; or ``begin`` was found with others.

    Examples
    --------
    >>> import headwise, torch
    >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, batch_first=True)
    >>> search = ExampleSearch(headwise.load_backbone(layer), per_mode=2)
    >>> for _ in range(3):
    ...     search.update(torch.randn(4, 5, 8))
    >>> search.num_samples, search.found[0].scores.shape  # ranking, attention head, mode, sign, place
    (12, torch.Size([3, 2, 4, 2, 2]))
    """

    def __init__(
        self,
        model: Backbone | TextBackbone | AttentionModel,
        *,
        modes: Sequence[Modes] | None = None,
        per_mode: int = 7,
        most_modes: int | None = None,
        context: int | None = None,
        high_norm: bool = False,
        begin: Sequence[Examples] | None = None,
    ) -> None:
        for needed in ("query_keys", "tokens"):
            check_backbone(model, needed)
        check_whole("per_mode", per_mode, least=1)
        check_whole("most_modes", most_modes, least=1, or_none=True)
        check_whole("context", context, least=1, or_none=True)
        check_flag("high_norm", high_norm)
        self._model: Any = model
        self._prefix, self._high_norm = num_prefix(model), high_norm
        self._layers = [_layer(record, found, most_modes) for record, found in paired(model, modes, context)]
        if not self._layers:
            raise InputError("there are no modes to look for examples of; leave modes out for those of all layers")
        each = _BYTES * sum(heads * count for heads, count in (layer.shape for layer in self._layers))
        if each * per_mode > _MOST_BYTES:
            raise InputError(
                f"{per_mode} samples for each of {each // _BYTES:,} modes take {each * per_mode / 2**30:,.1f} GiB, and "
                f"at most {_MOST_BYTES / 2**30:.0f} GiB are kept; give per_mode of at most {_MOST_BYTES // each}, "
                "or fewer modes (most_modes)"
            )
        origin = self._origin()
        self._found = [_none(layer, per_mode, origin) for layer in self._layers]
        if begin is not None:
            begin = as_list("begin", begin, Examples, "Examples, as an earlier search has found them")
            told, wanted = ([(e.layer, e.scores.shape, e.origin) for e in some] for some in (begin, self._found))
            if told != wanted:
                raise InputError(
                    "the examples to go on from were found with another model, other modes or other settings; give "
                    "those, or begin anew"
                )
            self._found = begin
        self.most_tokens: int | None = model.preprocessing.max_tokens if takes_texts(model) else None
        self.filled = 0

    @property
    def found(self) -> list[Examples]:
        """The examples of each layer."""
        return list(self._found)

    @property
    def num_samples(self) -> int:
        """Samples seen so far."""
        return self._found[0].num_samples

    @property
    def samples_hash(self) -> str:
        """Hash of the samples seen so far, in their order; empty where a search began that does not know."""
        return self._found[0].samples_hash

    @torch.no_grad()
    def update(self, inputs: Any) -> None:
        """Run the model on a preprocessed batch, and rank its samples among those before.

        It counts whole or not at all: where it is stopped, the batch was not seen.

        Raises
        ------
        InputError
            What the model does not take, a text longer than it takes, or tokens that are NaN or infinite.
        """
        self._check_length(inputs)
        entered = entering(self._model, inputs, [layer.found.layer for layer in self._layers])
        own = self._own(inputs)
        known = self.samples_hash or not self.num_samples
        seen = chained(self.samples_hash, inputs) if known else ""
        self._found = [
            replace(self._ranked(before, layer, tokens, own), samples_hash=seen)
            for before, layer, tokens in zip(self._found, self._layers, entered, strict=True)
        ]
        if self.most_tokens is not None:
            self.filled += int((inputs["attention_mask"].sum(1) >= self.most_tokens).sum())

    def _check_length(self, inputs: Any) -> None:
        if self.most_tokens is None:
            if isinstance(inputs, Mapping):
                raise InputError(
                    f"{self._model.name} is given a mapping, and it does not say which of its tokens are padding; give "
                    "a backbone of texts (its folder holds a tokenizer) or, of a module, a tensor"
                )
            return
        ids = inputs.get("input_ids") if isinstance(inputs, Mapping) else None
        if ids is not None and not isinstance(inputs.get("attention_mask"), Tensor):
            raise InputError(f"{self._model.name} is given texts without an attention_mask; preprocess(texts) has it")
        if ids is not None and ids.shape[1] > self.most_tokens:
            raise InputError(
                f"a text of {ids.shape[1]} tokens is given, and {self._model.name} takes {self.most_tokens}; "
                "preprocess(texts) cuts it there"
            )

    def _own(self, inputs: Any) -> Tensor | None:
        """Which tokens are of the sample itself ``(B, s)``, prefix tokens aside; None where all are."""
        if self.most_tokens is None:
            return None
        seen = self._model.seen(inputs)
        if not self._model.num_suffix_tokens:
            return seen
        return seen & (seen.flip(1).cumsum(1).flip(1) > self._model.num_suffix_tokens)

    def _ranked(self, before: Examples, layer: _Layer, tokens: Tensor, own: Tensor | None) -> Examples:
        x = tokens.flatten(1, -2).to(torch.promote_types(tokens.dtype, torch.float32))
        counted = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if own is None else own.to(x.device)
        bad = (counted & ~x.norm(dim=-1).isfinite()).any(1)
        if bool(bad.any()):
            number = before.num_samples + int(bad.int().argmax())
            raise InputError(
                f"tokens of sample {number} that enter {layer.record.name} hold NaN or infinity; repair it or leave it "
                "out"
            )
        high = high_norm_tokens(x, self._prefix, counted)
        counted = counted & ~(torch.arange(x.shape[1], device=x.device) < self._prefix)
        if not self._high_norm:
            counted = counted & ~high
        # Scores begin at 0, so that a token of zeros is as good as none.
        x = torch.where(counted[..., None], layer_tokens(x, layer.record, layer.found), 0)
        projected = layer.directions.to(x) @ x.mT  # (B, 2 heads modes, s): maxima run along what lies side by side
        (most, most_at), (least, least_at) = projected.max(-1), projected.min(-1)
        sides = torch.stack((most, -least), -1).clamp(min=0)
        places = torch.stack((most_at, least_at), -1).where(sides > 0, -1)
        # (2 sides, heads, modes, 2 signs, B)
        query, key = sides.cpu().unflatten(1, (2, *layer.shape)).movedim(0, -1)
        scores = torch.stack((query * key, query, key))
        best = _merged(before, scores, places.cpu().unflatten(1, (2, *layer.shape)).movedim(0, -1))
        return replace(best, left_out=before.left_out + (0 if self._high_norm else int(high.sum())))

    def _origin(self) -> str:
        """Hash of what decides the examples, beside the samples."""
        told = [
            getattr(self._model, "weights_hash", ""),
            self._prefix,
            self._high_norm,
            [(layer.found.layer, layer.found.norm_folded) for layer in self._layers],
            hash_tensors({str(i): layer.directions for i, layer in enumerate(self._layers)}),
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _layer(record: QueryKey, found: Modes, most: int | None) -> _Layer:
    sides = [side[:, :most].detach() for side in (found.u, found.v)]
    heads, modes, _ = sides[0].shape
    return _Layer(record, found, torch.cat([side.flatten(0, 1) for side in sides]), (heads, modes))


def _none(layer: _Layer, count: int, origin: str) -> Examples:
    """No examples yet."""
    shape = (len(BY), *layer.shape, len(SIGNS), count)
    nobody = torch.full(shape, -1)
    return Examples(layer.found.layer, torch.zeros(shape), nobody, nobody, nobody, 0, origin=origin)


def _merged(before: Examples, scores: Tensor, places: Tensor) -> Examples:
    """The best of those before and of a batch: scores ``(3, heads, modes, 2, B)``, places of queries and of keys."""
    count, kept = scores.shape[-1], before.scores.shape[-1]
    every = torch.cat((before.scores, scores.to(before.scores)), -1)
    order = every.argsort(dim=-1, descending=True, stable=True)[..., :kept]  # of equal ones, the first stays first
    best = every.gather(-1, order)

    def chosen(old: Tensor, new: Tensor) -> Tensor:
        numbers = torch.cat((old, new.expand(*old.shape[:-1], count)), -1).gather(-1, order)
        return numbers.where(best > 0, -1)

    return replace(
        before,
        scores=best,
        samples=chosen(before.samples, before.num_samples + torch.arange(count)),
        query_places=chosen(before.query_places, places[0]),
        key_places=chosen(before.key_places, places[1]),
        num_samples=before.num_samples + count,
    )
