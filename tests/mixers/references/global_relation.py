"""UniFormer's global aggregator: the affinity of each pair of tokens, one attention head at a time."""

import torch

CASES = [{"dim": 8, "head_dim": 4}, {"dim": 6, "head_dim": 6, "qkv_bias": False}, {"dim": 6, "head_dim": 2}]


def reference(module, x, mask=None, causal=False, grid=None):
    out = torch.stack([_sample(module, s, None if mask is None else mask[b], causal) for b, s in enumerate(x)])
    return out if mask is None or mask.ndim == 3 else out * mask[..., None].to(out.dtype)


def _sample(module, tokens, mask, causal):
    c = module.config
    qkv = [module.qkv(t) for t in tokens]
    n, heads = len(tokens), []
    for start in range(0, c.dim, c.head_dim):
        q, k, v = ([t[part * c.dim + start :][: c.head_dim] for t in qkv] for part in range(3))
        rows = []
        for i in range(n):
            weights, total = [], 0
            for j in range(n):
                hidden = mask is not None and not (mask[j] if mask.ndim == 1 else mask[i, j])
                weight = torch.zeros(()) if hidden or (causal and j > i) else torch.exp(q[i] @ k[j] / c.head_dim**0.5)
                weights.append(weight)
                total = total + weight
            gathered = sum(w * u for w, u in zip(weights, v, strict=True))
            rows.append(gathered / total if total > 0 else torch.zeros_like(v[i]))
        heads.append(torch.stack(rows))
    return torch.stack([module.proj(t) for t in torch.cat(heads, -1)])
