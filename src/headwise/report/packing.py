"""Evidence of modes as text inside a page, and how much of it fits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .check import photo_of
from .fmt import finite
from .images import data_uri

__all__ = ["NOTHING", "Packed", "as_levels", "compact", "few_digits"]

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""One character for each of 64 levels: a map is as many characters as it has tokens."""
NOTHING = 255
"""In place of a level: there is no such token."""
ENOUGH = 3
"""Examples of a mode, of each sign, that are kept before modes are given up."""


def as_levels(values: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers ``(..., s)`` as levels 0 to 63 between ``low`` and ``high`` ``(...)``, and clipped there.

    Examples
    --------
    >>> as_levels(np.array([-1.0, 0.0, 1.0, 9.0]), np.array(0.0), np.array(2.0)).tolist()
    [0, 0, 32, 63]
    """
    span = np.maximum(high - low, 1e-12)[..., None]
    scaled = np.clip((values - low[..., None]) / span, 0, 1)
    return np.rint((len(ALPHABET) - 1) * scaled).astype(np.uint8)


def compact(value: Any) -> str:
    """JSON without spaces, safe inside a script element: no character of markup is left in it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def few_digits(value: Any, digits: int = 4) -> float | None:
    """A number with few digits, None where it is missing or not finite."""
    number = finite(value)
    return None if number is None else float(f"{number:.{digits}g}")


class Packed:
    """Examples of every mode as text, so that their sizes are known before a page is made.

    Parameters
    ----------
    evidence : mapping or None
        As `headwise.report.render_explorer` takes it.
    vocabulary : sequence or None
        The same.
    arrays : mapping of str to array
    """

    def __init__(
        self, evidence: Mapping[str, Any] | None, vocabulary: Sequence[Any] | None, arrays: Mapping[str, NDArray[Any]]
    ) -> None:
        self._texts: dict[int, NDArray[Any]] = {}
        self._sizes: dict[int, NDArray[Any]] = {}
        self._samples: dict[int, NDArray[Any]] = {}
        self._shown: dict[int, str] = {}
        self.pictures = evidence is not None and evidence["kind"] == "images"
        for layer in [] if evidence is None else evidence["layers"]:
            self._samples[layer], self._texts[layer] = _examples(arrays, f"layer/{layer}")
            self._sizes[layer] = np.vectorize(_size, otypes=[np.int64])(self._texts[layer])
        used = sorted({int(n) for found in self._samples.values() for n in np.unique(found) if n >= 0})
        self._shown = {n: _sample(evidence or {}, arrays, n) for n in used}
        self._words = [[[compact(mode) for mode in head] for head in layer or []] for layer in vocabulary or []]

    @property
    def most_examples(self) -> int:
        """Of a mode and sign."""
        return max((found.shape[4] for found in self._samples.values()), default=0)

    @property
    def most_modes(self) -> int:
        """Of an attention head, with evidence or vocabulary."""
        worded = (len(head) for layer in self._words for head in layer)
        return max(*(found.shape[2] for found in self._samples.values()), *worded, 0, 0)

    def count(self, examples: int, modes: int) -> int:
        """Examples on a page that keeps so many of each mode and sign, of so many modes of an attention head."""
        return sum(int((found[:, :, :modes, :, :examples] >= 0).sum()) for found in self._samples.values())

    def samples(self, examples: int, modes: int) -> list[int]:
        """Images or texts on such a page."""
        kept = [found[:, :, :modes, :, :examples] for found in self._samples.values()]
        return sorted({int(n) for found in kept for n in np.unique(found) if n >= 0})

    def size(self, examples: int, modes: int) -> int:
        """At most so many bytes on such a page."""
        lists = sum(2 * int(np.prod(found[:, :, :modes].shape[:3])) for found in self._samples.values())
        shown = sum(int(sizes[:, :, :modes, :, :examples].sum()) for sizes in self._sizes.values())
        worded = sum(_size(mode) + 1 for layer in self._words for head in layer for mode in head[:modes])
        # brackets and commas around lists, an example and a sample, with its number
        pictures = sum(_size(self._shown[n]) + 12 for n in self.samples(examples, modes))
        return shown + self.count(examples, modes) + 6 * lists + worded + pictures

    def choices(self) -> Iterator[tuple[int, int]]:
        """Examples and modes to keep, from all of them downwards: first fewer examples, then fewer modes."""
        examples, modes = self.most_examples, self.most_modes
        enough = min(ENOUGH, examples)
        yield from ((e, modes) for e in range(examples, enough, -1))
        yield from ((enough, m) for m in range(modes, 0, -1))
        yield from ((e, 1) for e in range(enough - 1, 0, -1) if modes)
        yield 0, 0

    def written(self, examples: int, modes: int) -> tuple[str, str, str]:
        """Evidence by layer, head, mode, order and sign; samples by number; words by layer, head and mode, as JSON."""
        last = max(self._texts, default=-1)
        layers = (_layer(self._texts.get(layer), examples, modes) for layer in range(last + 1))
        shown = ",".join(f'"{n}":{self._shown[n]}' for n in self.samples(examples, modes))
        words = _list(_list(_list(head[:modes]) for head in layer) for layer in self._words)
        return _list(layers), "{" + shown + "}", words


def _examples(arrays: Mapping[str, NDArray[Any]], at: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Samples, and each example as text, ``(by, heads, modes, 2, k)``; empty where there is none."""
    names = ("samples", "scores", "starts", "queries", "keys")
    missing = [name for name in names if f"{at}/{name}" not in arrays]
    if missing:
        raise InputError(f"the evidence names the array {at}/{missing[0]!r}, which was not given; pass it in arrays")
    samples, scores, starts, queries, keys = (np.asarray(arrays[f"{at}/{name}"]) for name in names)
    if samples.ndim != 5 or any(a.shape[:5] != samples.shape for a in (scores, starts, queries, keys)):
        raise InputError(
            f"the evidence of {at} has arrays of shape {samples.shape}, {scores.shape}, {queries.shape}, {keys.shape}; "
            "(orders, heads, modes, 2, examples) is needed, of maps with tokens at the end"
        )
    texts = np.full(samples.shape, "", dtype=object)
    for place in zip(*np.nonzero(samples >= 0), strict=True):
        score = few_digits(scores[place], 3)
        query, key = _letters(queries[place]), _letters(keys[place])
        texts[place] = f'[{samples[place]},{"null" if score is None else score},{starts[place]},"{query}","{key}"]'
    return samples, texts


_LETTERS = np.frombuffer(ALPHABET.encode(), dtype=np.uint8)


def _letters(levels: NDArray[Any]) -> str:
    kept = levels[levels != NOTHING]
    return _LETTERS[np.minimum(kept, len(ALPHABET) - 1)].tobytes().decode()


def _sample(evidence: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], number: int) -> str:
    shown = {"name": str(evidence["names"].get(str(number), number))}
    if evidence["kind"] == "images":
        return compact(shown | {"picture": data_uri(photo_of(arrays, f"sample/{number}"))})
    return compact(shown | {"tokens": [str(piece) for piece in evidence["tokens"][str(number)]]})


def _layer(texts: NDArray[Any] | None, examples: int, modes: int) -> str:
    if texts is None or not examples:
        return "null"
    kept = texts[:, :, :modes, :, :examples].transpose(1, 2, 0, 3, 4).tolist()
    return _list(
        _list(_list(_list(_list(filter(None, sign)) for sign in by) for by in mode) for mode in head) for head in kept
    )


def _list(parts: Any) -> str:
    return "[" + ",".join(parts) + "]"


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
