"""Grouped queries allotted by how the norms of the key heads evolve in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..checks import check_number, check_whole
from . import MIXERS
from .allotting import AllottedQuery, allot, even, key_norms
from .grouped_query import GroupedQueryConfig

__all__ = ["DynamicGroupedQuery", "DynamicGroupedQueryConfig"]


@dataclass(frozen=True)
class DynamicGroupedQueryConfig(GroupedQueryConfig):
    """Options of `DynamicGroupedQuery`, with those of `GroupedQuery`.

    Parameters
    ----------
    rule : {"ema", "diff"}
        Shares of the key heads: moving average of their norms, or by how much these changed.
    beta : float
        Weight of the newest norms in "ema", between 0 and 1.
    window : int
        Training steps between two allotments.
    update_in_eval : bool
        In evaluation, allot anew for each batch and remember its norms, as the authors' code does. By default
        evaluation uses the allotment of the last update in training and changes nothing.
    """

    rule: Literal["ema", "diff"] = "ema"
    beta: float = 0.9
    window: int = 300
    update_in_eval: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("beta", self.beta, below=1.0)
        check_whole("window", self.window, least=1)


@MIXERS.register("dynamic_grouped_query")
class DynamicGroupedQuery(AllottedQuery):
    r"""Grouped queries (DGQA) allotted anew every ``window`` training steps by the norms of the key heads.

    With m the norms of the batch (:math:`m_g = \sum_b \|K_{b,g}\|_F`) and c those remembered,

    .. math:: u = \beta m + (1 - \beta) c \ \text{(ema)} \quad \text{or} \quad u = |c - m| \ \text{(diff)}, \qquad
              a = \mathrm{round}\big(H u / \textstyle\sum_g u_g\big), \qquad c \leftarrow (c + m) / \text{window}

    While a sums to more than H, a key head drawn at random that serves any loses a query head; while to less, one
    drawn at random gains one. The first allotment is uniform.

    Notes
    -----
    Khan et al., "Beyond Uniform Query Distribution: Key-Driven Grouped Query Attention" (arXiv 2408.08454). The
    formulas are those of the authors' code; dividing by the window makes c about 1 / window of m, so that "ema" weighs
    the newest norms by far more than beta. Where all u are zero, or not finite, the formula is 0/0 and the code never
    ends; here the allotment is then uniform. Norms that are not finite are not remembered. Tokens that are not real
    do not count.

    The code allots anew at every forward in evaluation as well, so that its results depend on the batches and their
    order: ``update_in_eval=True``. It also forgets the allotment when weights are saved; here it is part of the state.

    A step is one forward in training; ``start_epoch`` sets the count to zero, for the authors' schedule, where the
    first batch of each epoch allots. Under gradient checkpointing the second forward of a step does not count, and
    allots as the first. Draws come from torch's random state (``torch.manual_seed``). The allotment depends on the
    whole batch, later tokens included: outputs in training depend on the batch, and it cannot be causal.

    Cost: FLOPs of `GroupedQuery`; keys and values are copied once for each query head.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("dynamic_grouped_query", dim=24, num_heads=6, num_kv_heads=3, rule="diff")
    >>> mixer(torch.randn(2, 5, 24)).shape, int(mixer.allotment.sum()), int(mixer.step)
    (torch.Size([2, 5, 24]), 6, 1)
    """

    name = "dynamic_grouped_query"
    Config = DynamicGroupedQueryConfig
    norms: Tensor
    allotment: Tensor
    step: Tensor

    def __init__(self, config: DynamicGroupedQueryConfig) -> None:
        super().__init__(config)
        groups = config.num_kv_heads
        self.register_buffer("norms", torch.zeros(groups))
        self.register_buffer("allotment", even(groups, config.num_heads, self.norms.device))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def start_epoch(self) -> None:
        """Count training steps from zero: the next one allots."""
        self.step.zero_()

    @torch.no_grad()
    def _allot(self, k: Tensor, mask: Tensor | None) -> Tensor:
        config, training = self.config, self.training
        if not (training or config.update_in_eval) or _recomputing():
            return self.allotment
        new = key_norms(k, mask if mask is not None and mask.ndim == 2 else None)
        old = self.norms.to(new.dtype)
        change = config.beta * new + (1 - config.beta) * old if config.rule == "ema" else (old - new).abs()
        counts = allot(change, config.num_heads, _at_random)
        says = torch.isfinite(new).all()
        if training:
            due = self.step % config.window == 0
            counts = torch.where(due, counts, self.allotment)
            new = torch.where(due, (old + new) / config.window, old)
            self.step += 1
        self.norms.copy_(torch.where(says, new, old))
        self.allotment.copy_(counts)
        return counts


def _at_random(counts: Tensor, excess: Tensor) -> Tensor:
    """Take a head from a key head drawn among those that serve any, or give one to a key head drawn among all."""
    drawn = torch.rand(len(counts), device=counts.device)
    places = torch.arange(len(counts), device=counts.device)
    taken = places == torch.where(counts > 0, drawn, -1.0).argmax()
    return torch.where(excess > 0, counts - taken.long(), counts + (places == drawn.argmax()).long())


def _recomputing() -> bool:
    """Whether this forward runs inside a backward pass: gradient checkpointing repeats one that was counted."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1
