"""From a dissection with its evidence to one page that is explored: attention heads, modes, what excites these."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ..errors import InputError
from . import fmt
from .check import check_study
from .colours import cell_style, diverging, sequential
from .packing import ALPHABET, Packed, compact, few_digits
from .render import environment
from .scale import linear
from .sections.dissection import view as map_view
from .words import EXPLORER_WORDS

__all__ = ["MAX_BYTES", "render_explorer"]

MAX_BYTES = 20 * 2**20
STEPS = 33  # colours of a scale

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Number:
    """A number of attention heads that the map can show; ``how`` it is written: "signed", "plain" or "percent".

    ``middle`` is what a scale of two colours is centred at; None for one colour from nothing on.
    """

    key: str
    name: str
    word: str
    how: str
    middle: float | None = None


NUMBERS = (
    Number("weighted_cosine", "weighted cosine", "weighted-cosine", "signed", 0.0),
    Number("mean_cosine", "mean cosine", "cosine", "signed", 0.0),
    Number("effective_rank", "effective rank", "effective-rank", "plain"),
    Number("sigma", "largest sigma", "sigma", "plain"),
    Number("symmetric_share", "symmetric share", "symmetric-share", "percent", 0.5),
    Number("content_share", "logits from content", "logit-shares", "percent"),
    Number("key_only_share", "logits from keys alone", "logit-shares", "percent"),
    Number("position_share", "logits from position", "logit-shares", "percent"),
    Number("turning_share", "logits from rotation", "logit-shares", "percent"),
    Number("prefix_mass", "attention on prefix tokens", "prefix-token", "percent"),
    Number("sink_mass", "attention on sinks", "sink", "percent"),
    Number("high_norm_mass", "attention on high-norm tokens", "high-norm", "percent"),
)

KINDS = {"prefix": "prefix tokens", "sink": "sinks", "high_norm": "tokens of high norm"}


def render_explorer(
    found: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None, max_bytes: int = MAX_BYTES
) -> str:
    """A dissection as one self-contained page: a map of attention heads, their spectra and modes, and evidence.

    The page loads nothing from anywhere. Its one script is part of it, and the page allows no other; everything that
    comes from the data is text, never markup. Where evidence does not fit, fewer examples of each mode are kept, then
    fewer modes, and the page says how many.

    Parameters
    ----------
    found : mapping
        ``format_version`` (1), ``title``, ``dissection`` (as `headwise.Dissection.to_dict` gives it, ``heads`` with
        it), and where there are any: ``about`` (the model, a sentence), ``created``, ``headwise_version``, ``command``,
        ``notes`` (sentences), ``evidence`` and ``vocabulary``. Evidence is a mapping: ``kind`` ("images" or "texts"),
        ``what`` was looked at (a sentence), ``layers`` (numbers), for how many ``modes`` of a head and in all how many
        ``examples`` there are, where that is more than is given, ``by`` (names of the orders of examples), ``names``
        of samples by their number as text, and the ``grid`` of the patches, or the ``tokens`` of each text. Vocabulary
        is a list of layers, of heads, of modes: mappings of ``query+``, ``query-``, ``key+``, ``key-`` to pairs of a
        word and its cosine.
    arrays : mapping of str to array
        For each layer i ``layer/i/sigma`` ``(heads, modes)``, ``layer/i/cosine`` ``(heads, modes with directions)`` and
        ``layer/i/subspace`` (the first mode of each mode's subspace). For a layer with evidence ``layer/i/samples`` (-1
        where there is none), ``scores``, ``starts`` (the first token of a map), all ``(orders, heads, modes, 2,
        examples)``, and ``queries`` and ``keys``: levels of `as_levels` with tokens as a last axis. Pictures are
        ``sample/n``, uint8 ``(H, W, 3)``.
    max_bytes : int
        Of the page.

    Returns
    -------
    html : str

    Raises
    ------
    InputError
        An unknown format version, an array that is missing, or a page that is too large without any evidence.

    Examples
    --------
    >>> row = {"layer": 0, "head": 0, "weighted_cosine": 0.3, "weighted_chance": 0.1, "chance": 0.2}
    >>> told = {"weighted_cosine": [[0.3]], "chance": 0.1, "names": ["attn"], "about": [""], "heads": [row]}
    >>> layer = {"sigma": [[2.0, 1.0]], "cosine": [[0.5, -0.1]], "subspace": [[0, 1]]}
    >>> arrays = {f"layer/0/{name}": np.array(values) for name, values in layer.items()}
    >>> page = render_explorer({"format_version": 1, "title": "mine", "dissection": told}, arrays)
    >>> page.startswith("<!doctype html>")
    True
    """
    check_study(found)
    arrays, told = arrays or {}, found["dissection"]
    packed = Packed(found.get("evidence"), found.get("vocabulary"), arrays)
    most = max((np.asarray(_array(arrays, i, "sigma")).shape[1] for i in range(len(told["names"]))), default=0)
    page = _Page(found, arrays, packed, most)
    room = max_bytes - page.size(0, 0, most)
    for examples, modes in packed.choices():
        if packed.size(examples, modes) <= room:
            made = page.html(examples, modes, most)
            if len(made.encode()) <= max_bytes:
                return made
    spectrum = most
    while spectrum > 1:
        spectrum = (spectrum + 1) // 2
        if page.size(0, 0, spectrum) <= max_bytes:
            return page.html(0, 0, spectrum)
    raise InputError(
        f"the page may take {_size(max_bytes)}, and without any evidence it takes {_size(page.size(0, 0, 1))}; give a "
        "larger size"
    )


class _Page:
    """The page of one dissection, with more or less in it."""

    def __init__(self, found: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], packed: Packed, most: int) -> None:
        self._found, self._arrays, self._packed, self._most = found, arrays, packed, most
        self._told = found["dissection"]
        self._rows = list(self._told["heads"])
        self._numbers = [n for n in NUMBERS if any(fmt.finite(row.get(n.key)) is not None for row in self._rows)]

    def size(self, examples: int, modes: int, spectrum: int) -> int:
        return len(self.html(examples, modes, spectrum).encode())

    def html(self, examples: int, modes: int, spectrum: int) -> str:
        """The page with so many examples of each mode and sign, modes with evidence, and modes of a spectrum."""
        evidence, samples, words = self._packed.written(examples, modes)
        told = compact(
            {
                "numbers": [_told(number, self._rows) for number in self._numbers],
                "layers": [
                    {"name": name, "about": about}
                    for name, about in zip(self._told["names"], self._told["about"], strict=True)
                ],
                "heads": [self._layer(i, spectrum) for i in range(len(self._told["names"]))],
                "ramps": _ramps(),
                "alphabet": ALPHABET,
                **self._about_evidence(),
            }
        )
        payload = f'{told[:-1]},"evidence":{evidence},"samples":{samples},"vocabulary":{words}}}'
        script = _source("explorer.js")
        view = map_view({"dissection": self._told}, {})
        page = environment().get_template("explorer.html.j2")
        found = self._found
        html: str = page.render(
            title=str(found.get("title") or "headwise dissect"),
            about=str(found.get("about") or ""),
            created=fmt.date(found["created"]) if found.get("created") else "",
            version=str(found.get("headwise_version") or ""),
            command=str(found.get("command") or ""),
            view=view,
            notes=[*map(str, found.get("notes") or ()), *self._left_out(examples, modes, spectrum)],
            numbers=self._numbers,
            words=sorted(((f"word-{k}", w, m) for k, (w, m) in EXPLORER_WORDS.items()), key=lambda each: each[1]),
            explorer_style=Markup(_source("explorer.css")),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            payload=Markup(payload),
            size=_SIZE,
        )
        return html.replace(_SIZE, _size(len(html.encode())))

    def _about_evidence(self) -> dict[str, Any]:
        evidence = self._found.get("evidence")
        if evidence is None:
            return {"kind": None, "what": "", "by": [], "grid": None, "evidenced": []}
        return {
            "kind": evidence["kind"],
            "what": str(evidence["what"]),
            "by": [str(name) for name in evidence["by"]],
            "grid": evidence.get("grid"),
            "evidenced": list(evidence["layers"]),
        }

    def _layer(self, layer: int, spectrum: int) -> list[dict[str, Any]]:
        sigma, cosine, subspace = (_array(self._arrays, layer, name) for name in ("sigma", "cosine", "subspace"))
        rows = [row for row in self._rows if row["layer"] == layer]
        return [
            {
                "values": [few_digits(row.get(number.key)) for number in self._numbers],
                "band": few_digits(row.get("weighted_chance"), 2),
                "closed": few_digits(row.get("weighted_band"), 2),
                "chance": few_digits(row.get("chance"), 2),
                "serves": _serves(row),
                "sigma": [few_digits(v) for v in sigma[head][:spectrum].tolist()],
                "cosine": [few_digits(v, 3) for v in cosine[head][:spectrum].tolist()],
                "of": [int(v) for v in subspace[head][:spectrum].tolist()],
                "total": few_digits(sigma[head].sum()),
                "all": int(sigma.shape[1]),
            }
            for head, row in enumerate(rows)
        ]

    def _left_out(self, examples: int, modes: int, spectrum: int) -> list[str]:
        packed, said, evidence = self._packed, [], self._found.get("evidence") or {}
        # there may be more than was given: what could not fit was never drawn
        most = packed.most_examples, max(packed.most_modes, evidence.get("modes", 0))
        if not modes and most[1]:
            said.append("no evidence of modes")
        elif modes < most[1]:
            said.append(f"evidence of the first {modes:,} modes of each attention head, of {most[1]:,}")
        if modes and examples < most[0]:
            said.append(f"at most {examples:,} examples of each mode and sign, of {most[0]:,}")
        if spectrum < self._most:
            said.append(f"the first {spectrum:,} modes of each spectrum, of {self._most:,}")
        if not said:
            return []
        kept, whole = packed.count(examples, modes), evidence.get("examples", packed.count(*most))
        shown, of = len(packed.samples(examples, modes)), len(packed.samples(*most))
        what = "images" if packed.pictures else "texts"
        told = f": {kept:,} of {whole:,} examples, of {shown:,} of {of:,} {what}" if whole else ""
        return [f"To keep this page within its size, it has {', and '.join(said)}{told}."]


_SIZE = "@SIZE-OF-THE-PAGE@"


def _size(count: int) -> str:
    return f"{count / 2**20:.1f}{fmt.THIN}MB" if count >= 2**20 else f"{max(1, round(count / 2**10))}{fmt.THIN}KB"


def _source(name: str) -> str:
    made = environment()
    assert made.loader is not None
    return made.loader.get_source(made, name)[0]


def _array(arrays: Mapping[str, NDArray[Any]], layer: int, name: str) -> NDArray[Any]:
    key = f"layer/{layer}/{name}"
    if key not in arrays:
        raise InputError(f"the dissection needs the array {key!r}, which was not given; pass it in arrays")
    return np.asarray(arrays[key])


def _told(number: Number, rows: Sequence[Row]) -> dict[str, Any]:
    """A number with the scales of its colours and of its axis."""
    known = [value for row in rows if (value := fmt.finite(row.get(number.key))) is not None]
    if number.middle is None:
        low, high = 0.0, max(known) if max(known) > 0 else 1.0
    else:
        # never finer than half a unit, so that noise does not shine
        reach = max(0.5, *(abs(value - number.middle) for value in known))
        low, high = number.middle - reach, number.middle + reach
    # what is a share is a share of 100
    factor = 100.0 if number.how == "percent" else 1.0
    around = [number.middle, 0.0] if number.middle == 0 else [0.0]
    axis = linear([factor * value for value in (*known, *around)])
    return {
        "key": number.key,
        "name": number.name,
        "word": number.word,
        "how": number.how,
        "ramp": "sequential" if number.middle is None else "diverging",
        "low": few_digits(low),
        "high": few_digits(high),
        "axis": [axis.low / factor, axis.high / factor],
        "ticks": [[tick / factor, label] for tick, label in zip(axis.ticks, axis.labels, strict=True)],
        "unit": " (%)" if number.how == "percent" else "",
    }


def _ramps() -> dict[str, Any]:
    places = np.linspace(0, 1, STEPS).tolist()
    ramps: dict[str, Any] = {}
    for name, colour in (("diverging", lambda t, theme: diverging(2 * t - 1, theme)), ("sequential", sequential)):
        light, dark = ([colour(t, theme) for t in places] for theme in ("light", "dark"))
        ramps[name] = {
            "cells": [cell_style(one, other) for one, other in zip(light, dark, strict=True)],
            "scale": f"--l:linear-gradient(90deg,{','.join(light)});--d:linear-gradient(90deg,{','.join(dark)})",
        }
    return ramps


def _serves(row: Row) -> str:
    """Which special tokens an attention head serves, and what of it does, as a sentence; empty where none."""
    kinds = [KINDS[kind] for kind in row.get("serves") or ()]
    if not kinds:
        return ""
    said = f"At least 30{fmt.THIN}% of its attention goes to {' and to '.join(kinds)}"
    by, share = row.get("served_by"), fmt.finite(row.get("served_share"))
    if not by or share is None:
        return f"{said}."
    named = {"key_only": "the bias of the keys", "position": "position", "turning": "rotation"}.get(str(by), str(by))
    return f"{said}; what lifts them most is {named} ({fmt.percent(share, 0)} of all that does)."
