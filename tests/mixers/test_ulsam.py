"""Ultra-light subspace attention: numbers of the official code, and what its specification says must hold."""

from __future__ import annotations

import pytest
import torch

from headwise import InputError
from headwise.mixers import create

FIRST = {
    False: [1.0310951, 1.02609108, 1.01084789, 0.98553907, 0.95037847],
    True: [1.01143709, 1.00638412, 0.99127569, 0.96626276, 0.93159525],
}


@pytest.mark.parametrize("training", [False, True])
def test_golden(training, golden):
    module = create("ulsam", dim=8, num_groups=2, variant="official").double().train(training)
    dw, pw = module.depthwise, module.pointwise
    golden.fill(
        *(p for g in (0, 1) for own in (slice(4 * g, 4 * g + 4),)
          for p in (dw.weight[own], dw.bias[own], pw.weight[g], pw.bias[g : g + 1]))
    )  # fmt: skip
    out = module(golden.cosine(2, 8, 5, 6))
    sums = (-7.14657768, 257.18200479) if training else (-7.08793864, 259.07377428)
    golden.check(out, *sums, FIRST[training])
    if training:
        assert float(module.norms[1].running_mean[0]) == pytest.approx(0.7729971, abs=1e-7)
        assert float(module.norms[1].running_var[0]) == pytest.approx(0.1344285, abs=1e-7)


def test_parameters_of_the_specification():
    assert create("ulsam", dim=512, num_groups=4).cost(14 * 14).parameters == 2 * 512
    assert create("ulsam", dim=24, num_groups=4, variant="official").cost(1).parameters == 5 * 24 + 3 * 4


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_gains_lie_above_one_and_add_up_and_groups_do_not_meet(variant):
    module = create("ulsam", dim=6, num_groups=2, variant=variant).double().eval()
    x = torch.randn(2, 6, 4, 5, dtype=torch.float64)
    gain = module(x) / x
    assert gain.min() >= 1 and gain.max() <= 2
    torch.testing.assert_close(gain.sum((2, 3)), torch.full((2, 6), 21.0, dtype=torch.float64), rtol=0, atol=1e-9)
    changed = x.clone()
    changed[:, 3:] += 1
    torch.testing.assert_close(module(changed)[:, :3], module(x)[:, :3], rtol=0, atol=0)


def test_what_it_refuses():
    with pytest.raises(InputError, match="num_groups must divide dim=6, got 5; the next below that does is 3"):
        create("ulsam", dim=6, num_groups=5)
    with pytest.raises(InputError, match="variant"):
        create("ulsam", dim=8, variant="code")


def test_only_the_official_one_meets_other_samples():
    assert create("ulsam", dim=8).traits.batch_independent
    assert not create("ulsam", dim=8, variant="official").traits.batch_independent
