"""Pure noise: density, tail and quantiles against each other and against draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from headwise import InputError
from headwise.theory.marchenko_pastur import bulk_density, bulk_edges, bulk_quantiles, bulk_tail, noise_scale


@pytest.mark.parametrize("aspect", [0.1, 0.5, 1.0, 2.0, 10.0])
def test_density_tail_and_quantiles_belong_together(aspect):
    least, largest = bulk_edges(aspect)
    middle = 0.4 * least + 0.6 * largest
    density = lambda x: float(bulk_density(x, aspect))  # noqa: E731
    assert quad(density, least, largest)[0] == pytest.approx(1, abs=1e-7)
    assert quad(density, middle, largest)[0] == pytest.approx(float(bulk_tail(middle, aspect)), abs=1e-7)
    quantiles = bulk_quantiles(50, aspect)
    np.testing.assert_allclose(bulk_tail(quantiles, aspect), (np.arange(50) + 0.5) / 50, atol=1e-12)
    # the second moment of the noise: num_outputs / min(num_outputs, num_inputs)
    assert np.mean(bulk_quantiles(4000, aspect) ** 2) == pytest.approx(max(aspect, 1), rel=1e-3)
    # seen from the other side noise has the variance 1 / num_outputs
    np.testing.assert_allclose(quantiles[::7], aspect**0.5 * bulk_quantiles(50, 1 / aspect)[::7])


@pytest.mark.parametrize("sides", [(300, 150), (150, 300)])
def test_quantiles_against_noise(sides):
    inputs, outputs = sides
    noise = np.random.default_rng(0).normal(size=(outputs, inputs)) / inputs**0.5
    values = np.linalg.svd(noise, compute_uv=False)
    np.testing.assert_allclose(values, bulk_quantiles(150, outputs / inputs), atol=0.06)
    assert noise_scale(3 * values, outputs / inputs) == pytest.approx(3, rel=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noise_scale([], 0.5), "got none"),
        (lambda: bulk_density([-1.0], 0.5), "not negative"),
        (lambda: bulk_edges(-1), "aspect"),
        (lambda: bulk_quantiles(1.5, 0.5), "count"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message):
        call()
