"""Grouped queries with noise subtracted, so that the query heads of a group differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..contracts import QueryKey
from . import MIXERS
from .attending import allowed, attend, join_heads
from .grouped_query import GroupedQuery, GroupedQueryConfig
from .options import Grid
from .traits import Traits

__all__ = ["PerturbedGroupedQuery", "PerturbedGroupedQueryConfig"]


@dataclass(frozen=True)
class PerturbedGroupedQueryConfig(GroupedQueryConfig):
    """Options of `PerturbedGroupedQuery`, with those of `GroupedQuery`.

    Parameters
    ----------
    noise_on : {"maps", "outputs"}
        Gaussian noise on the attention maps, as the paper says, or uniform noise on what the attention heads give, as
        the authors' code does.
    noise_in_eval : bool
        Perturb in evaluation as well, as the authors' code does. By default evaluation is that of `GroupedQuery`.
    """

    noise_on: Literal["maps", "outputs"] = "maps"
    noise_in_eval: bool = False


@MIXERS.register("perturbed_grouped_query")
class PerturbedGroupedQuery(GroupedQuery):
    r"""Grouped queries (PGQA) with noise subtracted in training.

    On maps, with E standard normal ``(H, N, N)``, one for all samples of a batch, and the mean and standard deviation
    of each row over the keys that its query may look at,

    .. math:: A_h \leftarrow A_h - P_h, \qquad P_{h,tu} = \mathrm{mean}(A_{h,t}) + \mathrm{std}(A_{h,t}) E_{h,tu},
              \qquad P_{h,tt} = 0

    On outputs, each group of H / G heads has rows of N d numbers O (tokens and channels in one); a matrix U of that
    shape, uniform between 0 and 1, one for all samples, has its diagonal set to zero and each row standardised, and

    .. math:: O_h \leftarrow O_h - \big(\mathrm{mean}(O_h) + \mathrm{std}(O_h) \tilde U_h\big)

    Notes
    -----
    Khan et al., "Beyond Uniform Query Distribution: Key-Driven Grouped Query Attention" (arXiv 2408.08454). The paper
    describes Gaussian noise with a zero diagonal on attention maps; its scale by rows is reconstructed. The authors'
    code has the noise on outputs, in training and in evaluation: ``noise_on="outputs", noise_in_eval=True``. Standard
    deviations are unbiased, and zero for a single number. Tokens that are not real count in no mean and are not
    perturbed.

    Noise comes from torch's random state, as that of dropout: ``torch.manual_seed`` repeats it, and so does gradient
    checkpointing. It is scaled by all tokens, later ones included, and drawn by place: in training the layer cannot
    be causal, and follows another order of the tokens in distribution only.

    Cost: ``4 N D^2 (1 + G / H) + 4 N^2 D`` FLOPs. The card is that of evaluation, which holds no N x N map; noise on
    maps (in training, or with ``noise_in_eval``) holds about six of them for each attention head.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("perturbed_grouped_query", dim=24, num_heads=6, num_kv_heads=3)
    >>> x = torch.randn(2, 5, 24)
    >>> bool((mixer(x) == mixer(x)).all()), bool((mixer.eval()(x) == mixer(x)).all())
    (False, True)
    """

    name = "perturbed_grouped_query"
    traits = Traits(2.0, mask=True, pair_mask=True, prefix=True, query_key=True)
    Config = PerturbedGroupedQueryConfig

    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        q, k, v = self.heads(x)
        if not (self.training or self.config.noise_in_eval):
            out = attend(q, k, v, mask, causal)
        elif self.config.noise_on == "maps":
            out = self._noisy_maps(q, k, allowed(mask, causal, x)) @ self._for_each_query_head(v)
        else:
            takes_in = mask if mask is None or mask.ndim == 2 else mask.any(-1)
            out = self._noisy(attend(q, k, v, mask, causal), takes_in)
        return self.proj(join_heads(out))

    def _for_each_query_head(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.config.num_heads // self.config.num_kv_heads, dim=1)

    def _noisy_maps(self, q: Tensor, k: Tensor, may: Tensor | None) -> Tensor:
        """Attention maps less noise ``(B, H, N, N)``."""
        logits = q @ self._for_each_query_head(k).transpose(-2, -1) * q.shape[-1] ** -0.5
        n = logits.shape[-1]
        every = torch.ones(1, 1, n, n, dtype=torch.bool, device=q.device) if may is None else may
        some = every.any(-1, keepdim=True)
        maps = logits.masked_fill(some & ~every, -torch.inf).softmax(-1) * some
        mean, std = _moments(maps, every)
        drawn = torch.randn(logits.shape[1:], dtype=maps.dtype, device=maps.device)
        others = every & ~torch.eye(n, dtype=torch.bool, device=q.device)
        return maps - torch.where(others, mean + std * drawn, torch.zeros_like(maps))

    def _noisy(self, out: Tensor, takes_in: Tensor | None) -> Tensor:
        """What the attention heads give ``(B, H, N, d)`` less noise, at tokens ``(B, N)`` that take in anything."""
        b, heads, n, d = out.shape
        groups = self.config.num_kv_heads
        drawn = torch.rand(groups, heads // groups, n * d, dtype=out.dtype, device=out.device)
        drawn.diagonal(dim1=1, dim2=2).zero_()
        rows = out.flatten(2)
        takes_in = out.new_ones((b, n), dtype=torch.bool) if takes_in is None else takes_in
        counts = takes_in[:, None, :, None].expand(b, 1, n, d).flatten(2)
        drawn = drawn.view(1, heads, n * d).expand(b, -1, -1)
        (mean, std), (middle, spread) = _moments(rows, counts), _moments(drawn, counts)
        noise = mean + std * (drawn - middle) / torch.where(spread > 0, spread, torch.ones_like(spread))
        return (rows - torch.where(counts, noise, torch.zeros_like(noise))).view(out.shape)

    def query_key(self) -> QueryKey:
        noisy = self.config.noise_in_eval and self.config.noise_on == "maps"
        return replace(super().query_key(), leaves_out="noise on its maps" if noisy else "")

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        if self.config.noise_in_eval and self.config.noise_on == "maps":
            return 6 * self.config.num_heads * num_tokens**2
        return super().memory(num_tokens, grid)


def _moments(x: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased standard deviation of the last axis where ``counts``; zero where too few do."""
    many = counts.sum(-1, keepdim=True)
    mean = torch.where(counts, x, torch.zeros_like(x)).sum(-1, keepdim=True) / many.clamp(min=1)
    square = torch.where(counts, x - mean, torch.zeros_like(x)).square().sum(-1, keepdim=True)
    variance = square / (many - 1).clamp(min=1)
    varied = variance > 0  # the root of zero has no gradient
    return mean, torch.where(varied, torch.where(varied, variance, torch.ones_like(variance)).sqrt(), variance)
