"""A true ReLU head from a gated one, by cone decomposition: approximate, never certified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contracts import GateValues, PairGate, Progress, TokenSource
from ..errors import InputError
from ..solvers import Certificate, Factors, cone_difference
from ..tokens import view_rows
from .content import same_tokens
from .fitted_part import Cell, FittedPart
from .head import Head
from .inputs import source_of
from .relu_head import ReluHead, ReluModule

__all__ = ["check_cones", "check_relu", "relu"]

LIMIT = 5_000_000  # numbers in the constraints of a cone (40 MB): seconds for each atom
AGREE = 1e-8  # what the outputs on the training tokens may differ by, relative to their size
NOTE = "of the gated problem; the ReLU head is approximate and has no certificate"


def relu(head: Any, X: Any, mask: Any = None, *, progress: Progress | None = None) -> ReluHead:
    """Turn a gated head into a ReLU head with the same outputs on its training tokens, on small data.

    Every atom (u, v) under a gate D becomes the two ReLU atoms (a, v) and (b, -v) with ``u = a - b``, where a and b lie
    in the gate's cone: their scores are nowhere negative where D is 1 and nowhere positive where it is 0, on any
    training token. Of all such pairs it takes the one with the least ``|a| + |b|``. On other tokens the head is an
    ordinary ReLU network, and its outputs are not those of the gated head.

    Parameters
    ----------
    head : Head, HeadClassifier, HeadRegressor or their CV forms
        With gates that are activation patterns: "gaussian" ones, or others of zeros and ones that scores of the block
        can have. Parts without gates stay as they are.
    X : array or Tensor ``(n, s, d)`` or ``(n, d)``, or TokenStore
        The tokens that the head was fitted on. Labels are not needed: the outputs stay, so the loss does.
    mask : array of bool, shape (n, s), optional
        As in the fit.
    progress : callable, optional
        Told of every atom, each of which may take seconds; see `headwise.contracts.Progress`.

    Returns
    -------
    ReluHead
        The module, the objectives of both heads, and the certificate of the gated one.

    Raises
    ------
    InputError
        The head has no gates, or other gates than patterns of zeros and ones; a cone has more than 5,000,000 numbers
        (scores of the training tokens times numbers in u); an atom is no difference of members of its cone, which then
        has an empty interior; or the tokens are not those that the head was fitted on.

    Notes
    -----
    Sahiner et al., arXiv 2205.08078; the cone decomposition is that of Mishkin, Sahiner and Pilanci, arXiv 2202.01331.
    The ReLU problem itself is not convex in this form, and hard for several outputs: the value here is approximate.

    Examples
    --------
    >>> import numpy as np
    >>> import headwise, torch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(20, 3, 2))
    >>> y = np.maximum(X[:, :, 0], 0).mean(1)
    >>> model = headwise.HeadRegressor("mlp", beta=1e-2, gate="gaussian", num_gates=20, condition=False).fit(X, y)
    >>> found = headwise.relu(model, X)
    >>> bool(found.objective >= found.gated_objective)
    True
    >>> outputs = found.module(torch.from_numpy(X)).detach().numpy()
    >>> bool(np.allclose(outputs[:, 0], model.predict(X)))
    True
    """
    gated = check_relu(head)
    source, rows, claimed = _training(gated, X, mask)
    parts, us, vs, at = [], list[Tensor](), list[Tensor](), 0
    factors = gated.factors()
    tell = _Counted(progress, sum(len(u) for part in gated._parts() if part.spec.family for u in part.u))
    for part in gated._parts():
        fitted, count = part.fitted, len(part.u)
        u, v = factors.u[at : at + count], factors.v[at : at + count]
        at += count
        if part.spec.family is not None:
            u, v = _relu_atoms(fitted, source, rows, u, v, tell)
            fitted = replace(fitted, cells=tuple(replace(cell, gates=None) for cell in fitted.cells))
        parts.append(fitted)
        us += u
        vs += v
    module = ReluModule(
        parts,
        Factors(us, vs, factors.intercept),
        gated.classes,
        gated.facts,
        training=gated.training_data,
        loss=gated.loss,
        fit_intercept=gated.fit_intercept,
    )
    module.class_names = gated.class_names
    wanted, found = gated.outputs(source, rows), module.outputs(source, rows)
    apart, size = float((found - wanted).abs().max()), max(1.0, float(wanted.abs().max()))
    if not apart <= AGREE * size:
        raise InputError(
            f"the outputs of the ReLU head and of the gated head differ by {apart:.1e} on the training tokens: cones "
            "of these gates are too thin for float64; take another gate_seed, or fit on fewer samples"
        )
    grown = claimed.beta * (_half_squares(us, vs) - _half_squares(factors.u, factors.v))
    certificate = replace(claimed, context={**claimed.context, "about": NOTE})
    made = ReluHead(module, claimed.primal + grown, claimed.primal, certificate)
    module.record = made.to_dict()
    return made


def check_relu(head: Any) -> Head:
    """The gated head of an estimator or a head, refused where no tokens are needed to see that `relu` cannot take it.

    Raises
    ------
    InputError
        It is no fitted head with gates, has no certificate or training rows, or its cones are too large.
    """
    gated = head if isinstance(head, Head) else getattr(head, "head_", None)
    if isinstance(gated, ReluModule):
        raise InputError("this is a ReLU head already; give the gated head that it was made from")
    if not isinstance(gated, Head):
        raise InputError(f"relu takes a fitted head or estimator with gates, got {type(head).__name__}")
    parts = [part for part in gated._parts() if part.spec.family is not None]
    if not parts:
        raise InputError(
            "this head has no gates, so there is no activation to replace; fit one with gate='gaussian' first"
        )
    if gated.per_token:
        raise InputError("every token has outputs of its own in this head; the cone decomposition is for pooled ones")
    claimed, training = gated.certificate, gated.training_data
    if claimed is None or training is None:
        raise InputError("this head carries no certificate or no training rows; give one that was fitted by headwise")
    if gated.changed:
        raise InputError(
            "the head is not that of its certificate: a changed or float32 copy; give the estimator or its head_"
        )
    for part in parts:
        check_cones(part.fitted, len(training.rows) * claimed.context.get("views", 1))
    return gated


def _training(head: Head, X: Any, mask: Any) -> tuple[TokenSource, np.ndarray, Certificate]:
    """The tokens and rows that a head was fitted on (each view a row of its own), and its certificate."""
    source = source_of(head.facts, X, mask)
    head.check_source(source)
    claimed, training = head.certificate, head.training_data
    assert claimed is not None and training is not None
    if not same_tokens(claimed.context.get("tokens"), source):
        raise InputError("these are not the tokens that the head was fitted on (their fingerprint differs)")
    return *view_rows(source, training.rows, claimed.context.get("views", 1)), claimed


class _Counted:
    """Tells of one more atom at a time."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self) -> None:
        self.done += 1
        if self.progress:
            self.progress("split atoms into ReLU pairs", self.done, self.total)


