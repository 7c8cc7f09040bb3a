"""Halo attention: golden numbers, timm's layer with the same weights, windows, and what it refuses."""

import math

import pytest
import torch

from headwise import InputError
from headwise.mixers import create

# (options, sum, sum of squares, first outputs) of the specification: numbers of timm's layer in float64, which an
# implementation written from equations alone reproduced
GOLDEN = [
    ({}, 27.52733281, 3140.75099978, [-1.91032427, -1.81434865, -1.69416561, -1.48132017, -1.01115144]),
    ({"stride": 2}, 1.15826937, 751.00473486, [-1.91032427, -1.68666064, -1.01115144, -0.07610241, 1.75427318]),
    ({"scale_pos_embed": True}, 27.17429312, 3147.77093007, [-1.92514913]),
]


def planted(shape: tuple[int, ...], k: int) -> torch.Tensor:
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    return (0.3 * torch.sin(1 + 0.5 * k + 0.17 * i)).reshape(shape)


def as_map(tokens: torch.Tensor, rows: int) -> torch.Tensor:
    """Tokens as a map ``(B, C, H, W)``, as timm has it."""
    return tokens.transpose(1, 2).unflatten(2, (rows, -1))


@pytest.mark.parametrize(("options", "total", "squares", "first"), GOLDEN)
def test_golden_numbers(options, total, squares, first):
    mixer = create("halo", dim=16, num_heads=2, block_size=4, halo_size=1, **options).double()
    with torch.no_grad():
        for k, p in enumerate((mixer.q.weight, mixer.kv.weight, mixer.height_rel, mixer.width_rel)):
            p.copy_(planted(tuple(p.shape), k))
    x = torch.cos(0.1 * torch.arange(16 * 64, dtype=torch.float64)).reshape(1, 16, 8, 8)
    out = mixer(x.flatten(2).transpose(1, 2), grid=(8, 8))
    out = as_map(out, mixer.out_grid((8, 8))[0]).flatten()
    assert out.sum().item() == pytest.approx(total, abs=1e-7)
    assert out.square().sum().item() == pytest.approx(squares, abs=1e-7)
    assert out[: len(first)].tolist() == pytest.approx(first, abs=1e-8)
    if not options:
        assert out[-2:].tolist() == pytest.approx([2.47309056, 2.45269779], abs=1e-8)


