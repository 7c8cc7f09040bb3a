"""Which tokens a head uses: exact shares of its outputs, token by token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..contracts import Tokens, TokenSource
from ..errors import InputError
from .head import Head

__all__ = ["TokenUse", "token_outputs", "token_use"]


@dataclass(frozen=True)
class TokenUse:
    """Share of each token in the evidence for the predicted class, averaged over samples.

    Attributes
    ----------
    mean : ndarray, shape (s,)
        Mean absolute share of each token; sums to one.
    samples : ndarray, shape (n, s)
        Signed evidence of each token for the predicted class against the mean of all classes, per sample.
    predicted : ndarray of int, shape (n,)
    """

    mean: np.ndarray
    samples: np.ndarray
    predicted: np.ndarray


@torch.inference_mode()
def token_outputs(head: Head, tokens: Tokens) -> Tensor:
    """Share of every token in the outputs, ``(n, s, c)``; summed over tokens, plus the intercept, they are the outputs.

    In an attention part a token counts as key and value: its score under the pooled query times its own value.

    Raises
    ------
    InputError
        Every token has outputs of its own, so that nothing is shared.
    """
    if head.per_token:
        raise InputError(
            "every token has outputs of its own in this head; shares of tokens are those of pooled outputs. "
            "head.atom_outputs(tokens) says what each atom adds to each token"
        )
    batch = Tokens(tokens.values.to(head.intercept.dtype), tokens.num_prefix, tokens.grid, tokens.mask)
    n, s = batch.values.shape[:2]
    total = batch.values.new_zeros(n, s, len(head.intercept))
    for part in head._parts():
        shares = part.token_outputs(batch)
        if part.spec.tokens == "prefix":  # prefix tokens are joined into one; their share is spread evenly over them
            total[:, : batch.num_prefix] += shares / batch.num_prefix
        else:
            total[:, batch.num_prefix if part.spec.tokens == "patch" else 0 :] += shares
    return total


def token_use(head: Head, source: TokenSource, rows: np.ndarray) -> TokenUse:
    """Evidence of each token for the predicted class of ``rows``."""
    evidence, predicted = [], []
    for _, tokens in source.chunks(rows, 64):
        shares = token_outputs(head, tokens)
        best = (shares.sum(1) + head.intercept.detach()).argmax(1)
        own = shares.gather(2, best[:, None, None].expand(-1, shares.shape[1], 1)).squeeze(2)
        evidence.append((own - shares.mean(2)).float())
        predicted.append(best)
    samples = torch.cat(evidence)
    size = samples.abs().sum(1, keepdim=True).clamp(min=1e-30)
    return TokenUse((samples.abs() / size).mean(0).numpy(), samples.numpy(), torch.cat(predicted).numpy())
