"""Routing attention, one token at a time."""

import math

import torch

CASES = [
    {"dim": 8, "num_heads": 2, "num_clusters": 3},
    {"dim": 8, "num_heads": 2, "num_clusters": 2, "window": 2, "qkv_bias": True, "count_eps": 0.0},
    {"dim": 6, "num_heads": 2, "num_clusters": 2, "window": 3, "shared_dense": True, "num_prefix_tokens": 1},
    {"dim": 4, "num_heads": 1, "num_clusters": 1, "update": "sum"},
]
LENGTHS = (7, 5, 3)


def GROWS(n):
    return {"num_clusters": math.isqrt(n), "window": math.isqrt(n)}


def normalised(v):
    centred = v - v.mean()
    return centred / torch.sqrt((centred**2).mean() + 1e-6)


def reference(module, x, mask=None, causal=False, grid=None):
    c = module.config
    top = not causal or c.causal_selection == "top"
    return torch.stack(
        [
            _sample(module, s, list(range(len(s))) if mask is None else _places(mask[i]), causal, top)
            for i, s in enumerate(x)
        ]
    )


def _places(mask):
    return [t for t in range(len(mask)) if mask[t]]


def _sample(module, tokens, real, causal, top):
    c = module.config
    n, d = len(tokens), c.dim // c.num_heads
    window = c.window or math.ceil(n / c.num_clusters)
    heads = []
    for h in range(c.num_heads):
        own = slice(h * d, (h + 1) * d)
        q = [normalised(module.qk(t)[: c.dim][own]) for t in tokens]
        k = q if causal else [normalised(module.qk(t)[c.dim :][own]) for t in tokens]
        v = [module.v(t)[own] for t in tokens]
        means = module.means[h]
        outs = [torch.zeros_like(q[0]) for _ in tokens]
        counts = [0] * n
        if top:
            for mean in means:
                q_in = sorted(sorted(real, key=lambda t: -float(q[t].detach() @ mean))[:window])
                k_in = sorted(sorted(real, key=lambda t: -float(k[t].detach() @ mean))[:window])
                for t in q_in:
                    seen = [u for u in k_in if not causal or u <= t]
                    outs[t] = outs[t] + _attention(q[t], k, v, seen)
                    counts[t] += 1
        else:
            nearest = [max(range(c.num_clusters), key=lambda j: float(q[t].detach() @ means[j])) for t in range(n)]
            for t in real:
                seen = [u for u in real if u <= t and nearest[u] == nearest[t]][-window:]
                outs[t] = _attention(q[t], k, v, seen)
                counts[t] = 1
        outs = [o / (m + c.count_eps) if m else o for o, m in zip(outs, counts, strict=True)]
        if c.shared_dense:
            outs = [module.dense.weight @ o for o in outs]
        heads.append(torch.stack(outs))
    out = torch.cat(heads, -1) @ module.proj.weight.T + module.proj.bias
    keep = torch.zeros(n, 1, dtype=out.dtype)
    keep[real] = 1
    return out * keep


def _attention(q, k, v, seen):
    logits = torch.stack([q @ k[u] for u in seen])
    return torch.softmax(logits, 0) @ torch.stack([v[u] for u in seen])