def _half_squares(us: Sequence[Tensor], vs: Sequence[Tensor]) -> float:
    return sum(float(x.square().sum()) for x in (*us, *vs)) / 2


def _relu_atoms(
    part: FittedPart,
    source: TokenSource,
    rows: np.ndarray,
    us: Sequence[Tensor],
    vs: Sequence[Tensor],
    tell: _Counted,
) -> tuple[list[Tensor], list[Tensor]]:
    """ReLU atoms of each channel group, from those of each group and gate."""
    new_us, new_vs, at = [], [], 0
    for cell in part.cells:
        assert cell.gates is not None
        count = cell.gates.count
        used = [g for g in range(count) if len(us[at + g])]
        scores, patterns = _score_map(part, cell, source, rows, used)
        own_us, own_vs = [us[at][:0]], [vs[at][:0]]
        for gate, signs in zip(used, patterns, strict=True):
            normals = scores * signs[:, None]
            for number, (u, v) in enumerate(zip(us[at + gate], vs[at + gate], strict=True)):
                pair = cone_difference(normals, u.flatten().numpy(force=True))
                if pair is None:
                    raise InputError(
                        f"atom {number} of gate {gate} of '{part.spec}' is no difference of two vectors with that "
                        f"gate's pattern on the {len(scores):,} scores of the training tokens: the gate's cone has an "
                        "empty interior (or is too thin for float64); take gate='gaussian', another gate_seed, or "
                        "fewer samples"
                    )
                for atom, sign in zip(pair, (1, -1), strict=True):
                    norm = float(np.linalg.norm(atom))
                    if norm:
                        scale = (float(v.norm()) / norm) ** 0.5
                        own_us.append(torch.from_numpy(atom * scale).view(1, *u.shape).to(u))
                        own_vs.append(v[None] * (sign / scale))
                tell()
        new_us.append(torch.cat(own_us))
        new_vs.append(torch.cat(own_vs))
        at += count
    return new_us, new_vs


