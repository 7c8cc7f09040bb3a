"""One row of features a sample: prefix tokens joined with the mean patch token."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..contracts import Tokens, TokenSource
from .rows import as_rows

__all__ = ["pooled_tokens"]


def pooled_tokens(source: TokenSource, rows: NDArray[Any] | None = None, unit_length: bool = False) -> NDArray[Any]:
    """Prefix tokens one after the other and the mean of the patch tokens that the mask shows, ``(n, features)``.

    Parameters
    ----------
    source : TokenSource
        Tokens; read chunk by chunk, and only the features are kept.
    rows : array of int, optional
        Samples; all by default.
    unit_length : bool
        Scale the prefix tokens, and the mean, to unit length.

    Examples
    --------
    >>> import numpy as np
    >>> from headwise.tokens import ArrayTokens
    >>> tokens = np.array([[[5.0, 5.0], [1.0, 2.0], [3.0, 4.0]]])
    >>> pooled_tokens(ArrayTokens(tokens, num_prefix=1)).tolist()
    [[5.0, 5.0, 2.0, 3.0]]
    """
    found = []
    for _, tokens in source.chunks(as_rows(rows, source.num_samples)):
        pieces = [values for values in (_prefix(tokens), _mean_patch(tokens)) if values.shape[1]]
        if unit_length:
            pieces = [torch.nn.functional.normalize(values, dim=1) for values in pieces]
        found.append(torch.cat(pieces, dim=1))
    return torch.cat(found).numpy()


def _prefix(tokens: Tokens) -> Tensor:
    return tokens.values[:, : tokens.num_prefix].flatten(1)


def _mean_patch(tokens: Tokens) -> Tensor:
    """``(n, d)``, or ``(n, 0)`` where there are prefix tokens only."""
    values = tokens.values[:, tokens.num_prefix :]
    n, s, _ = values.shape
    if not s:
        return values.reshape(n, 0)
    if tokens.mask is None:
        weights = torch.ones(n, s, dtype=values.dtype)
    else:
        mask = tokens.mask[:, tokens.num_prefix :]
        values = torch.where(mask[..., None], values, 0)  # behind the mask may be anything
        weights = mask.to(values.dtype)
    return torch.einsum("nsd,ns->nd", values, weights / weights.sum(1, keepdim=True).clamp(min=1))
