"""The views of a sample as rows of their own, so that whatever takes rows takes views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch

from ..contracts import Tokens, TokenSource
from .rows import as_rows, chunk_size, pieces

__all__ = ["ViewTokens", "ViewedSource", "num_views", "view_rows"]


class ViewedSource(TokenSource, Protocol):
    """Tokens with several views of each sample; a store is one."""

    @property
    def num_views(self) -> int: ...

    def chunks(
        self, rows: np.ndarray | None = None, size: int | None = None, view: int = 0
    ) -> Iterator[tuple[np.ndarray, Tokens]]:
        """As in `TokenSource`, of one view."""
        ...


class ViewTokens:
    """Every view as a row: row ``i * K + k`` is view k of sample i. A `headwise.contracts.TokenSource`.

    Parameters
    ----------
    source : ViewedSource
        For example a `headwise.TokenStore`.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from headwise.tokens import TokenStore
    >>> tokens = np.arange(24, dtype="float32").reshape(3, 2, 4, 1)  # three samples, two views
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = ViewTokens(TokenStore.from_arrays(folder, tokens, [0, 1, 0], dtype="float32"))
    ...     [(part.tolist(), chunk.values[:, 0, 0].tolist()) for part, chunk in rows.chunks(np.array([5, 0, 1]), 2)]
    [([5, 0], [20.0, 0.0]), ([1], [4.0])]
    """

    def __init__(self, source: ViewedSource) -> None:
        self._source = source

    @property
    def num_samples(self) -> int:
        """Samples times views."""
        return self._source.num_samples * self._source.num_views

    @property
    def num_tokens(self) -> int:
        """s, prefix tokens included."""
        return self._source.num_tokens

    @property
    def width(self) -> int:
        """d."""
        return self._source.width

    @property
    def num_prefix(self) -> int:
        """Prefix tokens."""
        return self._source.num_prefix

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the patch tokens."""
        return self._source.grid

    @property
    def fingerprint(self) -> str:
        """That of the source, which covers all views."""
        return self._source.fingerprint

    def chunks(self, rows: np.ndarray | None = None, size: int | None = None) -> Iterator[tuple[np.ndarray, Tokens]]:
        """Yield ``(rows, tokens)`` in the order of ``rows``; see `headwise.contracts.TokenSource`."""
        rows = as_rows(rows, self.num_samples)
        for part in pieces(rows, chunk_size(size, 4 * self.num_tokens * self.width)):
            yield part, self._gather(part)

    def _gather(self, part: np.ndarray) -> Tokens:
        samples, views = np.divmod(part, self._source.num_views)
        values: Any = None
        mask: Any = None
        for view in np.unique(views):
            place = np.flatnonzero(views == view)
            for _, found in self._source.chunks(samples[place], len(place), view=int(view)):
                if values is None:
                    values = found.values.new_empty(len(part), *found.values.shape[1:])
                    mask = None if found.mask is None else found.mask.new_empty(len(part), found.mask.shape[1])
                where = torch.from_numpy(place)
                values[where] = found.values
                if mask is not None:
                    mask[where] = found.mask
        return Tokens(values, self.num_prefix, self.grid, mask)


def num_views(source: TokenSource) -> int:
    """Views of each sample; 1 for a source that knows of none."""
    return int(getattr(source, "num_views", 1))


def view_rows(source: TokenSource, rows: np.ndarray | None, views: int) -> tuple[TokenSource, np.ndarray]:
    """The source and the rows that hold all views of ``rows``, sample by sample; as they are where ``views`` is 1."""
    rows = as_rows(rows, source.num_samples)
    if views == 1:
        return source, rows
    every: Any = source
    return ViewTokens(every), (rows[:, None] * views + np.arange(views)).reshape(-1)
