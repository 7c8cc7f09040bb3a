"""Routing attention: tokens look at tokens of their own clusters, which online k-means finds."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_nonnegative, check_number, check_whole
from ..contracts import GateFamily, TokenShape, TokenTable
from ..errors import InputError
from ..gates.mixer import FrozenMixer
from . import MIXERS
from .attending import join_heads, split_heads
from .clustered import attend_members, attend_taken, gather, taken
from .kinds import Mixer
from .options import Grid, MixerConfig, check_divides, told
from .traits import Traits

__all__ = ["Routing", "RoutingConfig"]

LN_EPS = 1e-6
COUNT_EPS = 1e-5


@dataclass(frozen=True)
class RoutingConfig(MixerConfig):
    """Options of `Routing`.

    Parameters
    ----------
    num_heads : int
        Attention heads, each with its own clusters; divides ``dim``.
    num_clusters : int
        At most the number of tokens. The cost is least near the root of their number.
    window : int, optional
        Tokens that a cluster takes; ``ceil(N / num_clusters)`` by default, so that all could have a place.
    causal_selection : {"members", "top"}
        Which tokens a token may look at with ``causal=True``. "members": the last ``window`` ones of the cluster
        nearest to it, itself included. "top": the earlier ones of those that its clusters take out of the whole
        sequence, as the official code does in training; **later tokens then decide which earlier ones are left**,
        so this is not causal in the strict sense.
    update : {"mean", "sum"}
        How training moves the means; see `Routing`.
    decay : float
        Of the moving averages, below 1.
    count_eps : float
        Added to the number of clusters that a token is in, by which its output is divided; at least 0.
    shared_dense : bool
        One more linear map without bias on the output of each attention head, the same for all, as the official code
        has it (where it looks like a slip).
    qkv_bias : bool
        Biases of queries, keys and values.
    """

    num_heads: int = 8
    num_clusters: int = 16
    window: int | None = None
    causal_selection: Literal["members", "top"] = "members"
    update: Literal["mean", "sum"] = "mean"
    decay: float = 0.999
    count_eps: float = 0.01
    shared_dense: bool = False
    qkv_bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divides(self, "num_heads", "dim")
        check_whole("num_clusters", self.num_clusters, least=1)
        check_whole("window", self.window, least=1, or_none=True)
        check_number("decay", self.decay, below=1)
        check_nonnegative("count_eps", self.count_eps)


@MIXERS.register("routing")
class Routing(Mixer):
    r"""Attention within clusters of tokens, found by online k-means.

    With queries and keys normalised to mean 0 and variance 1 in each attention head, and a mean :math:`\mu_c` for each
    cluster c,

    .. math::

        Q_c = \mathrm{top}_w (q_t \cdot \mu_c), \quad K_c = \mathrm{top}_w (k_t \cdot \mu_c), \qquad
        y_t = \frac{1}{|\{c : t \in Q_c\}| + \epsilon} \sum_{c : t \in Q_c}
        \sum_{u \in K_c} \mathrm{softmax}_{u}(q_t \cdot k_u)\, v_u

    and a linear map of the joined attention heads after. Clusters are of one size: a token may be in several or in
    none, and gets zero where it is in none (the published models have local attention heads beside). Logits are not
    divided by the root of the width.

    With ``causal=True`` the keys are the queries, and a token looks at itself and earlier ones.

    Notes
    -----
    Roy et al., "Efficient Content-Based Sparse Attention with Routing Transformers" (arXiv 2003.05997), and the
    official code (google-research, ``routing_transformer``), which the equation follows, epsilon included. The relative
    positions of that code, counted along the list of a cluster, are not here.

    *Causal.* Taking the top tokens of a whole sequence lets later ones decide. "members" is a reading of ours without
    that leak: every token belongs to its nearest mean alone, and sees the last w tokens of that cluster.

    *Means.* Queries, and keys where these are not the same, are assigned to the mean of the largest product, and both
    are counted in one step (that both are is reconstructed; the code's step is known for queries). With
    ``update="mean"``, as in the official code: moving averages of the number of tokens of a cluster, from 0, and of
    their sum, from the first means; the mean is the second over the (smoothed) first. So the first steps enlarge
    the means, and an empty cluster grows until it wins tokens. With ``update="sum"``,
    :math:`\mu \leftarrow \lambda\mu + (1 - \lambda) (\sum q + \sum k) / 2` (reconstructed: from memory of the paper's
    algorithm, not checked against it). Sums are over the tokens of a batch on one process.

    Means move in training only, when the gradient reaches the queries: gradient checkpointing, which runs the layer
    twice, then moves them once and sees the same clusters both times. `commitment` is the loss that draws tokens to
    their means. Clusters are found without autocast. A batch without a real token, or with a query that is not finite,
    moves no mean.

    Cost: ``8 N D^2 + 4 N k D + 4 N w D`` FLOPs with w = N / k: ``N^1.5`` at k = sqrt(N).

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("routing", dim=8, num_heads=2, num_clusters=4).eval()
    >>> x = torch.randn(1, 16, 8)
    >>> mixer(x, causal=True).shape, mixer.labels(x).shape
    (torch.Size([1, 16, 8]), torch.Size([1, 2, 16]))
    """

    name = "routing"
    traits = Traits(1.5, permutation_equivariant=True, causal=True, mask=True, prefix=True, gate=True)
    Config = RoutingConfig
    means: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, config: RoutingConfig) -> None:
        super().__init__(config)
        dim, heads = config.dim, config.num_heads
        self.qk = nn.Linear(dim, 2 * dim, bias=config.qkv_bias)
        self.v = nn.Linear(dim, dim, bias=config.qkv_bias)
        self.dense = nn.Linear(dim // heads, dim // heads, bias=False) if config.shared_dense else nn.Identity()
        self.proj = nn.Linear(dim, dim)
        means = _normalised(torch.randn(heads, config.num_clusters, dim // heads))
        self.register_buffer("means", means)
        if config.update == "mean":
            self.register_buffer("counts", torch.zeros(heads, config.num_clusters))
            self.register_buffer("sums", means.clone())

    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        window = self._window(x.shape[1])
        q, k = self._query_key(x, causal)
        v = split_heads(self.v(x), self.config.num_heads)
        scores = [self._scores(part) for part in ((q,) if causal else (q, k))]
        if self.training and torch.is_grad_enabled() and q.requires_grad:
            self._move_later((q, k), scores, mask)
        if causal and self.config.causal_selection == "members":
            labels = scores[0].argmax(-1)
            if mask is not None:
                labels = labels.masked_fill(~mask[:, None], self.config.num_clusters)
            out = attend_members(q, v, labels, window) / (1 + self.config.count_eps)
        else:
            places = [taken(part, mask, window) for part in scores]
            out = attend_taken(q, k, v, (places[0], places[-1]), mask, causal, self.config.count_eps)
        return self.proj(join_heads(self.dense(out)))

    def _window(self, num_tokens: int) -> int:
        clusters, window = self.config.num_clusters, self.config.window
        if clusters > num_tokens:
            said = told(self.config, "num_clusters")
            raise InputError(f"{said} is more than the {num_tokens} tokens; give num_clusters about their root")
        if window is not None and window > num_tokens:
            raise InputError(f"window={window} is more than the {num_tokens} tokens; leave it out, or take fewer")
        return window or math.ceil(num_tokens / clusters)

    def _query_key(self, x: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
        """Normalised queries and keys ``(B, heads, N, d)``, in full precision: one bit could change a cluster."""
        with _no_autocast(x):
            both = self.qk(x.to(self.qk.weight.dtype)).chunk(2, -1)
            q, k = (_normalised(split_heads(part, self.config.num_heads)) for part in both)
        return q, q if causal else k

    def _scores(self, x: Tensor) -> Tensor:
        """Products of queries or keys with the means, ``(B, heads, N, clusters)``, without a gradient."""
        with _no_autocast(x):
            return x.detach() @ self.means.transpose(-1, -2).to(x.dtype)

    def labels(self, x: Tensor, causal: bool = False) -> Tensor:
        """The cluster whose mean is nearest to the query of each token, ``(B, heads, N)``: a gate of a convex head."""
        return self._scores(self._query_key(x, causal)[0]).argmax(-1)

    def token_table(self, shape: TokenShape) -> TokenTable:
        """Tokens see those of their `labels`, in each attention head.

        The queries are normalised, which takes their mean away and divides by a positive number: the nearest mean is
        that of the largest affine function of the token.
        """
        means = self.means - self.means.mean(-1, keepdim=True)
        heads, width = means.shape[0], means.shape[-1]
        weight = means @ self.qk.weight[: self.config.dim].unflatten(0, (heads, width))
        own = None if self.qk.bias is None else self.qk.bias[: self.config.dim].view(heads, width, 1)
        bias = torch.zeros_like(weight[..., 0]) if own is None else (means @ own).squeeze(-1)
        return TokenTable(torch.eye(self.config.num_clusters, dtype=torch.bool), weight, bias)

    def as_gate(self) -> GateFamily:
        return FrozenMixer(self)

    def commitment(self, x: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Mean squared distance of queries to their means, plus that of keys (as in the official code, times 1e-4)."""
        q, k = self._query_key(x, causal)
        total = x.new_zeros(())
        for part in (q, k):
            labels = self._scores(part).argmax(-1)
            own = gather(self.means.expand(len(x), -1, -1, -1).to(part.dtype), labels[..., None]).squeeze(3)
            distance = (part - own).square().mean((1, 3))
            total = total + (distance.mean() if mask is None else distance[mask].sum() / mask.sum().clamp(min=1))
        return total

    def _move_later(self, parts: tuple[Tensor, Tensor], scores: list[Tensor], mask: Tensor | None) -> None:
        """Move the means when the gradient reaches the queries."""
        count, total = (torch.zeros_like(t) for t in (self.means[..., 0], self.means))
        for part, score in zip(parts, scores, strict=False):  # one of them where keys are the queries
            one_hot = F.one_hot(score.argmax(-1), self.config.num_clusters).to(count.dtype)
            if mask is not None:
                one_hot = one_hot * mask[:, None, :, None]
            count += one_hot.sum((0, 2))
            total += torch.einsum("bhnk,bhnd->hkd", one_hot, part.detach().to(count.dtype))
        if self.config.update == "sum":
            total /= len(scores)  # (sum of q + sum of k) / 2, and the sum of q where keys are the queries
        parts[0].register_hook(lambda gradient: self._move(count, total))

    @torch.no_grad()
    def _move(self, count: Tensor, total: Tensor) -> None:
        # a batch without real tokens, or whose numbers are none, says nothing
        says = torch.isfinite(total).all() & count.any()

        def moved(old: Tensor, new: Tensor) -> Tensor:
            return torch.where(says, torch.lerp(old, new, 1 - self.config.decay), old)

        if self.config.update == "sum":
            self.means.copy_(moved(self.means, total))
            return
        self.counts.copy_(moved(self.counts, count))
        self.sums.copy_(moved(self.sums, total))
        number = self.counts.sum(-1, keepdim=True)
        smooth = (self.counts + COUNT_EPS) / (number + self.config.num_clusters * COUNT_EPS) * number
        self.means.copy_(torch.where(says, self.sums / smooth[..., None], self.means))

    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        n, dim, clusters = num_tokens, self.config.dim, self.config.num_clusters
        window = self._window(n)
        dense = 2 * n * dim * dim // self.config.num_heads if self.config.shared_dense else 0
        return 8 * n * dim * dim + dense + 4 * n * clusters * dim + 4 * clusters * window * window * dim

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        config = self.config
        places = config.num_clusters * self._window(num_tokens)
        return num_tokens * (4 * config.dim + 2 * config.num_heads * config.num_clusters) + 4 * places * config.dim


def _normalised(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=LN_EPS)


def _no_autocast(x: Tensor) -> AbstractContextManager[object]:
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
