"""Selective attention, one query at a time; the temperatures from their equation."""

import math

import torch

CASES = [
    {"dim": 8, "num_heads": 2},
    {"dim": 6, "num_heads": 3, "qkv_bias": False, "parts": ("queries", "keys", "values"), "growth": "linear"},
    {"dim": 8, "num_heads": 1, "parts": ("values",), "terms": ("token",), "num_prefix_tokens": 1},
    {"dim": 8, "num_heads": 2, "parts": ("queries",), "terms": ("position",), "growth": "exponential"},
]


def gelu(z):
    return z * 0.5 * (1 + torch.erf(z / math.sqrt(2)))


def temperature(module, part, z, h, n):
    config, found = module.config, 1.0
    if part not in config.parts:
        return found
    if "token" in config.terms:
        found = found + torch.tanh(module.directions[config.parts.index(part), h, 0] @ gelu(z))
    if "position" in config.terms:
        a = module.growths[config.parts.index(part)]
        growth = {"sigmoid": 1 / (1 + torch.exp(-a)), "exponential": torch.exp(-torch.exp(a)), "linear": a}
        found = found + growth[config.growth] * math.log(n)
    return found


def reference(module, x, mask=None, causal=False, grid=None):
    heads, width = module.config.num_heads, x.shape[2]
    d = width // heads
    bias = module.qkv.bias if module.qkv.bias is not None else torch.zeros(3 * width, dtype=x.dtype)
    samples = []
    for b, tokens in enumerate(x):
        real = [mask is None or mask.ndim == 3 or bool(mask[b, u]) for u in range(len(tokens))]
        places = [max(1, sum(real[: u + 1])) for u in range(len(tokens))]
        rows = []
        for t in range(len(tokens)):
            seen = [
                u
                for u in range(len(tokens))
                if (not causal or u <= t) and (mask is None or bool(mask[b, u] if mask.ndim == 2 else mask[b, t, u]))
            ]
            row = []
            for h in range(heads):

                def scaled(part, u, h=h, tokens=tokens, places=places):
                    first = ("queries", "keys", "values").index(part) * width + h * d
                    z = module.qkv.weight[first : first + d] @ tokens[u] + bias[first : first + d]
                    return temperature(module, part, z, h, places[u]) * z

                if not seen:
                    row.append(torch.zeros(d, dtype=x.dtype))
                    continue
                logits = torch.stack([scaled("queries", t) @ scaled("keys", u) / d**0.5 for u in seen])
                row.append(torch.softmax(logits, 0) @ torch.stack([scaled("values", u) for u in seen]))
            rows.append(module.proj.weight @ torch.cat(row) + module.proj.bias)
        samples.append(torch.stack(rows))
    out = torch.stack(samples)
    return out if mask is None or mask.ndim == 3 else out * mask[..., None]
