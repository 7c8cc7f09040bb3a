"""Softmax attention, one query at a time."""

import torch

CASES = [
    {"dim": 8, "num_heads": 2},
    {"dim": 6, "num_heads": 3, "qkv_bias": False},
    {"dim": 8, "num_heads": 1, "num_prefix_tokens": 1},
]


def reference(module, x, mask=None, causal=False, grid=None):
    heads, width = module.config.num_heads, x.shape[2]
    d = width // heads
    wq, wk, wv = module.qkv.weight.split(width)
    bq, bk, bv = module.qkv.bias.split(width) if module.qkv.bias is not None else (0, 0, 0)
    samples = []
    for b, tokens in enumerate(x):
        rows = []
        for t in range(len(tokens)):
            keys = [
                u
                for u in range(len(tokens))
                if (not causal or u <= t) and (mask is None or bool(mask[b, u] if mask.ndim == 2 else mask[b, t, u]))
            ]
            row = []
            for h in range(heads):
                own = slice(h * d, (h + 1) * d)
                q = (wq @ tokens[t] + bq)[own]
                if not keys:
                    row.append(torch.zeros_like(q))
                    continue
                logits = torch.stack([q @ (wk @ tokens[u] + bk)[own] / d**0.5 for u in keys])
                values = torch.stack([(wv @ tokens[u] + bv)[own] for u in keys])
                row.append(torch.softmax(logits, 0) @ values)
            rows.append(module.proj.weight @ torch.cat(row) + module.proj.bias)
        samples.append(torch.stack(rows))
    out = torch.stack(samples)
    return out if mask is None or mask.ndim == 3 else out * mask[..., None]
