"""What things are called on a page: tokens by what they are of, models by their names without the folders in front."""

from __future__ import annotations

from .check import Study

__all__ = ["called", "of_texts", "short_name"]


def of_texts(study: Study) -> bool:
    """Whether the samples of a study or an explanation are texts."""
    return study.get("kind") == "texts" or (study.get("data") or {}).get("cut") is not None


def called(study: Study, sentence: str) -> str:
    """A sentence of the report about patch tokens, which of texts are text tokens.

    Examples
    --------
    >>> called({"kind": "texts"}, "linear on the mean patch token")
    'linear on the mean text token'
    """
    if not of_texts(study):
        return sentence
    return sentence.replace("patch token", "text token").replace("Patch token", "Text token")


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
