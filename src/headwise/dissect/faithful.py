"""Check that records and modes describe the logits that the model computes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import as_list, check_backbone
from ..contracts import AttentionModel, QueryKey
from ..errors import HeadwiseError, InputError
from .inputs import check_inputs, runs_on
from .logits import centred, mode_logits, record_logits
from .modes import Modes
from .running import doubled, in_float64, observed, outputs_of
from .seen import Seen, entering_tokens, output_tokens, seen_layer

__all__ = ["BOUND", "Faithful", "check", "observe"]

BOUND = 1e-6
"""Largest difference of row-centred logits that is accepted, as a share of their spread."""


@dataclass(frozen=True, repr=False)
class Faithful:
    """Differences between the logits that a model computes and those of its records (and modes).

    Attributes
    ----------
    names : tuple of str
        Path of each attention layer.
    differences : tuple of Tensor, each (heads,)
        For each layer and attention head, the largest difference of row-centred logits over their spread, float64.
    left_out : tuple of str
        Modules with a softmax over pairs of tokens that no record describes (pooling heads, cross-attention): nothing
        is known about them.
    outputs : tuple of float
        For each layer, the largest difference between its output with the model's own kernels and that behind the
        logits, over the output's root mean square.
    """

    names: tuple[str, ...]
    differences: tuple[Tensor, ...]
    left_out: tuple[str, ...] = ()
    outputs: tuple[float, ...] = ()

    def __repr__(self) -> str:
        return f"Faithful({len(self.names)} layers, logits within {self.largest:.1e} of their spread)"

    @property
    def largest(self) -> float:
        """The largest difference of all attention heads."""
        return max(float(d.max()) for d in self.differences)

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON: ``largest_difference``, ``outputs``, the ``bound`` of both and what was ``left_out``."""
        return {
            "largest_difference": self.largest,
            "outputs": max(self.outputs, default=None),
            "bound": BOUND,
            "left_out": list(self.left_out),
        }


def check(
    model: AttentionModel, records: Sequence[QueryKey], inputs: Any, found: Sequence[Modes] | None = None
) -> Faithful:
    """Compare logits made from records, on the tokens that enter each layer, with those that the model computes.

    The model runs in float64 and without fused kernels, and the arguments of its softmaxes are taken; their
    scale, norms, rotations and biases are the model's own. Both sides are centred over the keys that a token sees, for
    softmax cancels what depends on the query alone. Then it runs once more with its own kernels, whose outputs must be
    the same. Afterwards the model is as it was.

    Parameters
    ----------
    model : AttentionModel
        From `headwise.load_backbone`.
    records : sequence of QueryKey
        ``model.query_keys()``, or some of them.
    inputs : Tensor or mapping
        What the model takes: a preprocessed batch of images, or for text a mapping with ``input_ids``.
    found : sequence of Modes, optional
        The modes of each record, with the norm folded in, which are then compared as well.

    Returns
    -------
    Faithful

    Raises
    ------
    HeadwiseError
        A layer whose difference is above 1e-6 of the spread, or whose hidden pairs are not those of its record, by
        name: nothing may be reported about it.
    InputError
        A layer that these inputs do not run, or that computes no softmax; weights without numbers.

    Examples
    --------
    >>> import headwise, torch
    >>> from headwise.dissect import check
    >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> model = headwise.load_backbone(layer)
    >>> check(model, model.query_keys(), torch.randn(1, 5, 8)).largest < 1e-6
    True
    """
    return observe(model, records, inputs, lambda seen: None if found is None else found[seen.number])


