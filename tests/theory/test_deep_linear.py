"""Deep linear networks: closed forms against draws, trained networks, and the numbers of the specification."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headwise import InputError
from headwise.theory import deep_linear as dl
from headwise.theory.deep_linear import DeepLinear
from headwise.theory.gradient_flow import train
from headwise.theory.mode_growth import mode_strengths, time_to_learn

SMALL = DeepLinear(num_inputs=60, num_outputs=30, hidden=30, end=8.0, num_times=81)


@pytest.mark.parametrize(
    ("strength", "errors"),
    [
        (1.5, (0.540, 0.670, 0.719, 0.720)),
        (2.0, (0.333, 0.384, 0.410, 0.411)),
        (3.0, (0.158, 0.163, 0.166, 0.167)),
        (5.0, (0.0588, 0.0590, 0.0592, 0.0592)),
    ],
)
def test_table_of_least_errors_over_the_width(strength, errors):
    """Section 4 of the specification, to one unit of its last digit."""
    found = [dl.best_stopping(DeepLinear(strengths=(strength,), hidden=hidden)).error for hidden in (1, 5, 25, 50)]
    np.testing.assert_allclose(found, errors, atol=1.1e-3 if strength < 5 else 1.1e-4)


def test_table_of_best_times():
    times = {s: [dl.best_stopping(DeepLinear(strengths=(s,), hidden=n)).time for n in (1, 50)] for s in (1.5, 3.0)}
    np.testing.assert_allclose(times[1.5], [1.92, 1.71], atol=0.01)
    np.testing.assert_allclose(times[3.0], [1.51, 1.49], atol=0.01)


def test_width_matters_where_the_start_is_large():
    small, large = (
        [dl.best_stopping(DeepLinear(start=start, hidden=hidden)).error for hidden in (1, 50)] for start in (1e-3, 0.5)
    )
    assert small[1] - small[0] < 0.01 < 0.1 < large[1] - large[0]


def test_test_error_over_time_against_the_table_and_against_draws():
    """The table's curve stands on another rule for the quantiles of the bulk: 2 % is what these differ by.

    The least errors over the width, above, agree to the last digit.
    """
    config = DeepLinear(end=8.0, num_times=17)
    predicted, simulated = dl.predict(config), dl.simulate(config, range(10))
    at = [3, 4, 8, 16]  # times 1.5, 2, 4, 8
    np.testing.assert_allclose(predicted["test error"][at], [0.167, 0.307, 4.05, 5.59], rtol=0.02)
    np.testing.assert_allclose(simulated["test error"], predicted["test error"], rtol=0.05, atol=0.01)
    np.testing.assert_allclose(simulated["training error"], predicted["training error"], atol=0.02)


@pytest.mark.parametrize(
    "config", [replace(SMALL, num_inputs=40, num_outputs=80), replace(SMALL, depth=3, end=15.0, num_times=31)]
)
def test_tall_teachers_and_deeper_students_against_draws(config):
    config = replace(config, strengths=(4.0, 3.0))
    predicted, simulated = dl.predict(config), dl.simulate(config, range(12))
    assert simulated["test error"].min() == pytest.approx(predicted["test error"].min(), rel=0.15)
    np.testing.assert_allclose(simulated["training error"], predicted["training error"], atol=0.1)


def test_students_from_random_weights_follow_with_a_delay():
    config = replace(SMALL, start=1e-3)
    aligned, random = (dl.simulate(replace(config, student=student), range(3)) for student in ("aligned", "random"))
    assert random["test error"].min() == pytest.approx(aligned["test error"].min(), rel=0.15)
    late = config.times[np.argmin(random["test error"])] - config.times[np.argmin(aligned["test error"])]
    assert 0 <= late <= 0.6
    assert aligned["training error"][-1] <= random["training error"][-1] < 0.03  # the weakest modes are late too


def test_an_aligned_network_trained_by_gradient_flow_is_the_closed_form():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(4, 6)) / 6**0.5 + np.outer([2, 0, 0, 0], np.eye(6)[0])
    left, values, right = np.linalg.svd(data, full_matrices=False)
    times = np.array([0.0, 0.5, 1.0, 3.0])
    for depth in (1, 2, 3):
        middle = [0.01 ** (1 / depth) * np.eye(4)] * (depth - 2)
        ends = (
            [0.01 ** (1 / depth) * right, *middle, 0.01 ** (1 / depth) * left] if depth > 1 else [0.01 * left @ right]
        )
        found = train(ends, np.eye(6), data, times, 1.0, np.eye(6))
        strengths = mode_strengths(times, values, 0.01, depth)
        for (outputs, _), s in zip(found, strengths, strict=True):
            np.testing.assert_allclose(outputs, (left * s) @ right, atol=1e-4)


def test_random_labels_are_slower_and_are_learned_too():
    structured = DeepLinear(strengths=(5.0, 4.0, 3.0))
    random = replace(structured, labels="random")
    np.testing.assert_allclose(structured.seen.data, [5.06, 4.12, 3.28], rtol=0.02)  # the table's are of one draw
    np.testing.assert_allclose(random.seen.bulk[:3], [2.30, 2.27, 2.12], rtol=0.04)
    strongest = structured.seen.data[0], random.seen.bulk[0]
    assert strongest[0] / strongest[1] == pytest.approx(2.2, abs=0.05)  # the ratio of the rates
    first = [time_to_learn(v, v / 2, 1e-3) for v in strongest]
    assert first[1] / first[0] == pytest.approx(2.0, abs=0.05)  # of the times: less, a weak mode has less far to go
    assert "test error" not in dl.predict(random).series
    end = replace(random, end=1000.0)
    assert dl.predict(end)["training error"][-1] < 1e-3
    np.testing.assert_allclose(
        dl.simulate(random, range(3))["training error"], dl.predict(random)["training error"], atol=0.03
    )


def test_leaky_students_learn_as_linear_ones_do_in_shape():
    """In simulation only: the test error falls, has a minimum, and rises again."""
    config = replace(
        SMALL, num_inputs=40, num_outputs=20, hidden=20, student="random", leak=0.5, end=12.0, num_times=25
    )
    error = dl.simulate(config, [0])["test error"]
    best = int(np.argmin(error))
    assert 0 < best < len(error) - 1 and error[best] < 0.5 and error[-1] > error[best] + 0.2


def test_nothing_learnable_is_an_answer():
    stop = dl.best_stopping(DeepLinear(strengths=(0.5,)))
    assert stop.time == 0 and stop.error == pytest.approx(1, abs=1e-3)


def test_modes_by_name():
    curves = dl.modes(DeepLinear(strengths=(5.0, 3.0), hidden=1))
    assert curves["mode 1"][-1] > 5 and not curves["mode 2"].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_inputs": 0}, "num_inputs"),
        ({"hidden": 2.5}, "hidden"),
        ({"strengths": (0.0,)}, "strengths"),
        ({"strengths": 3.0}, "row of positive numbers"),
        ({"strengths": (1.0,) * 51}, "rank 51"),
        ({"strengths": (1e200,)}, r"below 1e\+06"),
        ({"num_inputs": 10**6, "num_outputs": 10**6}, "at most 100,000,000"),
        ({"start": -1}, "start"),
        ({"end": float("inf")}, "end"),
        ({"num_times": 1}, "num_times"),
        ({"labels": "shuffled"}, "random, structured"),
        ({"student": "any"}, "aligned, random"),
        ({"leak": 0.1}, "student='random'"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(InputError, match=message):
        DeepLinear(**options)


def test_random_labels_have_no_best_stop():
    with pytest.raises(InputError, match="no teacher"):
        dl.best_stopping(DeepLinear(labels="random"))
