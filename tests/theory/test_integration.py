"""The integrator behind the simulations says where it gave up."""

from __future__ import annotations

import numpy as np
import pytest

from headwise import InputError
from headwise.theory.integration import integrate


def test_times_are_those_that_were_asked_for():
    times = np.array([0.5, 2.0])
    states = integrate("growth", lambda _, x: x, np.array([1.0, 2.0]), times, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(states, np.exp(times)[:, None] * [1, 2], rtol=1e-6)


def test_what_cannot_be_integrated_is_named():
    with pytest.raises(InputError, match=r"the blow-up could not be integrated: .*; take shorter times"):
        integrate("the blow-up", lambda _, x: x**2, np.ones(1), np.array([0.0, 2.0]))
