"""Polarized self-attention, parallel: all maps of the equations made, in their order."""

import torch

CASES = [{"dim": 4}, {"dim": 6, "variant": "official"}]


def convolved(layer, sample):
    """A convolution of side 1 on ``(D, H, W)``, place by place: ``(out, N)``."""
    places = sample.flatten(1).T
    out = [layer.weight @ p for p in places]
    return torch.stack(out if layer.bias is None else [o + layer.bias for o in out], 1)


def reference(module, x):
    paper = module.config.variant == "paper"
    samples = []
    for sample in x:
        weights = torch.softmax(convolved(module.q_r, sample)[0], 0)
        values = convolved(module.v_r, sample)
        z = module.up[0].weight @ sum(w * v for w, v in zip(weights, values.T, strict=True))
        if paper:
            z = z + module.up[0].bias
            z = (z - z.mean()) / torch.sqrt(z.var(unbiased=False) + module.up[1].eps)
            z = z * module.up[1].weight + module.up[1].bias
        of_channels = torch.sigmoid(z)

        query = convolved(module.q_l, sample).mean(1)
        if paper:
            query = torch.softmax(query, 0)
        scores = torch.stack([query @ v for v in convolved(module.v_l, sample).T])
        of_places = torch.sigmoid(scores if paper else torch.softmax(scores, 0))
        samples.append(of_channels[:, None, None] * sample + of_places.view(sample.shape[1:]) * sample)
    return torch.stack(samples)
