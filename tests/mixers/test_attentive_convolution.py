"""Attentive convolution: numbers of the official code, and the exact checks of its specification."""

from __future__ import annotations

import pytest
import torch

from headwise import InputError
from headwise.mixers import create
from headwise.mixers.maps import as_map, as_tokens


@pytest.fixture
def module():
    return create("attentive_convolution", dim=6, grid=(7, 5)).double().eval()


def test_golden(module, golden):
    layers = (module.kernel_proj, module.kernel_gen, module.x_proj, module.proj)
    golden.fill(module.delta, *(p for layer in layers for p in (layer.weight, layer.bias)))
    out = as_map(module(as_tokens(golden.cosine(2, 6, 7, 5))), (7, 5))
    first = [-0.4884987, -0.47403973, -0.47218053, -0.4705389, -0.22394762]
    golden.check(out, -89.21645108, 31.70197473, first, [-0.20154399, -0.08996313])


def test_parameters_of_the_specification(module):
    assert module.cost(35).parameters == 3 * (36 + 6) + 90 + 6


def test_order_inside_a_strip_tells_the_kernels_nothing(module):
    x = torch.randn(1, 36, 6, dtype=torch.float64)
    inside = torch.cat([x[:, 4 * s : 4 * s + 4].flip(1) for s in range(9)], 1)
    torch.testing.assert_close(module.kernels(inside), module.kernels(x), rtol=0, atol=1e-12)
    assert (module.kernels(x.flip(1)) - module.kernels(x)).abs().max() > 1e-6


def test_a_middle_tap_alone_is_two_layers(module):
    with torch.no_grad():
        module.kernel_gen.weight.zero_()
        module.kernel_gen.bias.copy_(torch.eye(9)[4])
        module.delta.fill_(-1e4)
    x = torch.randn(1, 35, 6, dtype=torch.float64)
    torch.testing.assert_close(module(x), module.proj(module.x_proj(x)), rtol=0, atol=1e-12)


def test_full_competition_is_blind_to_constants(module):
    with torch.no_grad():
        module.proj.bias.normal_()
        module.delta.fill_(1e4)
    x = torch.randn(1, 1, 6, dtype=torch.float64).expand(1, 35, 6)
    inside = module(x).view(7, 5, 6)[1:-1, 1:-1]
    torch.testing.assert_close(inside, module.proj.bias.expand_as(inside), rtol=0, atol=1e-12)


def test_what_it_refuses():
    with pytest.raises(InputError, match="kernel_size must be odd, got 4; take 5"):
        create("attentive_convolution", dim=4, kernel_size=4)
    with pytest.raises(InputError, match="approximate"):
        create("attentive_convolution", dim=4, approximate="erf")
