"""Evidence in words: tokens in their context, and the tokens of the vocabulary that a mode points at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..checks import check_backbone, check_whole
from ..contracts import TextBackbone
from ..errors import InputError
from .examples import SIGNS, Examples
from .modes import Modes, check_mode

__all__ = ["Quotation", "Quote", "Vocabulary", "in_context", "quotations", "vocabulary"]

_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Quote:
    """A token of a text, with some words around it.

    Attributes
    ----------
    before, token, after : str
        As they stand in the text, one behind the other; "…" where it goes on.
    """

    before: str
    token: str
    after: str

    def __str__(self) -> str:
        return f"{self.before}[{self.token}]{self.after}"


@dataclass(frozen=True)
class Quotation:
    """A text that excites a mode, and the tokens that do.

    Attributes
    ----------
    sample : int
        Number of the text.
    score : float
    query, key : Quote or None
        The token with the largest projection on each side; None where the text has none of that sign.
    """

    sample: int
    score: float
    query: Quote | None
    key: Quote | None


@dataclass(frozen=True)
class Vocabulary:
    """Tokens of the embedding matrix that point most along the directions of a mode.

    Attributes
    ----------
    query, key : dict
        By sign: "+" along u (or v), "-" along -u (or -v). Each a tuple of (token, cosine), largest first. Tokens are
        written as the tokenizer has them: "##ing" goes on a word, "Ġthe" has a space in front.
    """

    query: dict[str, tuple[tuple[str, float], ...]]
    key: dict[str, tuple[tuple[str, float], ...]]


def in_context(text: str, span: tuple[int, int], words: int = 6) -> Quote:
    """The characters ``span`` (first, and last plus one) of a text, with at most so many words on either side.

    Examples
    --------
    >>> print(in_context("you can win a prize today if you call", (8, 11), words=2))
    you can [win] a prize…
    >>> print(in_context("she sings", (4, 8)))
    she [sing]s
    """
    start, stop = span
    before, after = ([match.span() for match in _WORD.finditer(part)] for part in (text[:start], text[stop:]))
    first = before[-words][0] if len(before) > words else 0
    last = stop + after[words - 1][1] if len(after) > words else len(text)
    return Quote("…" * (first > 0) + text[first:start], text[start:stop], text[stop:last] + "…" * (last < len(text)))


def quotations(
    model: TextBackbone,
    texts: Sequence[str],
    found: Examples,
    head: int,
    mode: int,
    *,
    by: str = "both",
    sign: str = "+",
    words: int = 6,
) -> list[Quotation]:
    """The texts that excite a mode most, with the tokens that do so on either side, in context.

    Parameters
    ----------
    model : TextBackbone
    texts : sequence of str
        Those of the pass, in its order.
    found : Examples
        Of one layer, from `top_examples`.
    head, mode : int
    by : {"both", "query", "key"}
    sign : {"+", "-"}
    words : int
        Words shown on either side of a token, at least 1.

    Returns
    -------
    list of Quotation
        Best first.

    Raises
    ------
    InputError
        The model takes no texts, other texts than those of the pass, a tokenizer that does not say where its tokens
        stand, or no such mode.
    """
    _check_texts(model)
    check_whole("words", words, least=1)
    if len(texts) != found.num_samples:
        raise InputError(f"the examples are of {found.num_samples} texts, got {len(texts)}; give those of the pass")
    made = []
    for example in found.of(head, mode, by, sign):
        text = texts[example.sample]
        spans = model.spans(text)
        if spans is None:
            raise InputError(f"the tokenizer of {model.name} does not say where its tokens stand in a text")
        if max(example.query_place, example.key_place) >= len(spans):
            raise InputError(
                f"text {example.sample} has {len(spans)} tokens, and token "
                f"{max(example.query_place, example.key_place)} is asked for; give the texts of the pass in their order"
            )
        query, key = (
            in_context(text, spans[place], words) if place >= 0 else None
            for place in (example.query_place, example.key_place)
        )
        made.append(Quotation(example.sample, example.score, query, key))
    return made


@torch.no_grad()
def vocabulary(model: TextBackbone, found: Modes, head: int, mode: int, k: int = 10) -> Vocabulary:
    """The tokens of a model's embedding matrix that point most along the query and key directions of a mode.

    Later layers read what earlier ones have written as well, so words say most about the first layers.

    Parameters
    ----------
    model : TextBackbone
    found : Modes
        Of one layer.
    head, mode : int
    k : int
        Tokens for each direction.

    Raises
    ------
    InputError
        The model takes no texts, its embedding has not the width of its layers, or no such mode.
    """
    _check_texts(model)
    check_whole("k", k, least=1)
    check_mode(found.layer, found.sigma.shape, head, mode)
    words = Lexicon(model)
    if words.width != found.u.shape[-1]:
        raise InputError(
            f"{model.name} has an embedding of width {words.width}, and layer {found.layer} reads "
            f"{found.u.shape[-1]}: its tokens are no directions of the layer"
        )
    return words.along(found, head, [mode], k)[0]


class Lexicon:
    """The tokens of a text model as directions of their embedding, made once for any number of modes."""

    def __init__(self, model: TextBackbone) -> None:
        self._names, table = model.vocabulary()
        table = table.to(torch.promote_types(table.dtype, torch.float32))
        self._unit = table / table.norm(dim=1, keepdim=True).clamp(min=torch.finfo(table.dtype).tiny)
        self.width = table.shape[1]

    def along(self, found: Modes, head: int, modes: Sequence[int], k: int) -> list[Vocabulary]:
        """The ``k`` tokens that point most along both directions of each of some modes, and against them."""
        at = list(modes)
        sides = torch.stack((found.u[head, at], found.v[head, at])).to(self._unit)
        cosines = sides @ self._unit.T  # (2, modes, words)
        tops = [values.topk(min(k, len(self._names))) for values in (cosines, -cosines)]

        def told(side: int, mode: int) -> dict[str, tuple[tuple[str, float], ...]]:
            both = ((top.values[side, mode].tolist(), top.indices[side, mode].tolist()) for top in tops)
            return {
                sign: tuple((self._names[i], cosine) for cosine, i in zip(*top, strict=True))
                for sign, top in zip(SIGNS, both, strict=True)
            }

        return [Vocabulary(told(0, i), told(1, i)) for i in range(len(at))]


def _check_texts(model: TextBackbone) -> None:
    check_backbone(model, "query_keys")
    if not hasattr(model, "vocabulary"):
        raise InputError(f"{model.name} takes no texts; give a text model whose folder holds its tokenizer")
