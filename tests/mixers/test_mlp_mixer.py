"""MLP-Mixer's mixing of tokens: timm's, its cost in both forms, what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from headwise import InputError
from headwise.mixers import create


def test_equals_timm():
    mixer = pytest.importorskip("timm.models.mlp_mixer", reason="timm is not installed: pip install timm")
    theirs = mixer.MixerBlock(dim=16, seq_len=12).double().eval()
    ours = create("mlp_mixer", dim=16, grid=(3, 4)).double().eval()
    tokens = theirs.mlp_tokens
    ours.load_state_dict(
        {
            "into.weight": tokens.fc1.weight,
            "into.bias": tokens.fc1.bias,
            "back.weight": tokens.fc2.weight,
            "back.bias": tokens.fc2.bias,
        }
    )
    x = torch.randn(2, 12, 16, dtype=torch.float64)
    torch.testing.assert_close(
        ours(x), tokens(x.transpose(1, 2)).transpose(1, 2), rtol=0, atol=1e-12, msg="the default hidden width is theirs"
    )


def test_sum_of_heads_is_quadratic_and_says_so():
    found = []
    for side in (16, 32):
        with torch.device("meta"):
            module = create("mlp_mixer", dim=4, grid=(side, side), form="heads", num_heads=3)
            x = torch.randn(1, side * side, 4)
        with FlopCounterMode(display=False) as counter:
            module(x)
        found.append(counter.get_total_flops())
        assert module.cost(side * side).flops == found[-1]
    assert found[1] / found[0] == pytest.approx(4**module.traits.exponent, rel=0.02)


def test_what_it_refuses():
    with pytest.raises(InputError, match="give grid"):
        create("mlp_mixer", dim=4)
    with pytest.raises(InputError, match="hidden=8"):
        create("mlp_mixer", dim=4, grid=(2, 2), form="heads", hidden=8)
    with pytest.raises(InputError, match="num_heads=2"):
        create("mlp_mixer", dim=4, grid=(2, 2), num_heads=2)
    with pytest.raises(InputError, match="form"):
        create("mlp_mixer", dim=4, grid=(2, 2), form="head")
