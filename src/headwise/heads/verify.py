"""Check a stored certificate from the saved weights and the tokens alone."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..contracts import TokenSource
from ..errors import InputError
from ..losses import LOSSES
from ..solvers import Certificate, certify
from ..tokens import ArrayData, TokenStore, num_views, view_rows
from .content import array_source, open_arrays, same_tokens
from .fitting import build_problem
from .head import Head
from .inputs import as_labels, names_of, source_of
from .parts import output_rows
from .relu_head import ReluModule
from .save import as_head
from .targets import bind, encode
from .token_labels import as_token_labels, encode_tokens, seen_tokens

__all__ = ["Verification", "verify"]

_ARRAYS = (
    "; this store keeps {}, and a head that was fitted on arrays is verified on those numbers, to the last digit: give "
    "the file of the arrays, or headwise.verify(head, tokens, labels) in Python"
)
_STORES = (
    "; these are {} arrays: a head that was fitted on a token store is verified on that store, one that was fitted on "
    "arrays on those numbers in the type that they had"
)
SLACK = 1e-9  # of the objective: what two orders of summation may differ by


@dataclass(frozen=True)
class Verification:
    """Outcome of `verify`.

    Attributes
    ----------
    holds : bool
    claimed, found : Certificate
        The stored certificate, and the one computed now (None where the tokens are not those of the claim).
    reasons : tuple of str
        Why it does not hold.
    """

    holds: bool
    claimed: Certificate
    found: Certificate | None
    reasons: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Verification({self})"

    def __str__(self) -> str:
        if self.holds:
            return f"the claim holds: {self.found}"
        return f"the claim does not hold: {'; '.join(self.reasons)} (claimed: {self.claimed})"


def verify(head: Any, tokens: Any, labels: ArrayLike | None = None, mask: Any = None) -> Verification:
    """Recompute a head's certificate in float64 and compare it with the stored claim.

    Parameters
    ----------
    head : Head, fitted estimator or path
        A head with its certificate and training rows, or its folder.
    tokens : TokenSource, path of a store or of a file of arrays, array or Tensor ``(n, s, d)`` or ``(n, d)``
        The tokens it was fitted on. The content of a store is hashed again; one that keeps the numbers of an array
        whole (in its type: ``dtype="float64"``) may stand for it.
    labels : array, shape (n,) or (n, outputs), optional
        Labels of all samples, where ``tokens`` is neither a store nor a file with labels; of their tokens, ``(n, s)``,
        where the head has outputs of each.
    mask : array of bool, shape (n, s), optional
        The mask of an array.

    Returns
    -------
    Verification
        ``holds`` is True where tokens, rows and head are those of the claim and the gap found is no larger than the gap
        claimed (up to 1e-9 of the objective).

    Raises
    ------
    InputError
        There is nothing to verify: no certificate, no training rows, or no labels; or the certificate's numbers are
        none; or the tokens have another number or width.

    Examples
    --------
    >>> import headwise, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(40, 5, 4)), np.repeat([0, 1], 20)
    >>> headwise.verify(headwise.HeadClassifier("linear", beta=0.1).fit(X, y), X, y).holds
    True
    """
    head = as_head(head)
    if isinstance(head, ReluModule):
        raise InputError(
            "this is a ReLU head: its objective is approximate and it has no certificate; the one in its relu.json is "
            "that of the gated problem: verify the gated head that it was made from"
        )
    claimed, training = head.certificate, head.training_data
    if claimed is None or training is None:
        raise InputError("this head carries no certificate or no training rows; there is no claim to verify")
    _check_claim(claimed)
    source, own = _opened(head, tokens, mask)
    labels = own if labels is None else labels
    head.check(source.num_tokens, source.width)
    if said := head.facts.differs(source):
        return Verification(False, claimed, None, (said,))
    reasons: list[str] = []
    if isinstance(source, TokenStore):
        try:
            source.verify_content()
        except InputError as error:
            reasons.append(str(error))
    if labels is None:
        raise InputError("labels are needed where the tokens are neither a store nor a file of arrays")
    context = claimed.context
    if not same_tokens(context.get("tokens"), source):
        if isinstance(source, TokenStore):  # tokens of a backbone are in one; of others it is not known where they were
            hint = "" if head.facts.origin else _ARRAYS.format(source.manifest.dtype)
        else:
            hint = _STORES.format(str(next(iter(source.chunks(size=1)))[1].values.dtype).removeprefix("torch."))
        reasons.append(f"the tokens are not those of the certificate (their fingerprint differs){hint}")
    rows = np.ascontiguousarray(training.rows, dtype=np.int64)
    if context.get("rows") != hashlib.sha256(rows.tobytes()).hexdigest():
        reasons.append("the training rows are not those of the certificate")
    if head.changed:
        reasons.append(
            "the head (weights, conditioning, gates or settings) is not that of the certificate: it was changed, or is "
            "a copy in another type (to_module gives float32)"
        )
    names = None if head.classes is None else names_of(np.asarray(head.classes), source)
    if names is not None and head.class_names not in (None, names):
        reasons.append(f"the head's class names {head.class_names} are not those of the store, {names}")
    if len(rows) and (int(rows.max()) >= source.num_samples or int(rows.min()) < 0):
        return Verification(False, claimed, None, (*reasons, "the training rows lie outside the store"))
    views = context.get("views", 1)  # certificates of the first days know of view 0 alone
    if views not in (1, num_views(source)):
        return Verification(False, claimed, None, (*reasons, f"{views!r} views are claimed, {num_views(source)} there"))
    every, each = np.arange(source.num_samples), output_rows(head.specs, source)
    if each is None:
        values = as_labels(labels, source, every, LOSSES.get(head.loss["name"]).kind)
    else:
        values = as_token_labels(labels, source, every, each)
    try:
        found = _recompute(head, source, rows, values, claimed, views)
    except InputError as error:
        return Verification(False, claimed, None, (*reasons, str(error)))
    slack = SLACK * max(abs(claimed.primal), 1.0)
    if claimed.kind == "probabilistic":
        slack += 0.05 * claimed.gap  # a fresh random start moves the bound a little
    if not found.gap <= claimed.gap + slack:
        reasons.append(f"the gap found is {found.gap:.6g}, the gap claimed {claimed.gap:.6g}")
    if not claimed.dual <= found.dual + slack or not abs(claimed.primal - claimed.dual - claimed.gap) <= slack:
        reasons.append(f"the lower bound found is {found.dual:.9g}, the bound claimed {claimed.dual:.9g}")
    if claimed.failure_probability * (1 + 1e-9) < found.failure_probability:
        reasons.append(
            f"the bound found may fail with probability {found.failure_probability:.1e}, "
            f"{claimed.failure_probability:.1e} is claimed"
        )
    if claimed.num_samples != found.num_samples:
        reasons.append(f"the head has {found.num_samples} training samples, {claimed.num_samples} claimed")
    if abs(found.primal - claimed.primal) > SLACK * max(abs(claimed.primal), 1.0):
        reasons.append(f"the objective found is {found.primal:.9g}, the objective claimed {claimed.primal:.9g}")
    if found.relative_gap > claimed.relative_gap * (1 + 1e-6) + SLACK:
        reasons.append(f"the relative gap found is {found.relative_gap:.3g}, claimed {claimed.relative_gap:.3g}")
    return Verification(not reasons, claimed, found, tuple(reasons))


def _opened(head: Head, tokens: Any, mask: Any) -> tuple[TokenSource, Any]:
    """Tokens in the layout of a head, with their own labels where they have some, as the head was given them."""
    data = open_arrays(tokens)
    source = array_source(head.facts, data) if isinstance(data, ArrayData) else source_of(head.facts, data, mask)
    kept = data if isinstance(data, ArrayData) else source if isinstance(source, TokenStore) else None
    if kept is None:
        return source, None
    if head.classes and kept.class_names and all(isinstance(name, str) for name in head.classes):
        return source, np.asarray(kept.class_names)[kept.labels]  # a head that was fitted on texts, kept as codes
    return source, kept.labels


def _check_claim(claimed: Certificate) -> None:
    """Refuse a certificate that could not be compared: NaN is neither above nor below anything."""
    if claimed.kind not in ("exact", "probabilistic"):
        raise InputError(f"the certificate's kind is {claimed.kind!r}; 'exact' or 'probabilistic' is needed")
    for name in ("primal", "dual", "gap", "relative_gap", "beta", "failure_probability"):
        value = getattr(claimed, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InputError(f"the certificate's {name} is {value!r}; a finite number is needed")
    if claimed.beta <= 0 or not 0 <= claimed.failure_probability <= 1:
        raise InputError("the certificate's beta must be positive and its failure probability lie between 0 and 1")


def _recompute(
    head: Head, source: TokenSource, rows: np.ndarray, labels: np.ndarray, claimed: Certificate, views: int
) -> Certificate:
    options = {k: v for k, v in head.loss.items() if k not in ("name", "num_outputs")}
    name = head.loss["name"]
    classes = None if head.classes is None else np.asarray(head.classes)
    kind, each = LOSSES.get(name).kind, output_rows(head.specs, source)
    if each is None:
        targets = encode(kind, labels[rows], classes)
    else:
        targets = encode_tokens(kind, labels[rows], seen_tokens(source, rows, each), classes)
    loss = bind(name, targets, head.training_data.weights if head.training_data else None, options, views)
    parts = [part.fitted for part in head._parts()]
    problem = build_problem(*view_rows(source, rows, views), loss, parts, head.fit_intercept)
    # a fit to tol allows its probabilistic bound tol / 2: half the gap that it reached is no looser
    epsilon = min(0.01, max(claimed.relative_gap / 2, 1e-9))
    probability = claimed.failure_probability / len(problem.parts) or 1e-9
    certificate, _ = certify(
        problem,
        head.factors(),
        claimed.beta,
        kind=claimed.kind,
        epsilon=epsilon,
        probability=probability,
        centre=False,
    )
    return replace(certificate, num_samples=len(rows))
