"""Teachers of several tasks as one: the pair's closed form, stacks of any rank, and draws of many tasks."""

from __future__ import annotations

import numpy as np
import pytest

from headwise import InputError
from headwise.theory.deep_linear import DeepLinear, best_stopping
from headwise.theory.joint_teacher import benefit, best_on_task, pair, stack
from headwise.theory.mode_growth import mode_strengths
from headwise.theory.stopping import draw_error


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
        s = mode_strengths([stop.time], values, 1e-3)
        by_hand = (((left[:30] * s[0]) @ right - teachers[0]) ** 2).sum() / (teachers[0] ** 2).sum()
        assert draw_error(teachers[0], left, right, s)[0] == pytest.approx(by_hand)
        errors.append(by_hand)
    assert np.mean(errors) == pytest.approx(stop.error, rel=0.15)
    assert benefit(stack(teachers[:1]), joint) == pytest.approx(
        best_on_task(stack(teachers[:1])).error - stop.error, abs=1e-12
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pair(1.0, 2.0, 1.5, 10, (5, 5)), "alignment is a cosine"),
        (lambda: stack([]), "matrices"),
        (lambda: stack([np.zeros((2, 3))]), "not all zero"),
        (lambda: stack([np.full((2, 3), np.nan)]), "finite"),
        (lambda: stack([np.ones((2, 3)), np.ones((2, 4))]), "share inputs must have the same number"),
        (lambda: stack([np.ones((2, 3))], "hidden"), "unknown share 'hidden'; known: inputs, outputs"),
        (lambda: stack([np.ones((2, 3))]).errors([1.0], task=1), "task must be from 0 to 0"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message):
        call()
