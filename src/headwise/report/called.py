"""What things are called on a page: tokens by what they are of, models by their names without the folders in front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .check import Study

__all__ = ["called", "of_texts", "renamed", "short_name"]

SENTENCES = {
    "heads": ("what", "block"),
    "atoms": ("block",),
    "gates": ("block",),
    "head": ("parts",),
    "forecast": ("features",),
}
"""Where a study or an explanation holds sentences of the package that speak of patch tokens."""


def of_texts(study: Study) -> bool:
    """Whether the samples of a study or an explanation are texts."""
    return study.get("kind") == "texts" or (study.get("data") or {}).get("cut") is not None


def called(study: Study, sentence: str) -> str:
    """A sentence of the package about patch tokens, which of texts are text tokens.

    Examples
    --------
    >>> called({"kind": "texts"}, "linear on the mean patch token")
    'linear on the mean text token'
    """
    if not of_texts(study):
        return sentence
    return sentence.replace("patch token", "text token").replace("Patch token", "Text token")


def renamed(study: Study) -> Study:
    """The same study with its tokens called by what they are of; names and texts from the data stay as they are."""
    if not of_texts(study):
        return study

    def told(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [told(each) for each in value]
        return called(study, value) if isinstance(value, str) else value

    def known(part: Any, keys: tuple[str, ...]) -> Any:
        if isinstance(part, (list, tuple)):
            return [known(each, keys) for each in part]
        if not isinstance(part, Mapping):
            return part
        return {key: told(value) if key in keys else value for key, value in part.items()}

    return {key: known(value, SENTENCES[key]) if key in SENTENCES else value for key, value in study.items()}


def short_name(model: str) -> str:
    """The name of a model without the folders in front of it.

    Examples
    --------
    >>> short_name("hf//home/me/models/all-MiniLM-L6-v2"), short_name("timm/vit_base_patch16_224")
    ('hf/…/models/all-MiniLM-L6-v2', 'timm/vit_base_patch16_224')
    """
    family, _, rest = model.partition("/")
    parts = rest.rstrip("/").split("/")
    return model if len(parts) <= 2 else f"{family}/…/{'/'.join(parts[-2:])}"
