"""Polarized self-attention, sequential: all maps of the equations made, in their order."""

import torch

CASES = [{"dim": 4}, {"dim": 16, "variant": "official"}]


def convolved(layer, sample):
    """A convolution of side 1 on ``(D, H, W)``, place by place: ``(out, N)``."""
    places = sample.flatten(1).T
    out = [layer.weight @ p for p in places]
    return torch.stack(out if layer.bias is None else [o + layer.bias for o in out], 1)


def layer_norm(norm, z):
    return (z - z.mean()) / torch.sqrt(z.var(unbiased=False) + norm.eps) * norm.weight + norm.bias


def reference(module, x):
    paper = module.config.variant == "paper"
    samples = []
    for sample in x:
        weights = torch.softmax(convolved(module.q_r, sample)[0], 0)
        z = convolved(module.v_r, sample) @ weights
        z = layer_norm(module.up[1], module.up[0].weight @ z + module.up[0].bias)
        if not paper:
            z = module.up[3].weight @ torch.clamp(z, min=0) + module.up[3].bias
        gated = torch.sigmoid(z)[:, None, None] * sample

        query, values = convolved(module.q_l, gated).mean(1), convolved(module.v_l, gated)
        if paper:
            query = torch.softmax(query, 0)
        else:
            values = torch.stack([torch.softmax(channel, 0) for channel in values])
        scores = sum(q * channel for q, channel in zip(query, values, strict=True))
        samples.append(torch.sigmoid(scores).view(sample.shape[1:]) * gated)
    return torch.stack(samples)
