"""UniFormer's two aggregators: the layers that they are, what one can see, and the sizes of the published blocks."""

import pytest
import torch
from torch import nn

from headwise import InputError
from headwise.mixers import create


def test_local_relation_is_three_convolutions():
    mixer = create("local_relation", dim=6).double()
    layers = nn.Sequential(nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 5, padding=2, groups=6), nn.Conv2d(6, 6, 1)).double()
    with torch.no_grad():
        for ours, theirs in zip((mixer.v, mixer.affinity, mixer.proj), layers, strict=True):
            theirs.weight.copy_(ours.weight.reshape(theirs.weight.shape))
            theirs.bias.copy_(ours.bias)
    maps = torch.randn(2, 6, 7, 9, dtype=torch.float64)
    out = mixer(maps.flatten(2).transpose(1, 2), grid=(7, 9))
    torch.testing.assert_close(out.transpose(1, 2).unflatten(2, (7, 9)), layers(maps), rtol=0, atol=1e-12)


def test_local_relation_is_affine():
    mixer = create("local_relation", dim=4, grid=(6, 5)).double()
    a, b = torch.randn(2, 1, 30, 4, dtype=torch.float64)
    at_zero = mixer(torch.zeros_like(a))
    torch.testing.assert_close(mixer(a + b) - at_zero, mixer(a) + mixer(b) - 2 * at_zero)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_local_relation_sees_its_window(kernel_size):
    mixer = create("local_relation", dim=2, kernel_size=kernel_size, grid=(5, 7)).double()
    x = torch.randn(1, 35, 2, dtype=torch.float64)
    through = torch.autograd.functional.jacobian(lambda x: mixer(x).sum(-1)[0], x)[:, 0].abs().sum(-1) > 0
    assert torch.equal(mixer.pair_mask(x)[0], through)


def test_global_relation_equals_timm_with_the_same_weights():
    timm = pytest.importorskip("timm.layers", reason="timm has the layer to compare with")
    theirs = timm.Attention(12, num_heads=3, qkv_bias=True).double()
    mixer = create("global_relation", dim=12, head_dim=4).double()
    mixer.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 9, 12, dtype=torch.float64)
    torch.testing.assert_close(mixer(x), theirs(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dim", [64, 128])
def test_blocks_have_the_published_numbers_of_parameters(dim):
    """10 C^2 + 47 C and 12 C^2 + 23 C with the position embedding, the norms and the network after it."""
    network = 8 * dim * dim + 5 * dim
    rest = 10 * dim + 4 * dim + network
    local, all_ = create("local_relation", dim=dim), create("global_relation", dim=dim)
    assert local.cost(49).parameters + rest == 10 * dim**2 + 47 * dim
    assert all_.cost(49).parameters + rest == 12 * dim**2 + 23 * dim


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("local_relation", {"kernel_size": 4}, "kernel_size must be odd"),
        ("local_relation", {"kernel_size": 0}, "kernel_size"),
        ("global_relation", {"head_dim": 5}, "head_dim must divide dim=8"),
        ("global_relation", {"head_dim": 4, "qkv_bias": 1}, "qkv_bias"),
    ],
)
def test_options_are_checked(name, options, says):
    with pytest.raises(InputError, match=says):
        create(name, dim=8, **options)
