"""The model card of a head: what it is, what is proved of it, how to use it, in Markdown."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from numbers import Real
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import Tensor

from ..checks import told
from ..errors import InputError
from ..version import __version__
from .facts import layout_words
from .head import Head
from .relu_head import ReluModule

__all__ = ["check_card", "model_card"]

NAMED = 20  # classes that are listed; a thousand names help nobody


def check_card(license: Any, metrics: Any) -> None:
    """Refuse what no card can say.

    Raises
    ------
    InputError
        A license that is no text, or metrics that are no mapping of names to finite numbers.

    Examples
    --------
    >>> check_card("mit", {"accuracy": 0.93})
    """
    if license is not None and not (isinstance(license, str) and license.strip()):
        raise InputError(f"license must be a text such as 'apache-2.0', or None, got {told(license)}")
    if metrics is None:
        return
    if not isinstance(metrics, Mapping):
        raise InputError(f"metrics must map names to numbers, such as {{'accuracy': 0.93}}, got {told(metrics)}")
    for name, value in metrics.items():
        # an array without dimensions is a number
        plain: Any = value.tolist() if isinstance(value, (np.ndarray, Tensor)) else value
        number = isinstance(plain, Real) and not isinstance(plain, (bool, np.bool_))
        if not isinstance(name, str) or not number or not math.isfinite(plain):
            raise InputError(f"metrics must map names to finite numbers, got {told(value)} for {told(name)}")


def model_card(
    head: Head, repo_id: str | None = None, license: str | None = None, metrics: Mapping[str, float] | None = None
) -> str:
    """Markdown with a YAML front matter as the Hugging Face hub reads it.

    Parameters
    ----------
    head : Head
    repo_id : str, optional
        Where the head can be loaded from; a folder otherwise.
    license : str, optional
        For example "apache-2.0". The card leaves it open otherwise.
    metrics : mapping, optional
        Names and values that the user measured.

    Examples
    --------
    >>> import numpy as np
    >>> from headwise.heads import HeadClassifier
    >>> X, y = np.random.default_rng(0).normal(size=(20, 3, 4)), np.repeat([0, 1], 10)
    >>> card = model_card(HeadClassifier("linear", beta=0.1).fit(X, y).head_)
    >>> card.splitlines()[:2]
    ['---', 'library_name: headwise']
    """
    facts, records = head.facts, head.records()
    certificate = head.certificate if "certificate.json" in records else None
    names = list(map(str, head.class_names or head.classes or []))
    origin = facts.origin
    is_relu = isinstance(head, ReluModule)
    tags = ["headwise", *([] if is_relu else ["convex-optimization"]), *(["certified"] if certificate else [])]
    tags += sorted({spec.block for spec in head.specs})
    return _TEMPLATE.render(
        version=__version__,
        license=license,
        metrics={str(name): float(value) for name, value in (metrics or {}).items()},
        tags=tags,
        title="Head: " + " + ".join(head.part_words()),
        relu=is_relu,
        parts=[f"{words}, {spec.penalty} penalty" for words, spec in zip(head.part_words(), head.specs, strict=True)],
        loss=head.loss.get("name", "not known"),
        parameters=head.num_parameters,
        rank=head.rank,
        tokens=f"{layout_words(facts)}, {facts.width} features each",
        source=(
            f"{origin['backbone']}, {origin['at'].replace('block_', '')} of layer {origin['layer']} (from 0)"
            if origin
            else "not known (the tokens came from arrays)"
        ),
        origin=origin,
        texts=facts.of_texts,
        num_tokens=facts.num_tokens,
        width=facts.width,
        classes=names[:NAMED],
        num_classes=len(names),
        address=json.dumps(repo_id) + ", hub=True" if repo_id else '"FOLDER"',
        meaning=(
            f"probabilities of the {len(names)} classes" if names else "numbers, rates or probabilities, by the loss"
        )
        + (", for each token" if head.per_token else ""),
        certificate=certificate,
        best=_digits(certificate.dual, ROUND_FLOOR, 9) if certificate else None,
        own=_digits(certificate.primal, ROUND_CEILING, 9) if certificate else None,
        percent=_digits(100 * certificate.relative_gap, ROUND_CEILING, 2) if certificate else None,
        kind=_kind(certificate) if certificate else "",
        context=_context(certificate.context) if certificate else {},
        changed=head.changed,
        approximate=records.get("relu.json"),
    )


def _digits(value: float, rounding: str, digits: int) -> str:
    """Significant digits, rounded to the side that keeps a bound true."""
    return f"{Context(prec=digits, rounding=rounding).create_decimal(value):g}"


def _kind(certificate: Any) -> str:
    if certificate.kind == "exact":
        return "The bound is exact: computed in float64 with a rounding margin, no chance is involved."
    return (
        "The bound was computed from random starts; the probability that it is false is at most "
        f"{certificate.failure_probability:.1e}."
    )


def _context(context: Mapping[str, Any]) -> dict[str, str]:
    """Hashes and versions of a certificate, under names for people."""
    names = {"tokens": "tokens (fingerprint)", "rows": "training rows (SHA-256)", "head": "head (fingerprint)"}
    found = {name: str(context[key]) for key, name in names.items() if context.get(key)}
    gates = [f"{gate['count']} {gate['family']}, seed {gate['seed']}" for gate in context.get("gates") or [] if gate]
    if gates:
        found["gates"] = "; ".join(gates)
    if context.get("versions"):
        found["versions"] = ", ".join(f"{name} {value}" for name, value in context["versions"].items())
    return found


def _escaped(text: Any) -> str:
    """Text as Markdown and HTML show it, on one line: names from data are only names."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", line)


def _code(text: str) -> str:
    """A literal that cannot end the block of code around it."""
    return text.replace("`", "\\u0060")


_ENVIRONMENT = Environment(
    loader=PackageLoader("headwise.heads"),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=StrictUndefined,
    autoescape=False,  # Markdown: the filter md escapes what is not our own
)
_ENVIRONMENT.filters |= {"md": _escaped, "json": lambda value: json.dumps(value, ensure_ascii=True), "code": _code}
_TEMPLATE = _ENVIRONMENT.get_template("card.md.j2")
