"""MLP-Mixer's mixing of tokens, one channel at a time."""

import torch
from torch.nn.functional import gelu

CASES = [
    {"dim": 6, "grid": (2, 3)},
    {"dim": 3, "grid": (5, 1), "hidden": 4},
    {"dim": 3, "grid": (2, 3), "form": "heads", "num_heads": 2},
    {"dim": 1, "grid": (1, 6)},
]


def reference(module, x, mask=None, causal=False, grid=None):
    samples = []
    for b, tokens in enumerate(x):
        real = torch.ones(len(tokens), dtype=torch.bool) if mask is None else mask[b]
        tokens = torch.stack([t if yes else torch.zeros_like(t) for t, yes in zip(tokens, real, strict=True)])
        if module.config.form == "mlp":
            out = []
            for channel in tokens.T:
                hidden = gelu(module.into.weight @ channel + module.into.bias)
                out.append(module.back.weight @ hidden + module.back.bias)
            out = torch.stack(out, 1)
        else:
            out = torch.zeros_like(tokens)
            for places, channels in zip(module.places, module.channels, strict=True):
                mixed = torch.stack([places @ channel for channel in tokens.T], 1)
                out = out + torch.stack([channels.T @ torch.clamp(row, min=0) for row in mixed])
        samples.append(out * real[:, None])
    return torch.stack(samples)
