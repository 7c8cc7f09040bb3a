"""Modes removed from a running model, or scaled in it, by the weights of its queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ..checks import as_list, check_backbone, check_whole, told
from ..contracts import AttentionModel, QueryKey
from ..errors import InputError
from .modes import Modes, folded_weights, modes

__all__ = ["Edit", "Term", "added", "as_edits", "edited", "edited_modes", "mode_terms", "random_terms"]

Edit = tuple[int, int, int, float]
"""Layer, attention head and mode, from 0, and the factor of its singular value: 0 removes it."""

_NOTHING = 1e-12
"""Modes with a smaller share of the largest singular value are rounding: nothing is there to change."""


@dataclass(frozen=True)
class Term:
    """What is added to M of one attention head: ``strength u v^T``.

    Attributes
    ----------
    layer, head : int
    strength : float
    u, v : Tensor, shape (d,)
        Of unit length, in the span of the head's query directions and in that of its key directions.
    """

    layer: int
    head: int
    strength: float
    u: Tensor
    v: Tensor


@contextmanager
def edited(model: AttentionModel, edits: Sequence[Edit]) -> Iterator[None]:
    """Multiply singular values of single modes in a running model; afterwards it is as it was, bit for bit.

    Parameters
    ----------
    model : AttentionModel
        From `headwise.load_backbone`. Until the end of the context its own weights are the changed ones, so that
        whatever runs it (fused kernels, a head on top, your own code) runs the changed model.
    edits : sequence of (layer, head, mode, factor)
        Modes by their numbers in `headwise.dissect.modes`, with the norm folded in. A factor of 0 removes a mode, 1
        leaves it, 2 doubles it, -1 turns it against itself.

    Raises
    ------
    InputError
        No such layer, attention head or mode, one that is named twice, a factor that is no number; or a layer, by
        name, in which no change of the weights does this: rotary embeddings, norms of queries or keys, a record that
        leaves something out or that holds copies of the weights, or queries without a bias where one is needed.

    Notes
    -----
    With z the tokens at the layer's input over their spread, M changes by ``(factor - 1) sigma u v^T``, and the logits
    of a query i and a key j by ``scale (factor - 1) sigma (z_i . u)(z_j . v)``, up to a number of each query that
    softmax cancels; other attention heads do not change. The weights of the queries do it: with ``y`` and ``a`` in the
    attention head's own space, such that ``y`` reads ``z . u`` from the queries and ``a`` meets ``z . v`` in the keys,
    ``W_q`` becomes ``(1 + (factor - 1) sigma a y^T) W_q``; the query's bias takes back what y reads of the norm's
    shift. Biases by place, windows and grouped queries stay as they are. The precision is that of the weights.

    Examples
    --------
    >>> import headwise, torch
    >>> from headwise.dissect import edited, modes
    >>> model = headwise.load_backbone(torch.nn.MultiheadAttention(8, 2))
    >>> with edited(model, [(0, 1, 0, 0.0)]):
    ...     left = modes(model.query_keys()[0])
    >>> whole = modes(model.query_keys()[0])
    >>> torch.allclose(left.sigma[1, :3], whole.sigma[1, 1:], atol=1e-5), float(left.sigma[1, 3]) < 1e-5
    (True, True)
    """
    given = as_edits(edits)
    records, found = edited_modes(model, given)
    with added(model, records, mode_terms(found, given)):
        yield


def as_edits(edits: Any) -> list[Edit]:
    """Edits as a list, which may be gone through more than once."""
    given: list[Any] = as_list("edits", edits, object, "(layer, head, mode, factor)")
    for edit in given:
        if not isinstance(edit, Sequence) or isinstance(edit, str) or len(edit) != 4:
            raise InputError(f"an edit is (layer, head, mode, factor), got {told(edit)}")
    return given


def edited_modes(model: AttentionModel, edits: Sequence[Any]) -> tuple[list[QueryKey], dict[int, Modes]]:
    """Records of a model, and the modes of the layers that edits name, after a check of both."""
    check_backbone(model, "query_keys")
    records = model.query_keys()
    found: dict[int, Modes] = {}
    named: set[tuple[int, int, int]] = set()
    for layer, head, mode, factor in edits:
        for name, value in (("layer", layer), ("head", head), ("mode", mode)):
            check_whole(f"the {name} of an edit", value)
        if isinstance(factor, bool) or not isinstance(factor, Real) or not isfinite(factor):
            raise InputError(f"the factor of an edit must be a finite number (0 removes a mode), got {factor!r}")
        if layer >= len(records):
            raise InputError(f"layers are 0 to {len(records) - 1}, got {layer}")
        if layer not in found:
            _check_layer(records[layer])
            found[layer] = modes(records[layer])
        heads, count = found[layer].sigma.shape
        if head >= heads:
            raise InputError(f"layer {layer} has attention heads 0 to {heads - 1}, got {head}")
        if mode >= count:
            raise InputError(f"attention heads of layer {layer} have modes 0 to {count - 1}, got {mode}")
        if (layer, head, mode) in named:
            raise InputError(f"mode {mode} of attention head {head} in layer {layer} is edited twice; give one factor")
        named.add((layer, head, mode))
    if not named:
        raise InputError("no edits were given; an edit is (layer, head, mode, factor)")
    return records, found


def mode_terms(found: Mapping[int, Modes], edits: Sequence[Edit]) -> list[Term]:
    """What edits add to M of each attention head."""
    return [
        Term(
            layer,
            head,
            (float(factor) - 1) * float(found[layer].sigma[head, mode]),
            found[layer].u[head, mode],
            found[layer].v[head, mode],
        )
        for layer, head, mode, factor in edits
    ]


def random_terms(found: Mapping[int, Modes], terms: Sequence[Term], generator: torch.Generator) -> list[Term]:
    """Terms of the same strengths with random directions among those that each attention head reads.

    A direction is uniform on the unit sphere of the span of the head's query directions, or of its key directions,
    those without a singular value left out: a control that is as much at home in the head as its modes are.
    """

    def draw(directions: Tensor) -> Tensor:
        weights = torch.randn(len(directions), generator=generator, dtype=torch.float64).to(directions)
        return weights @ directions / weights.norm()

    made = []
    for term in terms:
        each = found[term.layer]
        there = _there(each.sigma[term.head])
        u, v = (draw(side[term.head][there]) for side in (each.u, each.v))
        made.append(Term(term.layer, term.head, term.strength, u, v))
    return made


@contextmanager
def added(model: AttentionModel, records: Sequence[QueryKey], terms: Sequence[Term]) -> Iterator[None]:
    """Add terms to M of attention heads while the context lasts; ``records`` are ``model.query_keys()`` of now."""
    places = sorted({(term.layer, term.head) for term in terms})
    writes: list[tuple[Tensor, Tensor]] = []
    for layer, head in places:
        own = [term for term in terms if (term.layer, term.head) == (layer, head)]
        writes += _writes(model, records[layer], head, own)
    kept = [(target, target.clone()) for target, _ in writes]
    try:
        for target, value in writes:
            target.copy_(value)
        yield
    finally:
        for target, value in kept:
            target.copy_(value)


def _there(sigma: Tensor) -> Tensor:
    return sigma > _NOTHING * sigma[0]


@torch.no_grad()
def _writes(model: AttentionModel, record: QueryKey, head: int, terms: Sequence[Term]) -> list[tuple[Tensor, Tensor]]:
    """Where the weight and the bias of the queries of an attention head lie in the model, and what comes there."""
    places = [tensor.detach()[head] for tensor in (record.query, record.query_bias) if tensor is not None]
    owned = {t.untyped_storage().data_ptr() for t in (*model.model.parameters(), *model.model.buffers())}
    if any(place.untyped_storage().data_ptr() not in owned for place in places):
        raise InputError(
            f"the record of {record.name} holds copies of its weights, so nothing can be written into the model; modes "
            "are edited where a record holds the model's own tensors"
        )
    query, key = (side[head] for side in folded_weights(record))
    u, v = (torch.stack([getattr(term, side) for term in terms]).to(query) for side in ("u", "v"))
    strengths = torch.tensor([term.strength for term in terms], dtype=query.dtype, device=query.device)
    weight = places[0].to(query)
    # y and a of the notes; a mode is in the span of what the head reads, where the pseudo-inverse is an inverse
    reads = (u @ torch.linalg.pinv(query)) @ weight  # (terms, d), of tokens behind the norm: z . u and a constant
    meets = (v @ torch.linalg.pinv(key)).mT * strengths  # (head_dim, terms)
    shift = None if record.input_norm is None else record.input_norm.bias
    if shift is None:
        return [(places[0], weight + meets @ reads)]
    constant = reads @ shift.detach().to(query)
    if len(places) > 1:
        return [(places[0], weight + meets @ reads), (places[1], places[1].to(query) - meets @ constant)]
    return [(places[0], weight + meets @ (reads - constant[:, None] * _steady(record).to(query)))]


def _steady(record: QueryKey) -> Tensor:
    """A direction whose product with every token behind a LayerNorm is 1, where queries have no bias of their own.

    Tokens x behind the norm have ``sum (x - shift) / gain = 0``.
    """
    norm = record.input_norm
    if norm is not None and norm.bias is not None and norm.kind == "layer":
        shift = norm.bias.detach().double()
        inverse = torch.ones_like(shift) if norm.weight is None else 1 / norm.weight.detach().double()
        total, size = float(inverse @ shift), float((inverse * shift).abs().sum())
        if isfinite(size) and abs(total) > 1e-6 * size:
            return inverse / total
    raise InputError(
        f"{record.name} has queries without a bias behind a norm that shifts its tokens, and nothing in them is the "
        "same for all tokens: a mode cannot be edited without the norm's shift"
    )


def _check_layer(record: QueryKey) -> None:
    """Refuse a layer whose logits are not those of M alone, or by more than what stands beside it."""
    found = {
        "rotary embeddings, so that M is another for each pair of places": record.rotary is not None,
        "a norm of its queries or keys, which divides each by a number of its token": record.q_norm is not None
        or record.k_norm is not None,
        f"{record.leaves_out}, which its record leaves out": bool(record.leaves_out),
    }
    what = next((name for name, there in found.items() if there), None)
    if what is not None:
        raise InputError(f"{record.name} has {what}; no change of its weights changes one mode and nothing else")
