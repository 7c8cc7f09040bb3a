"""Grouped queries, one query at a time; the key head of a query head counted, not computed."""

import torch

CASES = [
    {"dim": 12, "num_heads": 6, "num_kv_heads": 3},
    {"dim": 8, "num_heads": 4, "num_kv_heads": 1, "qkv_bias": False},
    {"dim": 8, "num_heads": 2, "num_kv_heads": 2, "num_prefix_tokens": 1},
]


def reference(module, x, mask=None, causal=False, grid=None):
    heads, groups = module.config.num_heads, module.config.num_kv_heads
    return grouped(module, x, mask, causal, [heads // groups] * groups)


def grouped(module, x, mask, causal, counts):
    """Key head g serves the next ``counts[g]`` query heads."""
    d = x.shape[2] // module.config.num_heads
    bias = {n: getattr(module, n).bias if getattr(module, n).bias is not None else 0 for n in "qkv"}
    samples = []
    for b, tokens in enumerate(x):
        queries = [module.q.weight @ token + bias["q"] for token in tokens]
        keys = [module.k.weight @ token + bias["k"] for token in tokens]
        values = [module.v.weight @ token + bias["v"] for token in tokens]
        rows = []
        for t in range(len(tokens)):
            seen = [
                u
                for u in range(len(tokens))
                if (not causal or u <= t) and (mask is None or bool(mask[b, u] if mask.ndim == 2 else mask[b, t, u]))
            ]
            row, h = [], 0
            for g, count in enumerate(counts):
                for _ in range(count):
                    q = queries[t][h * d : (h + 1) * d]
                    h += 1
                    if not seen:
                        row.append(torch.zeros_like(q))
                        continue
                    own = slice(g * d, (g + 1) * d)
                    logits = torch.stack([q @ keys[u][own] / d**0.5 for u in seen])
                    row.append(torch.softmax(logits, 0) @ torch.stack([values[u][own] for u in seen]))
            rows.append(module.proj.weight @ torch.cat(row) + module.proj.bias)
        samples.append(torch.stack(rows))
    out = torch.stack(samples)
    return out if mask is None or mask.ndim == 3 else out * mask[..., None]
