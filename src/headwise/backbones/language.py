"""Text models with their tokenizer: texts in, as many tokens as each text has out."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts import EncodedText, TextPreprocessing
from ..errors import InputError
from ..files import hash_tensors
from .wrapped import WrappedModule

__all__ = ["LanguageBackbone"]

_SENTENCE = "The 2 cafés — AND more: it's 100 % naïve, isn't it?"
"""Shows what a tokenizer makes of capitals, accents, numbers and punctuation."""

_PLACES = ("position_embeddings", "position_embedding", "wpe")
"""Names of the tables of places."""

_SAME = 1e-5
"""Share of the largest number up to which two outputs are one: rounding is a hundredth of it."""


class LanguageBackbone(WrappedModule):
    """A text model, frozen, with its tokenizer; see `headwise.contracts.TextBackbone`.

    Parameters
    ----------
    name : str
    model : nn.Module
        Takes ``input_ids`` and ``attention_mask``; has a ``config``, as models of transformers have.
    tokenizer : object
        A tokenizer of transformers.
    description : str
    device : str

    Raises
    ------
    InputError
        The model does not run on what the tokenizer gives, or its attention is not understood.

    Notes
    -----
    Tokens that the tokenizer puts in front of a text (the class token of BERT) are prefix tokens. Where they see
    nothing of the text, as in a causal model, they are the same for all texts: then they are no prefix tokens, and
    `seen` hides them. Texts are padded at the end.
    """

    def __init__(self, name: str, model: nn.Module, tokenizer: Any, description: str = "", device: str = "cpu") -> None:
        config: Any = model.config
        config.use_cache = False  # keys and values of a causal model are kept for the next word, which never comes
        super().__init__(name, model.eval().requires_grad_(False).to(device), description)
        self.weights_hash = hash_tensors(self.model.state_dict())
        self._tokenizer = tokenizer
        self._added = int(tokenizer.num_special_tokens_to_add())
        # places of some models are counted by what is not padding, hence by the model's own number
        pads = (getattr(config, "pad_token_id", None), getattr(tokenizer, "pad_token_id", None))
        self._pad = next((int(pad) for pad in pads if isinstance(pad, int) and pad >= 0), 0)
        self.preprocessing = TextPreprocessing(self._tokenizer_hash(), _longest(self.model, tokenizer))
        self.num_prefix_tokens, self._blind, self.num_suffix_tokens = self._frame()

    def encode(self, texts: Sequence[str], max_tokens: int | None = None) -> list[EncodedText]:
        """Numbers of the tokens of each text.

        Parameters
        ----------
        texts : sequence of str
        max_tokens : int, optional
            Longer texts are cut, those that the tokenizer adds at their end are kept; as many as the model takes by
            default, and never more.

        Raises
        ------
        InputError
            What is given are no texts, or ``max_tokens`` leaves no room for any token of a text.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            found = next((type(text).__name__ for text in texts if not isinstance(text, str)), "one str")
            raise InputError(f"{self.name} takes a list of texts (str), got {found}; images need another backbone")
        limit = self.preprocessing.max_tokens if max_tokens is None else min(max_tokens, self.preprocessing.max_tokens)
        if limit <= self._added:
            raise InputError(
                f"at most {limit} tokens of a text are asked for, and {self.name} adds {self._added} to each; give at "
                f"least {self._added + 1}"
            )
        found_ids = self._ids(texts)
        whole = [len(ids) for ids in found_ids]
        long = [i for i, count in enumerate(whole) if count > limit]
        for i, ids in zip(long, self._ids([texts[i] for i in long], truncation=True, max_length=limit), strict=True):
            found_ids[i] = ids
        own = [ids if count > self._added else [] for ids, count in zip(found_ids, whole, strict=True)]
        return [EncodedText(np.array(ids, dtype=np.int64), count) for ids, count in zip(own, whole, strict=True)]

    def batch(self, encoded: Sequence[EncodedText]) -> dict[str, Tensor]:
        """Input of `tokens`, padded to the longest: ``input_ids`` and ``attention_mask``, each ``(B, s)``.

        Raises
        ------
        InputError
            There are no texts, or one without a token.
        """
        if not encoded:
            raise InputError("no texts were given")
        empty = [i for i, text in enumerate(encoded) if not len(text.ids)]
        if empty:
            raise InputError(
                f"text {empty[0]} has no tokens ({len(empty)} such): it is empty, or the tokenizer of {self.name} "
                "leaves its characters out; leave the text out"
            )
        longest = max(len(text.ids) for text in encoded)
        ids = torch.full((len(encoded), longest), self._pad)
        mask = torch.zeros_like(ids)
        for i, text in enumerate(encoded):
            ids[i, : len(text.ids)] = torch.from_numpy(text.ids)
            mask[i, : len(text.ids)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def preprocess(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Input of `tokens` from texts: ``batch(encode(texts))``."""
        return self.batch(self.encode(texts))

    def seen(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Mask of a batch, bool ``(B, s)``: False for padding, and for tokens in front of a text that see nothing."""
        mask = inputs["attention_mask"].bool().clone()
        mask[:, : self._blind] = False
        return mask

    def spans(self, text: str, max_tokens: int | None = None) -> list[tuple[int, int]] | None:
        """First character and last character plus one of each token that `encode` gives of a text.

        Tokens that the tokenizer adds have none: ``(0, 0)``. None where the tokenizer does not know.
        """
        if not getattr(self._tokenizer, "is_fast", False):
            return None
        (encoded,) = self.encode([text], max_tokens)
        found = self._tokenizer(
            [text],
            truncation=True,
            max_length=max(len(encoded.ids), self._added + 1),
            padding=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        return [(int(start), int(stop)) for start, stop in found["offset_mapping"][0]]

    def vocabulary(self) -> tuple[list[str], Tensor]:
        """All tokens that there are, as the tokenizer writes them, and their rows ``(V, width)`` of the embedding.

        Raises
        ------
        InputError
            The model has no table of embeddings.
        """
        own = getattr(self.model, "get_input_embeddings", None)
        table = None if own is None else getattr(own(), "weight", None)
        if not isinstance(table, Tensor) or table.ndim != 2:
            raise InputError(f"{self.name} has no table of embeddings, one row a token")
        known = sorted((number, token) for token, number in self._tokenizer.get_vocab().items() if number < len(table))
        return [token for _, token in known], table[[number for number, _ in known]].detach()

    def _ids(self, texts: Sequence[str], **options: Any) -> list[list[int]]:
        if not len(texts):
            return []
        how = {"truncation": False, "padding": False, "return_attention_mask": False, "verbose": False} | options
        return [list(ids) for ids in self._tokenizer(list(texts), **how)["input_ids"]]

    def _tokenizer_hash(self) -> str:
        """By what it does: files and their versions say the same in many ways."""
        told = [sorted(self._tokenizer.get_vocab().items()), self._ids([_SENTENCE])]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def _frame(self) -> tuple[int, int, int]:
        """Tokens in front of a text: how many that see it, and how many that see nothing (one of the two is 0).

        And how many are added at its end.
        """
        (lone,) = self._ids(["a"])
        (bare,) = self._ids(["a"], add_special_tokens=False)
        starts = [k for k in range(len(lone)) if lone[k : k + len(bare)] == bare]
        count = starts[0] if starts else 0
        behind = len(lone) - count - len(bare) if starts else 0
        with torch.no_grad():
            try:
                some, others = (self.tokens(self.preprocess([text]))[0][0, :count] for text in ("a", "a b a b"))
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
                raise InputError(f"{self.name} does not run on the tokens of its tokenizer: {first}") from None
        if not count or float((some - others).abs().max()) <= _SAME * float(some.abs().max()):
            return 0, count, behind
        return count, 0, behind

    def _check_inputs(self, inputs: Any) -> None:
        if not isinstance(inputs, Mapping) or "input_ids" not in inputs:
            found = f"a tensor {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
            raise InputError(f"{self.name} takes texts: what preprocess(texts) gives, got {found}")


def _longest(model: nn.Module, tokenizer: Any) -> int:
    """Tokens that a model takes: the least of what its places, its configuration and its tokenizer say."""
    known = [getattr(model.config, "max_position_embeddings", None), getattr(tokenizer, "model_max_length", None)]
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in _PLACES:
            # RoBERTa counts places from the number of its padding plus one
            known.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
    return min((n for n in known if isinstance(n, int) and 0 < n < sys.maxsize), default=sys.maxsize)
