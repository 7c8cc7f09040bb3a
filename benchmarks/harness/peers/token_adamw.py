"""AdamW on the ordinary module over tokens: every s x s score is computed, as a user of torch would write it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from headwise.heads.parts import part_tokens
from headwise.solvers import Factors

from ..measure import Moment, Setting
from .pooled_adam import warm_up

__all__ = ["TokenAdamW", "TokenAttention"]


class TokenAttention(nn.Module):
    """Linear attention heads ``(X U X^T) X V``, mean over the tokens."""

    def __init__(self, d: int, c: int, heads: int) -> None:
        super().__init__()
        self.u = nn.Parameter(0.3 * torch.randn(heads, d, d) / d)
        self.v = nn.Parameter(0.3 * torch.randn(heads, d, c) / d**0.5)
        self.b = nn.Parameter(torch.zeros(c))

    def forward(self, x: Tensor) -> Tensor:
        scores = (x[:, None] @ self.u) @ x[:, None].transpose(2, 3)  # (B, heads, s, s)
        return torch.einsum("brsd,rdc->bsc", scores @ x[:, None], self.v).mean(1) + self.b


class TokenAdamW:
    """Mini-batches of conditioned tokens, float32; moments are stations of one run at a constant learning rate.

    The penalty stands in the loss and the decoupled decay is 0: AdamW's own decay minimises another objective. The
    conditioned tokens are made before the clock starts.
    """

    restarts = False

    def __init__(self, lr: float, tokens: Tensor, heads: int = 16, batch: int = 50) -> None:
        warm_up()
        self.name = f"AdamW over tokens, learning rate {lr:g}"
        self.lr, self.tokens, self.heads, self.batch = lr, tokens, heads, batch

    @staticmethod
    def conditioned(setting: Setting) -> Tensor:
        """Tokens of the training rows in the problem's coordinates, ``(n, s, d)`` in float32."""
        prepared = setting.prepared
        (part,) = prepared.parts
        found = []
        for _, tokens in prepared.source.chunks(prepared.rows):
            values, _, seen = part_tokens(part.spec, tokens)
            found.append(part.conditioner(values, seen).float())
        return torch.cat(found)

    def run(self, setting: Setting, budget: float, skip: int = 0) -> Iterator[Moment]:
        torch.manual_seed(0)
        labels = setting.problem.loss.targets
        model = TokenAttention(self.tokens.shape[-1], setting.problem.loss.num_outputs, self.heads)
        optimiser = torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=0.0)
        spent, shown = 0.0, 0.0
        while True:
            for which in torch.randperm(len(labels)).split(self.batch):
                began = time.perf_counter()
                optimiser.zero_grad()
                decay = model.u.square().sum() + model.v.square().sum()
                loss = torch.nn.functional.cross_entropy(model(self.tokens[which]), labels[which])
                (loss + setting.beta / 2 * decay).backward()
                optimiser.step()
                spent += time.perf_counter() - began
                if spent - shown > max(1.0, 0.1 * shown) or spent > budget:
                    shown = spent
                    yield Moment(
                        Factors([model.u.detach().clone()], [model.v.detach().clone()], model.b.detach().clone())
                    )
