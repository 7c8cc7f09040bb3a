"""Samples that excite each mode most, as a record and on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..checks import as_list, as_path
from ..errors import InputError, unknown_name
from ..files import write_tensors, writing
from ..version import __version__
from .formats import check_version
from .modes import check_mode

__all__ = ["BY", "SIGNS", "Example", "Examples", "as_file", "load_examples", "save_examples"]

BY = ("both", "query", "key")
"""What samples are ranked by: the product of both sides, or one side alone."""

SIGNS = ("+", "-")
"""The sign of a mode is free: (u, v) and (-u, -v) are one mode, and excite different samples."""

_FORMAT_VERSION = 2
_TENSORS = ("scores", "samples", "query_places", "key_places")
_NUMBERS = {"layer": int, "num_samples": int, "left_out": int, "origin": str, "samples_hash": str}
_ROW = ("samples", "scores", "query_places", "key_places")


@dataclass(frozen=True)
class Example:
    """A sample that excites a mode.

    Attributes
    ----------
    sample : int
        Its number in the order of the pass.
    score : float
    query_place, key_place : int
        The token with the largest projection on each side, counted with prefix tokens; -1 where the sample has none of
        that sign (with ``by="query"`` or ``"key"`` the other side may have none).
    """

    sample: int
    score: float
    query_place: int
    key_place: int


@dataclass(frozen=True, repr=False)
class Examples:
    """The samples that excite each mode of one layer most.

    The axes of all tensors are what it is ranked by (`BY`), attention head, mode, sign (`SIGNS`), and place in the
    ranking, best first.

    Attributes
    ----------
    layer : int
    scores : Tensor of float32, shape (3, heads, modes, 2, k)
        For sign "+" and both sides ``max_i(x_i . u) max_j(x_j . v)`` over the tokens of a sample, where both are
        positive; for one side its maximum alone. For sign "-" the same of -u and -v. 0 where there is no sample.
    samples : Tensor of int64, same shape
        Number of the sample in the order of the pass; -1 where fewer than k samples excite the mode. Of equal scores
        the sample that came first is first.
    query_places, key_places : Tensor of int64, same shape
        The token with the largest projection on u (on -u for sign "-"), and on v, counted with prefix tokens; of equal
        ones the first. -1 where the sample has none of that sign.
    num_samples : int
        Samples that were seen.
    left_out : int
        Tokens of high norm in them that were left out; see `top_examples`.
    origin : str
        Hash of the directions, the model and the settings that these were found with.
    samples_hash : str
        Of the samples that were seen, in their order; empty where that is not known.
    """

    layer: int
    scores: Tensor
    samples: Tensor
    query_places: Tensor
    key_places: Tensor
    num_samples: int
    left_out: int = 0
    origin: str = ""
    samples_hash: str = ""

    def __repr__(self) -> str:
        _, heads, modes, _, most = self.scores.shape
        return (
            f"Examples(layer {self.layer}: {heads} attention heads, {modes} modes, the best {most} of "
            f"{self.num_samples} samples)"
        )

    def of(self, head: int, mode: int, by: str = "both", sign: str = "+") -> list[Example]:
        """The examples of one mode, best first; fewer than k where fewer samples excite it.

        Raises
        ------
        InputError
            No such attention head or mode here, or an unknown ``by`` or ``sign``.
        """
        check_mode(self.layer, self.scores.shape[1:3], head, mode)
        for name, value, known in (("ranking", by, BY), ("sign", sign, SIGNS)):
            if value not in known:
                raise unknown_name(name, value, known)
        at = (BY.index(by), head, mode, SIGNS.index(sign))
        rows = zip(*(getattr(self, name)[at].tolist() for name in _ROW), strict=True)
        return [Example(*row) for row in rows if row[0] >= 0]


def save_examples(found: Sequence[Examples], path: str | Path) -> None:
    """Write the examples of some layers into one ``.safetensors`` file, whole or not at all.

    Raises
    ------
    InputError
        There is nothing to write, the path is a folder, or the folder of the file cannot be written in.

    Examples
    --------
    >>> import headwise, torch
    >>> from headwise.dissect import load_examples, top_examples
    >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, batch_first=True)
    >>> found = top_examples(headwise.load_backbone(layer), [torch.randn(3, 5, 8)])
    >>> save_examples(found, "examples.safetensors")
    >>> load_examples("examples.safetensors")[0].num_samples
    3
    """
    path = as_file("path", path)
    found = as_list("examples", found, Examples, "Examples, as top_examples gives them")
    if not found:
        raise InputError("there are no examples to write")
    tensors = {f"{i}.{name}": getattr(each, name).clone() for i, each in enumerate(found) for name in _TENSORS}
    told = {
        "format_version": _FORMAT_VERSION,
        "headwise_version": __version__,
        "layers": [{name: getattr(each, name) for name in _NUMBERS} for each in found],
    }
    with writing(path.parent):
        write_tensors(path, tensors, {"examples": json.dumps(told)})


def load_examples(path: str | Path) -> list[Examples]:
    """Read what `save_examples` has written.

    Raises
    ------
    InputError
        The file is not there, holds no examples or damaged ones, or was written by a newer headwise.
    """
    path = as_file("path", path)
    try:
        with safe_open(path, framework="pt") as file:
            told: Any = json.loads((file.metadata() or {}).get("examples", "{}"))
            if not isinstance(told, dict):
                raise ValueError("what it says of itself is no mapping")
            check_version(path, told, _FORMAT_VERSION, "examples; give a file that save_examples has written")
            found = [
                Examples(**{name: file.get_tensor(f"{i}.{name}") for name in _TENSORS}, **numbers)
                for i, numbers in enumerate(told["layers"])
            ]
        for each in found:
            _check(each)
        if len({(each.num_samples, each.samples_hash) for each in found}) != 1:
            raise ValueError("its layers are not of one pass")
        return found
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}; remove it, and look for the examples again") from None


def as_file(name: str, value: Any) -> Path:
    """The path of a file of examples, whether it is there or not."""
    path = as_path(name, value)
    if path.is_dir():
        raise InputError(
            f"{name} is the folder {path}; examples are one file, for example {path / 'found.safetensors'}"
        )
    return path


def _check(found: Examples) -> None:
    """Refuse what no search gives: a file may be damaged, or put together by hand."""
    where = f"layer {found.layer}"
    for name, kind in _NUMBERS.items():
        if not isinstance(getattr(found, name), kind):
            raise ValueError(f"{name} of {where} is {getattr(found, name)!r}")
    shape = found.scores.shape
    if len(shape) != 5 or (shape[0], shape[3]) != (len(BY), len(SIGNS)):
        raise ValueError(f"the scores of {where} have the shape {tuple(shape)}")
    for name in _TENSORS[1:]:
        value = getattr(found, name)
        if value.shape != shape or value.dtype != torch.int64:
            raise ValueError(f"the tensors of {where} have shapes or types that do not fit each other")
        if bool((value < -1).any()):
            raise ValueError(f"{name} of {where} are below -1")
    if bool((found.samples >= found.num_samples).any()):
        raise ValueError(f"{where} names a sample beyond the {found.num_samples} that were seen")
    if not found.scores.is_floating_point() or not bool((found.scores.isfinite() & (found.scores >= 0)).all()):
        raise ValueError(f"the scores of {where} are not all finite and at least 0")