def observe(
    model: AttentionModel, records: Sequence[QueryKey], inputs: Any, tell: Callable[[Seen], Modes | None]
) -> Faithful:
    """`check`, with ``tell`` called for each layer at work; the modes that it gives are compared."""
    check_backbone(model, "query_keys")
    records = as_list("records", records, QueryKey, "records, as model.query_keys() gives them")
    check_inputs(inputs)
    root = model.model
    by_name = {record.name: i for i, record in enumerate(records)}
    _check_paths(model, records)
    entered: dict[str, Tensor] = {}
    taken: dict[str, list[Tensor]] = defaultdict(list)
    outputs: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    differences: dict[str, Tensor] = {}
    left_out: dict[str, None] = {}
    readers: dict[str, QueryKey] = {(record.reads or record.name): record for record in records}

    def enters(path: str, record: QueryKey) -> Any:
        def keep(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            entered[path] = entering_tokens(record, args, kwargs)

        return keep

    def softmax(argument: Tensor, path: list[str]) -> None:
        inside = next((name for name in reversed(path) if name in by_name), None)
        if inside is not None:
            taken[inside].append(argument.detach())
        elif path and argument.ndim >= 3:
            left_out[path[-1]] = None

    def left(path: str, output: Any) -> None:
        if path not in by_name:
            return
        record = records[by_name[path]]
        logits = taken.pop(path, [])
        reads = record.reads or record.name
        if reads not in entered:
            raise HeadwiseError(
                f"the record of {path} does not describe its logits: {reads} runs after it and is no norm in front of "
                "it; nothing is reported"
            )
        got = record_logits(record, entered[reads])
        if len(logits) != 1:
            raise InputError(
                f"{path} took {len(logits)} softmaxes where one was expected, so its logits are not known; its "
                "attention is of a kind (a compiled or external kernel) that is not observed"
            )
        seen = seen_layer(by_name[path], record, entered[reads], logits[0], got)
        difference = _compare(seen, got, "the record of {} does")
        modes = tell(seen)
        if modes is not None:
            described = _compare(seen, mode_logits(modes, record, seen.tokens), "the modes of {} do")
            difference = torch.maximum(difference, described)
        # a layer that runs several times (shared weights) is as good as its worst time
        differences[path] = torch.maximum(difference, differences.get(path, difference))
        rows = seen.used.any(-1).any(1)
        outputs[path].append((rows, output_tokens(output, record)))

    inputs = doubled(inputs)
    with in_float64(root):
        with (
            observed(root, softmax, {path: enters(path, record) for path, record in readers.items()}, left),
            runs_on(model, inputs),
        ):
            model.tokens(inputs)
        missing = [record.name for record in records if record.name not in differences]
        if missing:
            raise InputError(
                f"these inputs do not run {missing[0]} ({len(missing)} layers in all); give inputs that do"
            )
        own = _compare_outputs(model, records, inputs, outputs)
    return Faithful(
        tuple(record.name for record in records), tuple(differences[r.name] for r in records), tuple(left_out), own
    )


def _compare(seen: Seen, side: Tensor, subject: str) -> Tensor:
    """Largest difference of each attention head ``(heads,)``, at most `BOUND`."""
    wanted = centred(seen.logits, seen.used)
    spread = (wanted.square().sum((0, 2, 3)) / seen.used.sum((0, 2, 3)).clamp(min=1)).sqrt()
    # logits that are all but constant have no spread of their own: rounding is not a difference
    largest = seen.logits.masked_fill(~seen.used, 0).abs().amax((0, 2, 3))
    spread = torch.maximum(spread, (1e-6 * largest).clamp(min=1e-12))
    off = (centred(side, seen.used) - wanted).abs().amax((0, 2, 3)) / spread
    head = int(off.nan_to_num(torch.inf).argmax())
    if not float(off[head]) <= BOUND:
        name = seen.record.name
        raise HeadwiseError(
            f"{subject.format(name)} not describe its logits: they differ by {float(off[head]):.1e} of "
            f"their spread in attention head {head} (at most {BOUND:g} is accepted), so nothing is reported; "
            "please send the name of the model"
        )
    return off


def _compare_outputs(
    model: AttentionModel,
    records: Sequence[QueryKey],
    inputs: Any,
    outputs: dict[str, list[tuple[Tensor, Tensor]]],
) -> tuple[float, ...]:
    """Outputs of the layers with the model's own kernels against those with the logits that were compared."""
    worst: dict[str, float] = {}
    by_name = {record.name: record for record in records}

    def left(path: str, output: Any) -> None:
        rows, wanted = outputs[path].pop(0)
        got = output_tokens(output, by_name[path])
        if rows.shape == got.shape[:2]:  # what padding gets does not matter
            wanted, got = wanted[rows], got[rows]
        size = wanted.square().mean().sqrt().clamp(min=1e-12)
        off = float(((got - wanted).abs().max() / size).nan_to_num(torch.inf))
        if off > BOUND:
            raise HeadwiseError(
                f"{path} gives other outputs with its own kernel than with the logits that were compared: they differ "
                f"by {off:.1e} of their size (at most {BOUND:g} is accepted), so nothing is reported; please send the "
                "name of the model"
            )
        worst[path] = max(off, worst.get(path, 0.0))

    with outputs_of(model.model, by_name, left):
        model.tokens(inputs)
    return tuple(worst[record.name] for record in records)


def _check_paths(model: AttentionModel, records: Sequence[QueryKey]) -> None:
    paths = {name for name, _ in model.model.named_modules()}
    for record in records:
        for path in (record.name, record.reads):
            if path not in paths and path:
                raise InputError(f"{model.name} has no module {path}; are these its own records?")
