"""Tokens that are already in memory."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check_unmasked, check_whole
from ..contracts import Tokens
from ..errors import InputError
from ..files import hash_tensors
from .rows import as_rows, chunk_size, first_bad, pieces, working_dtype

__all__ = ["ArrayTokens", "as_tokens"]


class ArrayTokens:
    """Tokens in memory as a `headwise.contracts.TokenSource`.

    Parameters
    ----------
    tokens : array or Tensor, shape (n, s, d) or (n, d)
        Tokens; a matrix means one token a sample. Nothing is copied unless the numbers are not floating-point.
    mask : array or Tensor of bool, shape (n, s), or None
        True where a token is real. Each sample needs one real token at least.
    num_prefix : int
        Prefix tokens, first in each sample.
    grid : (int, int) or None
        Rows and columns of the patch tokens.

    Raises
    ------
    InputError
        Wrong shapes, ragged data without a mask, or NaN or infinities in tokens that the mask does not hide.

    Examples
    --------
    >>> import numpy as np
    >>> from headwise.tokens import ArrayTokens
    >>> source = ArrayTokens(np.ones((5, 4, 3), dtype=np.float32), grid=(2, 2))
    >>> [len(rows) for rows, chunk in source.chunks(size=2)]
    [2, 2, 1]
    """

    def __init__(
        self,
        tokens: Any,
        mask: Any = None,
        num_prefix: int = 0,
        grid: tuple[int, int] | None = None,
    ) -> None:
        values = as_tokens(tokens)
        if values.ndim == 2:
            values = values[:, None]
        if values.ndim > 1 and not len(values):
            raise InputError(f"there are no samples: the tokens have shape {tuple(values.shape)}")
        if values.ndim == 4:
            raise InputError(
                f"tokens have shape {tuple(values.shape)}; (n, s, d) is needed. Reshape a map (n, H, W, d) to "
                "(n, H * W, d), and take one view of (n, views, s, d)"
            )
        if values.ndim != 3 or 0 in values.shape:
            raise InputError(f"tokens have shape {tuple(values.shape)}; (n, s, d) or (n, d) without a zero is needed")
        self._values = values
        mask = as_mask(mask, tuple(values.shape[:2]))
        self._mask = None if mask is None or bool(mask.all()) else mask  # one that hides nothing is none
        self._num_prefix, self._grid = check_layout(num_prefix, grid, values.shape[1])
        self._fingerprint: str | None = None
        size = self._default_size(values.dtype)
        for start in range(0, len(values), size):
            part = slice(start, start + size)
            bad, count = first_bad(values[part], None if self._mask is None else self._mask[part])
            if count:
                raise InputError(
                    f"tokens hold NaN or infinity; the first such sample is {start + bad} "
                    f"({count} in samples {start} to {min(part.stop, len(values)) - 1}). "
                    "Leave these samples out or hide the tokens with a mask"
                )

    def _default_size(self, dtype: torch.dtype) -> int:
        return chunk_size(None, self.num_tokens * self.width * dtype.itemsize)

    @property
    def num_samples(self) -> int:
        """n."""
        return self._values.shape[0]

    @property
    def num_tokens(self) -> int:
        """s, prefix tokens included."""
        return self._values.shape[1]

    @property
    def width(self) -> int:
        """d."""
        return self._values.shape[2]

    @property
    def num_prefix(self) -> int:
        """Prefix tokens."""
        return self._num_prefix

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the patch tokens."""
        return self._grid

    @property
    def fingerprint(self) -> str:
        """SHA-256 of tokens, mask and layout, computed on first use."""
        if self._fingerprint is None:
            layout = np.array([self._num_prefix, *(self._grid or (0, 0))], dtype=np.int64)
            parts = {"tokens": self._values, "layout": torch.from_numpy(layout)}
            if self._mask is not None:
                parts["mask"] = self._mask
            self._fingerprint = hash_tensors(parts)
        return self._fingerprint

    def chunks(
        self, rows: np.ndarray | None = None, size: int | None = None, dtype: torch.dtype | None = None
    ) -> Iterator[tuple[np.ndarray, Tokens]]:
        """Yield ``(rows, tokens)`` in the order of ``rows``.

        Parameters
        ----------
        rows : array of int, or None
            Samples in any order; all by default.
        size : int or None
            Samples of a chunk; by default as many as take about 8 MiB.
        dtype : torch.dtype or None
            Type of the values given; by default float64 where stored so, else float32.
        """
        dtype = dtype or working_dtype(self._values.dtype)
        for part in pieces(
            as_rows(rows, self.num_samples), chunk_size(size, self.num_tokens * self.width * dtype.itemsize)
        ):
            # A run of neighbours is a view; anything else is gathered.
            run = len(part) and np.array_equal(part, np.arange(part[0], part[0] + len(part)))
            index: Any = slice(int(part[0]), int(part[0]) + len(part)) if run else torch.from_numpy(part)
            mask = None if self._mask is None else self._mask[index]
            yield part, Tokens(self._values[index].to(dtype), self._num_prefix, self._grid, mask)

    def read(self, rows: np.ndarray | None = None, dtype: torch.dtype | None = None) -> Tokens:
        """Tokens of ``rows`` at once."""
        rows = as_rows(rows, self.num_samples)
        return next((tokens for _, tokens in self.chunks(rows, max(1, len(rows)), dtype)), self._nothing(dtype))

    def _nothing(self, dtype: torch.dtype | None) -> Tokens:
        mask = None if self._mask is None else self._mask[:0]
        return Tokens(
            self._values[:0].to(dtype or working_dtype(self._values.dtype)), self._num_prefix, self._grid, mask
        )


