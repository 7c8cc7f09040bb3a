"""Gates by clusters of tokens: routing attention with fixed centres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from ..contracts import Block, GateKind, GateValues, PairGate, TokenShape
from ..errors import InputError
from . import GATES

__all__ = ["Cluster", "ClusterGates"]

TOKENS_SEEN = 20_000  # tokens that place the centres; a spread subset is enough


class ClusterGates:
    """Label of the nearest centre. Between tokens: one gate, tokens see their own cluster; by token: one a cluster.

    Masks are scaled by half the number of clusters, so that rows sum to about s/2 as those of other gates do.
    """

    def __init__(self, centres: Tensor, pairs: bool) -> None:
        self.centres, self.pairs = centres, pairs
        self.count = 1 if pairs else len(centres)

    def labels(self, tokens: Tensor) -> Tensor:
        """Cluster of every token, ``(n, s)``."""
        centres = self.centres.to(tokens)
        return (centres.square().sum(1) - 2 * tokens @ centres.T).argmin(-1)

    def values(self, tokens: Tensor, index: int) -> GateValues:
        labels, scale = self.labels(tokens), len(self.centres) / 2
        if not self.pairs:
            return (labels == index).to(tokens.dtype) * scale
        table = scale * torch.eye(len(self.centres), dtype=tokens.dtype, device=tokens.device)
        return PairGate(labels, labels, table)

    def tensors(self) -> dict[str, Tensor]:
        return {"centres": self.centres}


@GATES.register("cluster")
class Cluster:
    """k-means on the conditioned training tokens; ``count`` is the number of clusters.

    Notes
    -----
    The fixed form of routing attention (Roy et al., arXiv 2003.05997). Sets of different sizes are not nested.

    Examples
    --------
    >>> import torch
    >>> from headwise.blocks.attention import Attention
    >>> from headwise.contracts import TokenShape
    >>> shape, tokens = TokenShape(3, 4), torch.randn(8, 3, 4, dtype=torch.float64)
    >>> gates = Cluster().fit(Attention(shape, gated=True), shape, [tokens], count=3, seed=0)
    >>> gates.count, gates.labels(tokens).shape
    (1, torch.Size([8, 3]))
    """

    name = "cluster"
    kinds: tuple[GateKind, ...] = ("pair", "token")
    raw = False

    def fit(self, block: Block, shape: TokenShape, tokens: Iterable[Tensor], count: int, seed: int) -> ClusterGates:
        if count < 2:
            raise InputError(f"cluster gates need at least 2 clusters, got {count}")
        flat = torch.cat([chunk.flatten(0, 1) for chunk in tokens])
        flat = flat[flat.abs().sum(1) > 0]  # hidden tokens are zero
        if len(flat) < count:
            raise InputError(f"{count} clusters were asked for, but there are {len(flat)} training tokens")
        spread = np.unique(np.linspace(0, len(flat) - 1, min(len(flat), TOKENS_SEEN)).astype(int))
        found = KMeans(count, n_init=1, random_state=seed).fit(flat[spread].numpy(force=True))
        centres = torch.from_numpy(np.asarray(found.cluster_centers_, dtype=np.float64))
        return ClusterGates(centres, "pair" in block.gates)

    def restore(self, block: Block, shape: TokenShape, tensors: Mapping[str, Tensor]) -> ClusterGates:
        return ClusterGates(tensors["centres"], "pair" in block.gates)
