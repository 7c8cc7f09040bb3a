"""Where the noise ends."""

from __future__ import annotations

import numpy as np
import pytest

from headwise.forecast.visibility import noise_edge


@pytest.mark.parametrize(("r", "c"), [(100, 1), (60, 9), (40, 40)])
def test_noise_goes_beyond_its_edge_once_in_a_hundred_draws(r, c):
    rng = np.random.default_rng(0)
    beyond = [np.linalg.norm(rng.normal(size=(c, r)), 2) ** 2 > noise_edge(r, c) for _ in range(1500)]
    assert 0.001 < np.mean(beyond) < 0.025
