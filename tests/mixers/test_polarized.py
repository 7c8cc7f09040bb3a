"""Polarized self-attention: numbers of the official code, counts and ranges of the specification."""

from __future__ import annotations

import pytest
import torch

from headwise import InputError
from headwise.mixers import create


def test_golden_parallel(golden):
    module = create("polarized_parallel", dim=32, variant="official").double()
    golden.fill(*(p.weight for p in (module.q_r, module.v_r, module.up[0], module.q_l, module.v_l)))
    first = [0.9940546, 0.98966076, 0.97535408, 0.95125929, 0.91760061]
    golden.check(module(golden.cosine(2, 32, 3, 4)), 10.26539263, 400.37251531, first, [0.3799883, 0.28000172])


def test_golden_sequential(golden):
    module = create("polarized_sequential", dim=32, variant="official").double()
    up = module.up
    golden.fill(
        module.q_r.weight, module.v_r.weight, up[0].weight, up[0].bias, up[3].weight, up[3].bias,
        module.q_l.weight, module.v_l.weight,
    )  # fmt: skip
    first = [0.23482499, 0.23373272, 0.23029626, 0.22454811, 0.21654444]
    golden.check(module(golden.cosine(2, 32, 3, 4)), 3.07658088, 23.96040138, first, [0.08198607, 0.06041584])


def test_parameters_of_the_specification():
    c = 32
    found = {
        (name, variant): create(name, dim=c, variant=variant).cost(1).parameters
        for name in ("polarized_parallel", "polarized_sequential")
        for variant in ("paper", "official")
    }
    assert found["polarized_parallel", "official"] == 2 * c * c + c
    assert found["polarized_sequential", "official"] == 27 * c * c // 16 + 19 * c // 8
    assert found["polarized_parallel", "paper"] == found["polarized_sequential", "paper"] == 2 * c * c + 11 * c // 2 + 1


def test_the_official_gate_of_places_is_nearly_a_half():
    module = create("polarized_parallel", dim=8, variant="official").double()
    places = torch.randn(2, 8, 400, dtype=torch.float64)
    gate = module.spatial_gate(places).detach()
    assert gate.min() > 0.5 and gate.max() < 0.7311
    assert gate.mean() == pytest.approx(0.5 + 0.25 / 400, abs=1e-4)
    paper = create("polarized_parallel", dim=8).double().spatial_gate(places)
    assert paper.max() - paper.min() > 0.1


def test_what_they_refuse():
    with pytest.raises(InputError, match="even"):
        create("polarized_parallel", dim=5)
    for dim in (8, 20):
        with pytest.raises(InputError, match=f"multiple of 8 from 16 on.*got {dim}"):
            create("polarized_sequential", dim=dim, variant="official")
    with pytest.raises(InputError, match="variant"):
        create("polarized_parallel", dim=8, variant="code")
