"""One layer of a transformer whose weights are written down: heads that copy positions, then a ReLU network."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .cosine_ridges import Ridges
from .curves import Floats

__all__ = ["CopyHeadsLayer", "interpolate", "leakage"]


def leakage(sharpness: float, num_tokens: int) -> float:
    """Attention of a copying head on all the positions that it should not see, ``(n-1) / (e^sharpness + n - 1)``.

    Examples
    --------
    >>> round(leakage(5.0, 8), 3)
    0.045
    """
    return (num_tokens - 1) / (float(np.exp(sharpness)) + num_tokens - 1)


class CopyHeadsLayer(nn.Module):
    """Softmax attention with one head for each position, then a position-wise network with one hidden layer of ReLU.

    Parameters
    ----------
    num_tokens, num_features : int
        Shape of a sample.
    low, high : float
        The box that features lie in.
    sharpness : float
        Logit of the position that a head copies; the others have 0.
    weight, bias, out : arrays, shapes (width, num_tokens * num_features + num_tokens), (width,), (num_outputs, width)
        The network; it sees the whole sequence, scaled to the unit box, and the position as a one-hot code.

    Notes
    -----
    Tokens are ``z_i = (x_i, e_i)``. Head h has the key ``e_i``, the query ``sharpness * e_h`` at every token and the
    value ``(x - low) / (high - low)``; heads are concatenated, and the position passes by. Scores are not divided
    by the root of the width of a head; that factor is in ``sharpness``.

    Examples
    --------
    >>> layer = CopyHeadsLayer(2, 1, 0.0, 1.0, 30.0, np.array([[0.0, 1.0, 0.0, 0.0]]), np.zeros(1), np.ones((1, 1)))
    >>> x = torch.tensor([[[0.2], [0.7]]], dtype=torch.float64)
    >>> torch.round(layer(x), decimals=6)[0, :, 0].tolist()
    [0.7, 0.7]
    """

    def __init__(
        self,
        num_tokens: int,
        num_features: int,
        low: float,
        high: float,
        sharpness: float,
        weight: Floats,
        bias: Floats,
        out: Floats,
    ) -> None:
        super().__init__()
        n, d = num_tokens, num_features
        self.num_tokens, self.num_features, self.low, self.high = n, d, low, high
        query, key = torch.zeros(2, n, d + n, n, dtype=torch.float64)
        value = torch.zeros(n, d + n, d, dtype=torch.float64)
        for head in range(n):
            query[head, d:, head] = sharpness
            key[head, d:] = torch.eye(n)
            value[head, :d] = torch.eye(d) / (high - low)
        self.query, self.key = nn.Parameter(query.clone()), nn.Parameter(key.clone())
        self.value = nn.Parameter(value)
        self.value_bias = nn.Parameter(torch.full((d,), -low / (high - low), dtype=torch.float64))
        self.hidden = nn.Linear(n * d + n, len(weight), dtype=torch.float64)
        self.out = nn.Linear(len(weight), len(out), bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.hidden.weight.copy_(torch.as_tensor(weight))
            self.hidden.bias.copy_(torch.as_tensor(bias))
            self.out.weight.copy_(torch.as_tensor(out))

    @property
    def width(self) -> int:
        """Hidden units."""
        return self.hidden.out_features

    def gather(self, x: Tensor) -> Tensor:
        """What attention makes of ``(samples, num_tokens, num_features)``: the sequence at each token, scaled."""
        codes = torch.eye(self.num_tokens, dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
        tokens = torch.cat([x, codes], dim=2)
        query = torch.einsum("bnf,hfk->bhnk", tokens, self.query)
        key = torch.einsum("bnf,hfk->bhnk", tokens, self.key)
        value = torch.einsum("bnf,hfk->bhnk", tokens, self.value) + self.value_bias
        heads = torch.softmax(query @ key.mT, dim=3) @ value
        return heads.permute(0, 2, 1, 3).flatten(2)

    def network(self, sequence: Tensor) -> Tensor:
        """The position-wise network on ``(samples, num_tokens, num_tokens * num_features)``."""
        codes = torch.eye(self.num_tokens, dtype=sequence.dtype, device=sequence.device).expand(len(sequence), -1, -1)
        outputs: Tensor = self.out(torch.relu(self.hidden(torch.cat([sequence, codes], dim=2))))
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        """``(samples, num_tokens, num_features)`` -> ``(samples, num_tokens, num_outputs)``."""
        return self.network(self.gather(x))


def interpolate(parts: list[Ridges], intervals: list[NDArray[np.int64]]) -> tuple[Floats, Floats, Floats, Floats]:
    """Weights of a network that interpolates every ridge linearly between its knots.

    Parameters
    ----------
    parts : list of Ridges
        One for each position.
    intervals : list of int array, shape (ridges,)
        Pieces of each ridge, at least 1.

    Returns
    -------
    weight, bias, out : arrays
        As `CopyHeadsLayer` takes them.
    steepness : array, shape (positions, num_outputs)
        Upper bound of the change of an output for a change of 1 of all inputs.

    Notes
    -----
    A piecewise linear function with n pieces is an affine function and n - 1 units, ``relu(s - knot)``. Affine parts
    need one unit for each output, and constants one for each position. A unit of position k has
    ``w . v + b - C (1 - p_k)`` with C its largest value on the box, and so is zero at all other positions.
    """
    n, num_outputs = len(parts), len(parts[0].constant)
    rows, biases, outs, steepness = [], [], [], np.zeros((n, num_outputs))
    for position, (part, pieces) in enumerate(zip(parts, intervals, strict=True)):
        constant, slope = part.constant.copy(), part.slope.copy()
        steepness[position] = np.abs(slope).sum(0)
        weights, shifts, factors = [], [], []
        for ridge, num_pieces in enumerate(pieces):
            direction = part.directions[ridge].astype(float)
            knots = part.knots(ridge, num_pieces)
            values = part.profile(ridge, knots)
            slopes = np.diff(values, axis=0) / np.diff(knots)[:, None]
            constant += values[0] - slopes[0] * knots[0]
            slope += np.outer(direction, slopes[0])
            steepness[position] += part.length[ridge] * np.abs(slopes).max(0)
            turns = np.diff(slopes, axis=0)
            used = turns.any(1)
            weights.append(np.tile(direction, (int(used.sum()), 1)))
            shifts.append(-knots[1:-1][used])
            factors.append(turns[used])
        least = np.minimum(slope, 0).sum(0)  # the affine part is shifted so that its unit is never cut off
        weights += [slope.T, np.zeros((1, slope.shape[0]))]
        shifts += [-least, np.ones(1)]
        factors += [np.eye(num_outputs), (constant + least)[None]]
        weight, bias = np.concatenate(weights), np.concatenate(shifts)
        switch = np.maximum(np.maximum(weight, 0).sum(1) + bias, 0)
        code = np.zeros((len(weight), n))
        code[:, position] = switch
        rows.append(np.concatenate([weight, code], axis=1))
        biases.append(bias - switch)
        outs.append(np.concatenate(factors))
    return np.concatenate(rows), np.concatenate(biases), np.concatenate(outs).T.copy(), steepness
