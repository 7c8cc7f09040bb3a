"""The probe of a forecast as it is trained, against plain gradient descent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from headwise import InputError
from headwise.forecast import estimate_spectrum, learning_curve, measure, training_work


def test_the_measured_probe_is_plain_gradient_descent_on_the_samples(planted):
    """The same layers by autograd on all rows, without whitening's shortcut."""
    made = planted(d=8, outputs=4, strengths=(1.0,), noise=0.5)
    x, y = made.draw(60)
    held_x, held_y = made.draw(50, 1)
    spectrum = estimate_spectrum(x, y)
    curve = learning_curve(spectrum, 2, start=0.01, num_times=20)
    found = measure(spectrum, curve, held_x, held_y)
    inside, outputs = (torch.from_numpy(a) for a in (spectrum.whitening(x), spectrum.labels(y)))
    weights = [0.1 * torch.from_numpy(part.copy()) for part in (spectrum.right, spectrum.left)]
    at = int(np.argmin(np.abs(found.training - (found.training[0] + found.training[-1]) / 2)))
    rate, time = 0.01, 0.0
    while time < curve.times[at] - rate / 2:
        for weight in weights:
            weight.requires_grad_(True)
        loss = ((outputs - inside @ weights[0].T @ weights[1].T) ** 2).sum() / (2 * len(x))
        slopes = torch.autograd.grad(loss, weights)
        weights = [(w - rate * g).detach() for w, g in zip(weights, slopes, strict=True)]
        time += rate
    unseen = torch.from_numpy(spectrum.whitening(held_x)) @ weights[0].T @ weights[1].T
    wanted = spectrum.labels(held_y)
    error = ((wanted - unseen.numpy()) ** 2).sum() / (wanted**2).sum()
    assert found.training[-1] + 0.05 < found.training[at] < found.training[0] - 0.05, "in the middle of learning"
    assert error == pytest.approx(found.held_out[at], rel=0.03)


def test_the_work_follows_steps_layers_and_size(planted):
    small = estimate_spectrum(*planted(d=20, outputs=4, strengths=(1.0,), noise=0.5).draw(600))
    one, two, three = (training_work(small, learning_curve(small, depth)) for depth in (1, 2, 3))
    assert one < two < three
    curve = learning_curve(small, 2)
    longer = replace(curve, times=10 * curve.times)
    assert 5 < training_work(small, longer) / two < 11, "ten times as many steps, but for those that are one"


def test_samples_that_do_not_fit(planted):
    made = planted()
    spectrum = estimate_spectrum(*made.draw(200))
    curve = learning_curve(spectrum)
    x, y = made.draw(10, 1)
    with pytest.raises(InputError, match="10 rows of features and 9 labels"):
        measure(spectrum, curve, x, y[:9])
    with pytest.raises(InputError, match="50 are needed"):
        measure(spectrum, curve, x[:, :3], y)
