"""The Fourier layers: one layer for all resolutions, the circular convolution of the convex head, what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from headwise import InputError
from headwise.mixers import create


def made(**options):
    module = create("fno", **options).double().eval()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return module


def test_the_same_function_at_two_resolutions():
    module = made(dim=3, modes=(2, 2))
    weights = torch.randn(3, 3, 3, 2, dtype=torch.float64)

    def sampled(rows, columns):
        r = torch.arange(rows, dtype=torch.float64)[:, None, None] / rows
        c = torch.arange(columns, dtype=torch.float64)[None, :, None] / columns
        x = torch.zeros(rows, columns, 3, dtype=torch.float64)
        for j in range(3):
            for k in range(3):
                phase = 2 * math.pi * (j * r + k * c)
                x = x + weights[j, k, :, 0] * phase.cos() + weights[j, k, :, 1] * phase.sin()
        return x.view(1, rows * columns, 3)

    coarse = module(sampled(6, 8), grid=(6, 8)).view(6, 8, 3)
    fine = module(sampled(12, 24), grid=(12, 24)).view(12, 24, 3)
    torch.testing.assert_close(fine[::2, ::3], coarse, rtol=0, atol=1e-11)


def test_all_frequencies_make_any_circular_convolution():
    """relu(circ(X) W_1) W_2 on a grid: put the kernel's own transform into the weights."""
    rows, columns, d = 4, 5, 3
    kernel = torch.randn(rows, columns, d, d, dtype=torch.float64)
    module = made(dim=d, modes=(rows // 2, columns // 2), bypass=False, projection=True)
    z = torch.fft.fft2(kernel, dim=(0, 1))[:, : columns // 2 + 1]
    with torch.no_grad():
        weight = torch.zeros(2, 5, columns // 2 + 1, 1, d, d, dtype=torch.float64)
        weight[:, [0, 1, 3, 4], :, 0] = torch.stack([z.real, z.imag])[:, [0, 1, 2, 3]]  # frequencies 0, 1, -2, -1
        module.weight.copy_(weight)
    x = torch.randn(1, rows * columns, d, dtype=torch.float64)
    field = x.view(rows, columns, d)
    wanted = torch.zeros_like(field)
    for a in range(rows):
        for b in range(columns):
            wanted += field.roll((a, b), (0, 1)) @ kernel[a, b]
    wanted = (wanted.clamp(min=0) @ module.projection[0]).view(1, rows * columns, d)
    torch.testing.assert_close(module(x, grid=(rows, columns)), wanted, rtol=0, atol=1e-11)


def test_groups_of_channels_do_not_meet():
    module = made(dim=4, modes=(1, 1), num_blocks=2, bypass=False)
    x = torch.randn(1, 6, 4, dtype=torch.float64)
    changed = x.clone()
    changed[..., 2:] += 1
    difference = module(changed, grid=(2, 3)) - module(x, grid=(2, 3))
    assert not difference[..., :2].any() and difference[..., 2:].any()


def test_half_precision_tokens():
    for name, options in (("fno", {"modes": (1, 1)}), ("afno", {"num_blocks": 2})):
        module = create(name, dim=4, **options).eval()
        x = torch.randn(2, 6, 4)
        wanted = module(x, grid=(2, 3))
        found = module.bfloat16()(x.bfloat16(), grid=(2, 3))
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), wanted, rtol=0.05, atol=0.05)


def test_what_they_refuse():
    with pytest.raises(InputError, match="num_blocks must divide dim=6, got 4; the next below that does is 3"):
        create("afno", dim=6, num_blocks=4)
    with pytest.raises(InputError, match=r"threshold must be a finite number of at least 0, got -0\.1"):
        create("afno", dim=8, threshold=-0.1)
    with pytest.raises(InputError, match="modes must be a tuple of 2 values, got 3"):
        create("fno", dim=8, modes=3)
    with pytest.raises(InputError, match="modes"):
        create("fno", dim=8, modes=(0, 2), variant="official")
    with pytest.raises(InputError, match="activation"):
        create("fno", dim=8, activation="tanh")


def test_memory_counts_the_weights_in_use():
    module = create("fno", dim=64, modes=(4, 4))
    assert module.cost(256).memory == 5 * module.weight.numel()
    assert module.cost(4).memory == 5 * 2 * (2 * 2) * 64**2  # two frequencies along each axis of 2 x 2
    assert module.cost(128**2).memory == 2 * 128**2 * 64  # many tokens are more than the weights
