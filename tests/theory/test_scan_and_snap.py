"""Scan and snap: the limit of long sequences, the sampled training, and the published table of learning rates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from headwise.errors import InputError
from headwise.theory.scan_and_snap import (
    COMMON,
    ENTROPY,
    ScanAndSnap,
    entropy_of_rates,
    predict,
    simulate,
    winners,
)

NATS = np.log(10)


def _distinct(curves, step=-1):
    return np.array([curves[name][step] for name in curves.series if name.startswith("distinct")])


def test_common_tokens_are_suppressed_and_distinct_ones_are_ordered_by_weight() -> None:
    curves = predict(ScanAndSnap())
    assert np.all(np.diff(curves[COMMON]) <= 1e-12) and curves[COMMON][-1] < 0.45 < curves[COMMON][0]
    assert np.all(np.diff(_distinct(curves)) > 0)
    relative = _distinct(curves) / _distinct(curves, 0)
    assert np.all(np.diff(relative) > 0)  # not only larger: grown more, each compared with its start
    assert _distinct(curves).max() < 0.5 and _distinct(curves).min() > 0  # sparse, never one-hot


def test_zero_start_and_shares_add_up() -> None:
    curves = simulate(ScanAndSnap(num_steps=10), [3])
    assert curves[ENTROPY][0] * NATS == pytest.approx(2.151, abs=1e-3)
    total = curves[COMMON] + sum(curves[name] for name in curves.series if name.startswith("distinct"))
    np.testing.assert_allclose(total, 1, atol=1e-12)


@pytest.mark.parametrize(
    ("rate_y", "rate_z", "entropy"),
    [
        (1, 1, 1.94),
        (2, 1, 2.00),
        (5, 1, 2.06),
        (10, 1, 2.08),
        (2, 2, 1.86),
        (4, 2, 1.94),
        (2, 0.5, 2.07),
        (10, 0.5, 2.12),
    ],
)
def test_table_of_learning_rates(rate_y, rate_z, entropy) -> None:
    curves = simulate(ScanAndSnap(rate_y=rate_y, rate_z=rate_z), [0])
    assert curves[ENTROPY][-1] * NATS == pytest.approx(entropy, abs=0.03)


@pytest.mark.parametrize(("rate_y", "mass"), [(1, 0.36), (2, 0.41), (5, 0.49), (10, 0.54)])
def test_mass_of_common_tokens(rate_y, mass) -> None:
    assert simulate(ScanAndSnap(rate_y=rate_y), [0])[COMMON][-1] == pytest.approx(mass, abs=0.04)


def test_entropy_falls_with_rate_z_and_rises_with_the_ratio() -> None:
    curves = entropy_of_rates([0.5, 1, 2], [1, 2, 5])
    values = np.stack([np.asarray(v) for v in curves.series.values()])
    assert np.all(np.diff(values, axis=0) < 0) and np.all(np.diff(values, axis=1) > 0)


def test_simulation_with_long_sequences_is_the_prediction() -> None:
    config = ScanAndSnap(length=20_001, batch=400, num_steps=60, rate_y=2)
    predicted, simulated = predict(config), simulate(config, [0, 1])
    for name in predicted.series:
        np.testing.assert_allclose(simulated[name], predicted[name], atol=0.006, err_msg=name)
    short = simulate(replace(config, length=20), [0])
    assert abs(short[COMMON] - predicted[COMMON]).max() > 0.02  # the test can fail


@pytest.mark.parametrize("shared", [False, True])
def test_two_steps_agree_with_automatic_differentiation(shared) -> None:
    """The gradient of the prediction against the one of a model that is written as it is said."""
    config = ScanAndSnap(
        num_common=2, num_distinct=3, num_steps=3, momentum=0.5, rate_y=3, rate_z=2, shared_query=shared
    )
    chances = torch.tensor(config.probabilities)
    decoder = torch.zeros(chances.shape[1], config.vocabulary, dtype=torch.float64, requires_grad=True)
    logits = torch.zeros(1 if shared else 2, chances.shape[1], dtype=torch.float64, requires_grad=True)
    speed = [torch.zeros_like(decoder), torch.zeros_like(logits)]
    attention = None
    for _ in range(4):
        attention = torch.softmax(chances.log() + logits.expand(2, -1), dim=1)
        features = attention / attention.norm(dim=1, keepdim=True)
        loss = torch.nn.functional.cross_entropy(features @ decoder, torch.arange(2))
        slopes = torch.autograd.grad(loss, [decoder, logits])
        speed = [0.5 * old + slope for old, slope in zip(speed, slopes, strict=True)]
        decoder.data -= 3.0 * speed[0]
        logits.data -= 2.0 * speed[1]
    assert predict(config)[COMMON][-1] == pytest.approx(attention[:, :2].sum(1).mean().item(), abs=1e-12)


def test_random_start_changes_the_winner_among_near_equal_tokens() -> None:
    near = ScanAndSnap(lowest=0.95, start_spread=0.2, num_steps=60, shared_query=True, length=1001)
    assert len(set(winners(near, range(6)).tolist())) >= 3
    assert set(winners(replace(near, lowest=0.1, start_spread=0.0), range(3)).tolist()) == {9}


def test_ratio_law_in_joint_training() -> None:
    """Theorem 3 where the decoder, five times faster, remembers older features: nearly so, best for rare tokens."""
    curves = predict(ScanAndSnap(rate_y=1, rate_z=0.2))
    first, last = _distinct(curves, 0), _distinct(curves)
    grown = np.log(last / first)
    fallen = np.log(curves[COMMON][-1] / curves[COMMON][0])  # of each of ten common tokens
    logits = grown - (grown.sum() + 10 * fallen) / 20  # those of a row add up to zero
    law = np.exp(2 * logits[-1])
    ratio = ((last[-1] / last[:-1]) ** 2 - 1) / ((first[-1] / first[:-1]) ** 2 - 1)
    assert law == pytest.approx(1.74, abs=0.03)
    assert np.all((ratio > 1.56) & (ratio < law)) and np.all(np.diff(ratio) < 0)


def test_adam_picks_other_tokens_at_other_rates() -> None:
    config = ScanAndSnap(optimizer="adam", length=128, num_steps=100)
    sets = [winners(replace(config, rate_y=rate, rate_z=rate), range(2)) for rate in (0.1, 0.5, 1.0)]
    assert len({tuple(s.tolist()) for s in sets}) > 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_classes": 1},
        {"num_distinct": 0},
        {"lowest": 0},
        {"lowest": 1.5},
        {"rate_y": -1},
        {"rate_z": float("nan")},
        {"momentum": 1.0},
        {"num_steps": 2.5},
        {"length": 1},
        {"optimizer": "adagrad"},
        {"start_spread": float("inf")},
        {"shared_query": 1},
    ],
)
def test_bad_configurations(wrong) -> None:
    with pytest.raises(InputError):
        ScanAndSnap(**wrong)


def test_bad_seeds() -> None:
    with pytest.raises(InputError, match="seeds must be a row"):
        simulate(ScanAndSnap(), [])
    with pytest.raises(InputError, match="seed"):
        simulate(ScanAndSnap(), [-1])