@pytest.mark.parametrize(
    "options",
    [
        {"block_size": 4, "halo_size": 1},
        {"block_size": 4, "halo_size": 3, "dim_head": 6, "qkv_bias": True, "scale_pos_embed": True},
        {"block_size": 4, "halo_size": 2, "stride": 2},
        {"block_size": 4, "halo_size": 2, "stride": 2, "avg_down": True},
        {"block_size": 2, "halo_size": 0, "qkv_bias": True},
    ],
)
def test_timm_with_the_same_weights(options):
    halo = pytest.importorskip("timm.layers.halo_attn", reason="timm has the layer to compare with")
    torch.manual_seed(0)
    theirs = halo.HaloAttn(16, num_heads=2, **options).double()
    mixer = create("halo", dim=16, num_heads=2, **options).double()
    with torch.no_grad():
        for name in ("q", "kv"):
            ours, other = getattr(mixer, name), getattr(theirs, name)
            ours.weight.copy_(other.weight.flatten(1))
            if ours.bias is not None:
                ours.bias.copy_(other.bias)
        mixer.height_rel.copy_(theirs.pos_embed.height_rel)
        mixer.width_rel.copy_(theirs.pos_embed.width_rel)
    x = torch.randn(2, 8 * 12, 16, dtype=torch.float64)
    wanted = theirs(as_map(x, 8)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(mixer(x, grid=(8, 12)), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid", [(6, 6), (4, 7)])
def test_padding_of_the_grid_is_padding_of_the_halo(grid):
    """A grid that blocks do not divide gives what zeros around it would, where tokens have no biases."""
    mixer = create("halo", dim=8, num_heads=2, block_size=4, halo_size=1).double()
    x = torch.randn(1, *grid, 8, dtype=torch.float64)
    full = torch.zeros(1, 8, 8, 8, dtype=torch.float64)
    full[:, : grid[0], : grid[1]] = x
    wanted = mixer(full.flatten(1, 2), grid=(8, 8)).unflatten(1, (8, 8))[:, : grid[0], : grid[1]]
    torch.testing.assert_close(mixer(x.flatten(1, 2), grid=grid), wanted.flatten(1, 2))


def test_hidden_padding_is_a_mask_of_tokens():
    hides = create("halo", dim=8, num_heads=2, block_size=4, halo_size=4, mask_padding=True).double()
    x = torch.randn(1, 12, 12, 8, dtype=torch.float64)
    mask = torch.zeros(1, 12, 12, dtype=torch.bool)
    mask[:, :6, :7] = True  # the same tokens, once as a grid of their own and once as real ones of a larger grid
    wanted = hides(x.flatten(1, 2), mask=mask.flatten(1), grid=(12, 12)).unflatten(1, (12, 12))[:, :6, :7]
    torch.testing.assert_close(hides(x[:, :6, :7].flatten(1, 2), grid=(6, 7)), wanted.flatten(1, 2))


def test_one_block_without_a_halo_is_global_attention():
    mixer = create("halo", dim=8, num_heads=2, block_size=5, halo_size=0).double()
    with torch.no_grad():
        mixer.height_rel.zero_()
        mixer.width_rel.zero_()
    x = torch.randn(2, 25, 8, dtype=torch.float64)
    q = mixer.q(x).unflatten(-1, (2, 4)).transpose(1, 2)
    k, v = mixer.kv(x).unflatten(-1, (2, 8)).transpose(1, 2).chunk(2, -1)
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(mixer(x, grid=(5, 5)), wanted)


def test_shift_by_a_block_shifts_the_interior_and_shift_by_one_does_not():
    mixer = create("halo", dim=4, num_heads=1, block_size=4, halo_size=1).double()
    big = torch.randn(1, 24, 24, 4, dtype=torch.float64)

    def at(shift):
        part = big[:, shift : shift + 16, shift : shift + 16]
        return mixer(part.flatten(1, 2), grid=(16, 16)).unflatten(1, (16, 16))

    torch.testing.assert_close(at(4)[:, 4:8, 4:8], at(0)[:, 8:12, 8:12])
    assert (at(1)[:, 4:8, 4:8] - at(0)[:, 5:9, 5:9]).abs().max() > 1e-3


def test_pair_mask_is_what_gradients_see():
    grid = (5, 7)
    mixer = create("halo", dim=4, num_heads=1, block_size=3, halo_size=1, grid=grid).double()
    x = torch.randn(1, 35, 4, dtype=torch.float64)
    through = torch.autograd.functional.jacobian(lambda x: mixer(x).sum(-1)[0], x)[:, 0].abs().sum(-1) > 0
    assert torch.equal(mixer.pair_mask(x)[0], through)


def test_the_first_rows_of_the_tables_are_never_read():
    mixer = create("halo", dim=4, num_heads=1, block_size=4, halo_size=2)
    mixer(torch.randn(1, 64, 4), grid=(8, 8)).square().sum().backward()
    for table in (mixer.height_rel, mixer.width_rel):
        assert not table.grad[:4].any() and table.grad[4:].any(1).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_heads": 3}, "num_heads must divide dim=8"),
        ({"block_size": 0}, "block_size"),
        ({"halo_size": -1}, "halo_size"),
        ({"stride": 3}, "stride must be 1 or 2, got 3"),
        ({"stride": 2, "block_size": 3}, "block_size must be even, got 3"),
        ({"avg_down": True}, "stride=2"),
        ({"mask_padding": "yes"}, "mask_padding"),
        ({"dim_head": 0}, "dim_head"),
    ],
)
def test_options_are_checked(options, says):
    with pytest.raises(InputError, match=says):
        create("halo", **{"dim": 8, **options})


def test_a_strided_mixer_is_no_pair_mask():
    mixer = create("halo", dim=8, stride=2, grid=(8, 8))
    with pytest.raises(InputError, match="stride=2"):
        mixer.pair_mask(torch.randn(1, 64, 8))
