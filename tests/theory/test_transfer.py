"""Benefit of a second task: closed form against the table, against draws, and against general teachers."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from headwise import InputError
from headwise.theory import transfer
from headwise.theory.transfer import Transfer, benefit, best_on_task, pair, stack

matplotlib.use("Agg")

ALIGNMENTS = (0.0, 0.3, 0.6, 0.9, 1.0)
FORMULA = {
    (1.0, 3.0): (-0.02, -0.01, 0.12, 0.40, 0.52),
    (0.84, 5.0): (0.0, 0.01, 0.12, 0.41, 0.54),
    (1.5, 1.5): (-0.12, -0.10, -0.04, 0.11, 0.16),
    (3.0, 3.0): (-0.06, -0.07, -0.08, 0.0, 0.06),
}
SIMULATION = {
    (1.0, 3.0): (-0.04, -0.02, 0.10, 0.34, 0.48),
    (0.84, 5.0): (-0.02, -0.01, 0.10, 0.40, 0.53),
    (1.5, 1.5): (-0.10, -0.07, 0.01, 0.12, 0.16),
    (3.0, 3.0): (-0.06, -0.08, -0.08, 0.02, 0.05),
}


def _only(curves):
    (name,) = curves.series
    return curves[name]


@pytest.mark.parametrize("strengths", FORMULA)
def test_table_and_draws(strengths):
    """Section 7: formula to 0.012, but where tasks are the same (q = 1: a mode of strength 0 is no mode here) to 0.025;
    draws to 0.06, which is what a few draws of this size differ by."""
    one, two = strengths
    config = Transfer(strength=one, auxiliary=(two,), alignments=ALIGNMENTS)
    predicted, simulated = _only(transfer.predict(config)), _only(transfer.simulate(config, range(4)))
    np.testing.assert_allclose(predicted[:-1], FORMULA[strengths][:-1], atol=0.012)
    assert predicted[-1] == pytest.approx(FORMULA[strengths][-1], abs=0.025)
    np.testing.assert_allclose(simulated, SIMULATION[strengths], atol=0.06)
    np.testing.assert_allclose(simulated, predicted, atol=0.07)


def test_a_strong_task_gains_nothing_from_a_weak_one():
    found = _only(transfer.predict(Transfer(strength=3.0, auxiliary=(1.0,), alignments=ALIGNMENTS)))
    assert (found > -0.025).all() and (found < 0.005).all()


def test_signs_of_the_map():
    """Harm without alignment, help of a strong aligned task, and only the square of the alignment counts."""
    for strength in (1.0, 1.5, 3.0):
        curves = transfer.predict(Transfer(strength=strength, auxiliary=(4.0,), alignments=(-0.9, 0.0, 0.9, 1.0)))
        low, none, high, same = _only(curves)
        assert none < 0 < same and low == pytest.approx(high)
    weak, strong = (transfer.predict(Transfer(strength=s, auxiliary=(4.0,), alignments=(1.0,))) for s in (1.0, 3.0))
    assert _only(weak)[0] > 3 * _only(strong)[0]


@pytest.mark.parametrize("sides", [(60, 30, 60), (30, 60, 40)])
def test_outputs_shared(sides):
    config = Transfer(*sides, strength=2.0, auxiliary=(4.0,), alignments=(0.0, 0.9), share="outputs")
    np.testing.assert_allclose(_only(transfer.simulate(config, range(12))), _only(transfer.predict(config)), atol=0.08)


def _vectors(seed, sides, rank):
    rng = np.random.default_rng(seed)
    return [np.linalg.qr(rng.normal(size=(side, rank)))[0] for side in sides]


@pytest.mark.parametrize("share", ["inputs", "outputs"])
def test_stacked_teachers_agree_with_the_pair(share):
    left, right = _vectors(0, (20, 40), 2)
    q = 0.7
    if share == "inputs":
        one, two = (
            np.outer(left[:, 0], right[:, 0]),
            np.outer(left[:, 1], q * right[:, 0] + (1 - q**2) ** 0.5 * right[:, 1]),
        )
        shared, sizes, scale = 40, (20, 20), 1.0
    else:
        one, two = (
            np.outer(left[:, 0], right[:, 0]),
            np.outer(q * left[:, 0] + (1 - q**2) ** 0.5 * left[:, 1], right[:, 1]),
        )
        shared, sizes, scale = 20, (40, 40), 0.5**0.5
    found, closed = stack([2 * one, 3 * two], share), pair(2.0, 3.0, q, shared, sizes, scale)
    np.testing.assert_allclose(found.strengths, closed.strengths)
    np.testing.assert_allclose(found.shares, closed.shares)
    assert (found.sizes, found.shared) == (closed.sizes, closed.shared) and found.scale == pytest.approx(closed.scale)
    np.testing.assert_allclose(found.shares.sum(0), 1)


def test_one_task_is_the_student_of_one_teacher():
    from headwise.theory.deep_linear import DeepLinear, best_stopping

    left, right = _vectors(1, (50, 100), 2)
    alone = best_on_task(stack([(left * [4.0, 2.0]) @ right.T]))
    assert alone == pytest.approx(best_stopping(DeepLinear(strengths=(4.0, 2.0))), rel=1e-3)
    # with outputs shared, one task is the same problem seen from the other side
    assert best_on_task(stack([(left * [4.0, 2.0]) @ right.T], "outputs")) == pytest.approx(alone, rel=1e-3)


def test_many_tasks_of_several_modes_against_draws():
    """Three tasks of rank two that share one direction of the inputs."""
    rng = np.random.default_rng(3)
    (inputs,) = _vectors(4, (80,), 4)
    teachers = [
        (np.linalg.qr(rng.normal(size=(30, 2)))[0] * [3.0, 2.0]) @ inputs[:, [0, 1 + task]].T for task in range(3)
    ]
    joint = stack(teachers)
    assert len(joint.strengths) == 4
    stop = best_on_task(joint)
    errors = []
    for _ in range(10):
        data = np.concatenate(teachers) + rng.normal(size=(90, 80)) / 80**0.5
        left, values, right = np.linalg.svd(data, full_matrices=False)
        s = transfer.mode_strengths([stop.time], values, 1e-3)[0]
        errors.append((((left[:30] * s) @ right - teachers[0]) ** 2).sum() / (teachers[0] ** 2).sum())
    assert np.mean(errors) == pytest.approx(stop.error, rel=0.15)
    assert benefit(stack(teachers[:1]), joint) == pytest.approx(
        best_on_task(stack(teachers[:1])).error - stop.error, abs=1e-12
    )


def test_heat_map_has_labels_and_the_line_of_no_benefit():
    config = Transfer(auxiliary=(2.0, 4.0), alignments=(0.0, 0.5, 1.0))
    axes = transfer.heat_map(config)
    assert axes.get_xlabel() == "alignment (cosine)" and "noise" in axes.get_ylabel()
    assert len(axes.collections) == 2
    matplotlib.pyplot.close("all")
    with pytest.raises(InputError, match="at least two"):
        transfer.heat_map(Transfer(auxiliary=(2.0,)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Transfer(alignments=(1.5,)), "cosine"),
        (lambda: Transfer(alignments=()), "row of numbers"),
        (lambda: Transfer(auxiliary=()), "auxiliary"),
        (lambda: Transfer(strength=0), "strength"),
        (lambda: Transfer(share="hidden"), "inputs or outputs"),
        (lambda: stack([]), "matrices"),
        (lambda: stack([np.zeros((2, 3))]), "not all zero"),
        (lambda: stack([np.full((2, 3), np.nan)]), "finite"),
        (lambda: stack([np.ones((2, 3)), np.ones((2, 4))]), "share inputs must have the same number"),
        (lambda: stack([np.ones((2, 3))]).errors([1.0], task=1), "task must be from 0 to 0"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message):
        call()
