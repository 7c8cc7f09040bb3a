"""GPSA, one query at a time, both maps written out."""

import torch

CASES = [
    {"dim": 8, "num_heads": 4},
    {"dim": 10, "num_heads": 5, "qkv_bias": True, "locality_strength": 0.5},
    {"dim": 6, "num_heads": 1, "grid": (3, 2), "local_init": False},
]


def reference(module, x, mask=None, causal=False, grid=None):
    heads, width = module.config.num_heads, x.shape[2]
    d, columns = width // heads, grid[1]
    wq, wk = module.qk.weight.split(width)
    bq, bk = module.qk.bias.split(width) if module.qk.bias is not None else (0, 0)
    bv = module.v.bias if module.v.bias is not None else 0
    samples = []
    for b, tokens in enumerate(x):
        rows = []
        for t in range(len(tokens)):
            seen = [
                u
                for u in range(len(tokens))
                if (not causal or u <= t) and (mask is None or bool(mask[b, u] if mask.ndim == 2 else mask[b, t, u]))
            ]
            row = []
            for h in range(heads):
                own = slice(h * d, (h + 1) * d)
                q = (wq @ tokens[t] + bq)[own]
                if not seen:
                    row.append(torch.zeros_like(q))
                    continue
                content = torch.stack([q @ (wk @ tokens[u] + bk)[own] / d**0.5 for u in seen]).softmax(0)
                position = []
                for u in seen:
                    dx, dy = u % columns - t % columns, u // columns - t // columns
                    relative = torch.tensor([dx, dy, dx * dx + dy * dy], dtype=x.dtype)
                    position.append(module.pos_proj.weight[h] @ relative + module.pos_proj.bias[h])
                gate = 1 / (1 + torch.exp(-module.gating_param[h]))
                weights = (1 - gate) * content + gate * torch.stack(position).softmax(0)
                row.append(weights @ torch.stack([(module.v.weight @ tokens[u] + bv)[own] for u in seen]))
            rows.append(module.proj.weight @ torch.cat(row) + module.proj.bias)
        samples.append(torch.stack(rows))
    out = torch.stack(samples)
    return out if mask is None or mask.ndim == 3 else out * mask[..., None]