def check_cones(part: FittedPart, num_samples: int) -> None:
    """Refuse a gated part whose cones on that many training samples are too large; its tokens are not needed.

    Raises
    ------
    InputError
        A cone has more than 5,000,000 numbers.
    """
    for cell in part.cells:
        block, size = cell.block, int(np.prod(cell.block.u_shape))
        width = len(range(part.shape.width)[cell.features])
        shape = block.scores(torch.zeros(1, part.shape.num_tokens, width), torch.zeros(block.u_shape)).shape
        counted = num_samples * shape.numel() // (shape[1] if part.spec.pooling == "class" else 1)
        if counted * size > LIMIT:
            raise InputError(
                f"the cone of a gate of '{part.spec}' has {counted:,} constraints (scores of the training tokens) on "
                f"{size:,} numbers, {counted * size:,} in all; the cone decomposition takes up to {LIMIT:,}: fit on "
                "fewer samples or tokens, or with a smaller n_components"
            )


def _score_map(
    part: FittedPart, cell: Cell, source: TokenSource, rows: np.ndarray, gates: Sequence[int]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The linear map from u to the scores of the training tokens, its rows of length one, and each gate as signs.

    Scores of tokens that the pooling leaves out, and those that no u can change (padding), are left out.
    """
    block, size = cell.block, int(np.prod(cell.block.u_shape))
    basis = torch.eye(size, dtype=torch.float64, device="cpu").view(size, *block.u_shape)
    kept, signs = [], [list[np.ndarray]() for _ in gates]
    for _, tokens in source.chunks(rows):
        matrices = [m for m in part.matrices(replace(tokens, values=tokens.values.double())) if m.cell is cell]
        own, pooling = matrices[0].values, matrices[0].pooling
        assert pooling is not None, "relu heads are pooled"
        scores = torch.stack([block.scores(own, u) for u in basis], dim=-1)
        norms = scores.norm(dim=-1)
        seen = (pooling.view(*pooling.shape, *(1,) * (norms.ndim - 2)) > 0) & (norms > 0)
        kept.append((scores[seen] / norms[seen][:, None]).numpy())
        for gate, held in zip(gates, signs, strict=True):
            held.append(2 * _pattern(part, matrices[gate].gate, norms)[seen].numpy() - 1)
    return np.concatenate(kept), [np.concatenate(held) for held in signs]


def _pattern(part: FittedPart, found: GateValues | None, like: Tensor) -> Tensor:
    """Mask of a gate, zeros and ones in the shape of the block's scores."""
    assert found is not None
    mask = found.mask() if isinstance(found, PairGate) else found
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise InputError(
            f"gates of '{part.spec}' have values other than 0 and 1: they are not patterns of a ReLU; fit with "
            "gate='gaussian'"
        )
    return mask.double().view(*mask.shape, *(1,) * (like.ndim - mask.ndim)).expand_as(like)
