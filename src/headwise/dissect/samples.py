"""Which samples a pass has seen, in which order: a running hash, and batches cut where an earlier pass has stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..checks import told
from ..errors import InputError

__all__ = ["chained", "cut"]

_MOST = 1024
"""Numbers of a sample that are hashed, evenly spread: enough to tell pictures apart, and little work."""


def chained(before: str, inputs: Any) -> str:
    """Hash of the samples so far and of those of a batch, one after the other: the sizes of batches do not matter.

    Examples
    --------
    >>> import torch
    >>> images = torch.randn(5, 3, 8, 8)
    >>> chained(chained("", images[:2]), images[2:]) == chained("", images) != chained("", images.flip(0))
    True
    """
    for row in _rows(inputs):
        before = hashlib.sha256(before.encode() + row).hexdigest()
    return before


def cut(inputs: Any, count: int) -> tuple[Any, Any | None, int]:
    """The first ``count`` samples of a batch, what is left of it (None for nothing), and how many the first are."""
    mapping = isinstance(inputs, Mapping)
    values = inputs if mapping else {"": inputs}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor) and value.ndim}
    if not tensors:
        raise InputError(f"a batch holds samples along the first axis of a tensor, got {told(inputs)}")
    size = min(len(value) for value in tensors.values())

    def part(which: slice) -> Any:
        cut_out = {name: value[which] for name, value in tensors.items()}
        return {**inputs, **cut_out} if mapping else cut_out[""]

    return part(slice(count)), part(slice(count, None)) if size > count else None, min(size, count)


def _rows(inputs: Any) -> Iterator[bytes]:
    """Of each sample its shape and some of its numbers; of a text those that are no padding, which differs by batch."""
    tensors = dict(inputs) if isinstance(inputs, Mapping) else {"": inputs}
    tensors = {name: value.detach() for name, value in sorted(tensors.items()) if isinstance(value, Tensor)}
    mask = tensors.pop("attention_mask", None)
    if mask is not None:
        tensors = {name: value.cpu() for name, value in tensors.items() if value.shape == mask.shape}
        for i, shown in enumerate(mask.bool().cpu()):
            yield b"".join(_bytes(value[i][shown]) for value in tensors.values())
        return
    picked = [_picked(value) for value in tensors.values()]
    for row in zip(*picked, strict=False):
        yield b"".join(_bytes(values) for values in row)


def _picked(values: Tensor) -> Tensor:
    """Some numbers of each sample ``(B, at most _MOST)``, behind the sizes of a sample."""
    rows = values.flatten(1) if values.ndim > 1 else values[:, None]
    if rows.shape[1] > _MOST:
        spread = torch.linspace(0, rows.shape[1] - 1, _MOST, dtype=torch.float64).long()
        rows = rows[:, spread.to(rows.device)]
    rows = rows.cpu().to(torch.float64 if rows.is_floating_point() else torch.int64)  # by value, in any precision
    sizes = torch.tensor(values.shape[1:], dtype=rows.dtype).expand(len(rows), -1)
    return torch.cat((sizes, rows), 1)


def _bytes(values: Tensor) -> bytes:
    return values.contiguous().numpy().tobytes()