def as_tokens(tokens: Any, convert: bool = True) -> Tensor:
    """Array-likes as a tensor, floating-point where ``convert``; ragged and non-numeric ones are refused."""
    if isinstance(tokens, Tensor):
        values = tokens.detach()
    else:
        check_unmasked("tokens", tokens)
        try:
            array = np.asarray(tokens)
        except ValueError:
            array = np.empty(0, dtype=object)
        if array.dtype == object:
            raise InputError(
                "tokens are ragged (samples of different lengths) or not numbers; "
                "pad them to one (n, s, d) array and give a boolean mask (n, s) that is True where a token is real"
            )
        if array.dtype.kind not in "fiub":
            raise InputError(f"tokens have type {array.dtype}; numbers are needed")
        if not array.dtype.isnative or any(stride < 0 for stride in array.strides):
            array = np.array(array, dtype=array.dtype.newbyteorder("="))  # PyTorch takes neither
        with warnings.catch_warnings():
            # PyTorch warns about read-only memory (memory maps); nothing here writes to it.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            values = torch.from_numpy(array)
    if values.is_complex():
        raise InputError(f"tokens have type {values.dtype}; real numbers are needed")
    return values.to(torch.float32) if convert and not values.is_floating_point() else values


def as_mask(mask: Any, shape: tuple[int, ...]) -> Tensor | None:
    """A boolean mask of ``shape``; each row of the last axis needs one True."""
    if mask is None:
        return None
    try:
        mask = torch.as_tensor(mask)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"mask is {type(mask).__name__}; a bool array of shape {tuple(shape)} is needed") from None
    if mask.dtype != torch.bool or tuple(mask.shape) != tuple(shape):
        raise InputError(
            f"mask has shape {tuple(mask.shape)} and type {mask.dtype}; bool of shape {tuple(shape)} is needed"
        )
    empty = torch.nonzero(~mask.any(-1))
    if len(empty):
        raise InputError(f"the mask hides all tokens of sample {int(empty[0, 0])} ({len(empty)} such); leave it out")
    return mask


def check_layout(num_prefix: int, grid: Any, num_tokens: int) -> tuple[int, tuple[int, int] | None]:
    """Check that prefix tokens and grid make ``num_tokens``."""
    check_whole("num_prefix", num_prefix)
    if num_prefix > num_tokens:
        raise InputError(f"num_prefix is {num_prefix}; samples have {num_tokens} tokens")
    if grid is None:
        return int(num_prefix), None
    try:
        grid = tuple(operator.index(v) for v in grid)
    except TypeError:
        raise InputError(f"grid must be two whole numbers, rows and columns, or None, got {grid!r}") from None
    if len(grid) != 2 or min(grid) < 1 or grid[0] * grid[1] + num_prefix != num_tokens:
        raise InputError(
            f"grid {grid} and {num_prefix} prefix tokens do not make {num_tokens} tokens; "
            "rows x columns + num_prefix must be the number of tokens"
        )
    return int(num_prefix), grid
