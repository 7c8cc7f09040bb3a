"""Softmax attentive probes trained by AdamW: what people fit today on frozen patch tokens."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .datasets import Dataset

__all__ = ["PROBES", "train_probe"]


class OneQuery(nn.Module):
    """One learned query, keys and values projected, several attention heads, then a linear layer."""

    def __init__(self, d: int, c: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads if d % heads == 0 else 1
        self.norm = nn.LayerNorm(d)
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, d))
        self.key, self.value, self.out = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, c)

    def forward(self, x: Tensor) -> Tensor:
        n, _, d = x.shape
        x = self.norm(x)

        def split(y: Tensor) -> Tensor:
            return y.view(len(y), -1, self.heads, d // self.heads).transpose(1, 2)

        seen = F.scaled_dot_product_attention(
            split(self.query.expand(n, 1, d)), split(self.key(x)), split(self.value(x))
        )
        return self.out(seen.transpose(1, 2).reshape(n, d))


class ManyQueries(nn.Module):
    """Several learned queries straight on the tokens, without projections; each has its own linear layer."""

    def __init__(self, d: int, c: int, queries: int = 8) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.query = nn.Parameter(0.02 * torch.randn(queries, d))
        self.out = nn.Linear(queries * d, c)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        weights = (x @ self.query.T / x.shape[-1] ** 0.5).softmax(1)
        return self.out((weights.transpose(1, 2) @ x).flatten(1))


PROBES: dict[str, Callable[[int, int], nn.Module]] = {
    "softmax probe, one query": OneQuery,
    "softmax probe, eight queries": ManyQueries,
}


def train_probe(
    name: str, dataset: Dataset, lr: float, seed: int, epochs: int, patience: int = 10, batch: int = 128
) -> dict[str, Any]:
    """AdamW; the epoch with the best validation accuracy (the lower loss among equals) is the one that is scored."""
    began = time.process_time()
    torch.manual_seed(seed)
    prefix = dataset.source.num_prefix
    held = {
        part: torch.cat([c.values[:, prefix:].float() for _, c in dataset.source.chunks(rows)])
        for part, rows in dataset.rows.items()
    }
    targets = {part: torch.from_numpy(dataset.targets(part)) for part in dataset.rows}
    model = PROBES[name](dataset.source.width, dataset.num_classes)
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    best: tuple[float, float] | None = None
    kept, chosen, epoch = copy.deepcopy(model.state_dict()), 0, 0
    for epoch in range(1, epochs + 1):
        model.train()
        for which in torch.randperm(len(held["train"])).split(batch):
            optimiser.zero_grad()
            F.cross_entropy(model(held["train"][which]), targets["train"][which]).backward()
            optimiser.step()
        outputs = _outputs(model, held["val"])
        accuracy = float((outputs.argmax(1) == targets["val"]).double().mean())
        found = (accuracy, -float(F.cross_entropy(outputs, targets["val"])))
        if best is None or found > best:
            best, kept, chosen = found, copy.deepcopy(model.state_dict()), epoch
        elif epoch - chosen >= patience:
            break
    model.load_state_dict(kept)
    test = float((_outputs(model, held["test"]).argmax(1) == targets["test"]).double().mean())
    assert best is not None
    return {
        "seed": seed,
        "lr": lr,
        "epoch": chosen,
        "epochs": epoch,
        "parameters": sum(p.numel() for p in model.parameters()),
        "accuracy": {"val": best[0], "test": test},
        "val_loss": -best[1],
        "seconds": time.process_time() - began,
    }


@torch.inference_mode()
def _outputs(model: nn.Module, x: Tensor) -> Tensor:
    model.eval()
    return torch.cat([model(part) for part in x.split(250)])
