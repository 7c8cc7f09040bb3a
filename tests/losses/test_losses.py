"""What every registered loss must hold: derivatives, conjugate, domain and repair."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headwise.errors import InputError
from headwise.losses import LOSSES
from headwise.losses.binary import Binary
from headwise.losses.cox import Cox
from headwise.losses.huber import Huber
from headwise.losses.multinomial import Multinomial
from headwise.losses.poisson import Poisson
from headwise.losses.squared import Squared


def make(name: str, seed: int = 0, n: int = 12, weighted: bool = True):
    """A small bound loss of each kind. A new loss adds one line here."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(n, generator=generator, dtype=torch.float64) + 0.1 if weighted else None
    numbers = torch.randn(n, 2, generator=generator, dtype=torch.float64) * 3
    makers = {
        "multinomial": lambda: Multinomial(torch.arange(n) % 3, 3, weights),
        "squared": lambda: Squared(numbers, 2, weights),
        "huber": lambda: Huber(numbers, 2, weights, delta=1.5),
        "poisson": lambda: Poisson(numbers.square().round(), 2, weights),
        "binary": lambda: Binary((torch.arange(n)[:, None] % torch.tensor([2, 3]) == 0).double(), 2, weights),
        # tied times, censored samples before the first event and at the time of an event
        "cox": lambda: Cox(torch.stack([torch.arange(n) // 2 * 1.0, (torch.arange(n) % 5 > 1) * 1.0], 1), 1, weights),
    }
    return makers[name]()


def outputs(loss, seed: int, scale: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(loss.num_samples, loss.num_outputs, generator=generator, dtype=torch.float64)


every = pytest.mark.parametrize("name", LOSSES.names())


@every
def test_derivatives_agree_with_autograd(name):
    loss = make(name)
    f = outputs(loss, 1).requires_grad_()
    (wanted,) = torch.autograd.grad(loss.value(f), f)
    torch.testing.assert_close(loss.gradient(f.detach()), wanted, rtol=1e-10, atol=1e-12)
    f, direction, step = f.detach(), outputs(loss, 2), 1e-6
    wanted = (loss.gradient(f + step * direction) - loss.gradient(f - step * direction)) / (2 * step)
    torch.testing.assert_close(loss.hessian_product(f, direction), wanted, rtol=1e-6, atol=1e-9)


@every
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 30), alpha=st.floats(0, 1))
def test_fenchel_young(name, seed, scale, alpha):
    loss = make(name, seed % 7)
    f, g = outputs(loss, seed, scale), outputs(loss, seed + 1, scale)
    theta = loss.gradient(f)
    equal = float(loss.value(f) - loss.dual_value(theta) - (f * theta).sum())
    assert equal == pytest.approx(0, abs=1e-9 * (1 + float(loss.value(f))))
    # any point of the domain: L(g) + L*(alpha theta) >= <g, alpha theta>
    assert float(loss.value(g) - loss.dual_value(alpha * theta) - (g * alpha * theta).sum()) >= -1e-9


@every
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 60))
def test_repair_centres_and_stays_in_the_domain(name, seed, scale):
    loss = make(name, seed % 7)
    theta = loss.repair(loss.gradient(outputs(loss, seed, scale)))
    assert float(theta.sum(0).abs().max()) < 1e-15 * 100
    assert torch.isfinite(loss.dual_value(theta))


@every
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [29_400, 44_100, 150_000])
def test_many_samples_stay_in_the_domain(name, n, weighted):
    """Sums over many samples are rounded; what is left of that in a row must not leave the domain."""
    loss = make(name, n=n, weighted=weighted)
    for f in (torch.zeros(n, loss.num_outputs, dtype=torch.float64), outputs(loss, 1)):
        theta = loss.repair(loss.gradient(f))
        assert float(theta.sum(0).abs().max()) < 1e-10
        assert torch.isfinite(loss.dual_value(theta))


@every
def test_repair_changes_nothing_where_the_sum_is_zero(name):
    loss = make(name)
    theta = loss.gradient(loss.best_constant().expand(loss.num_samples, -1))
    torch.testing.assert_close(loss.repair(theta), theta, rtol=0, atol=1e-14)


@every
@given(seed=st.integers(0, 1000))
def test_the_largest_scale_is_the_edge_of_the_domain(name, seed):
    loss = make(name, seed % 7)
    theta = loss.repair(loss.gradient(outputs(loss, seed)))
    edge = loss.max_scale(theta)
    assert edge >= 1
    if edge == float("inf"):
        assert torch.isfinite(loss.dual_value(1e6 * theta))
        return
    assert torch.isfinite(loss.dual_value(edge * (1 - 1e-9) * theta))
    if edge < 1e6:
        assert not torch.isfinite(loss.dual_value(1.01 * edge * theta))


@every
def test_best_constant_is_stationary(name):
    loss = make(name)
    gradient = loss.gradient(loss.best_constant().expand(loss.num_samples, -1))
    assert float(gradient.sum(0).abs().max()) < 1e-12


def test_weights_count_like_repetition_and_zero_like_removal():
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    f = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weighted = Multinomial(y, 3, torch.tensor([2.0, 1, 1, 0, 3, 1]))
    rows = torch.tensor([0, 0, 1, 2, 4, 4, 4, 5])
    repeated = Multinomial(y[rows], 3)
    assert float(weighted.value(f)) == pytest.approx(float(repeated.value(f[rows])), rel=1e-12)
    theta = weighted.gradient(f)
    assert float(theta[3].abs().max()) == 0
    assert float(weighted.dual_value(theta)) == pytest.approx(float(repeated.dual_value(repeated.gradient(f[rows]))))


@pytest.mark.parametrize(
    ("targets", "classes", "weights", "said"),
    [
        ([0, 0, 0], 2, None, "no training sample"),
        ([0, 1, 3], 3, None, "targets must lie"),
        ([0, 0], 1, None, "at least two classes"),
        ([0, 1], 2, [1.0, -1.0], "weights"),
        ([0, 1], 2, [0.0, 0.0], "zero"),
        ([0, 1], 2, [1.0, 0.0], "no training sample"),
    ],
)
def test_impossible_targets_are_refused(targets, classes, weights, said):
    with pytest.raises(InputError, match=said):
        Multinomial(torch.tensor(targets), classes, None if weights is None else torch.tensor(weights))


def test_cox_is_the_partial_likelihood_of_breslow():
    """Against the sum over events written out, with ties, censored samples and weights."""
    rng = np.random.default_rng(0)
    time, event = rng.integers(1, 6, 20).astype(float), rng.integers(0, 2, 20).astype(float)
    w, f = rng.uniform(0.5, 2, 20), rng.normal(size=20)
    loss = Cox(torch.from_numpy(np.stack([time, event], 1)), 1, torch.from_numpy(w))
    wanted = 0.0
    for i in np.flatnonzero(event):
        at_risk = time >= time[i]
        wanted += w[i] * (np.log((w / w.mean() * np.exp(f))[at_risk].sum()) - f[i])
    assert float(loss.value(torch.from_numpy(f)[:, None])) == pytest.approx(wanted / w.sum(), rel=1e-12)


@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 5))
def test_cox_keeps_its_digits(seed, scale):
    """Outputs hundreds apart, as a line search may try them."""
    loss = make("cox", seed % 7)
    f = outputs(loss, seed, 200 * scale)
    theta = loss.gradient(f)
    assert torch.isfinite(theta).all()
    assert torch.isfinite(loss.hessian_product(f, outputs(loss, seed + 1))).all()
    assert float(theta.sum()) == pytest.approx(0, abs=1e-12)
    assert torch.isfinite(loss.dual_value(theta))


@pytest.mark.parametrize(
    ("kind", "targets", "said"),
    [
        (Binary, [[0.0], [2.0]], "0 or 1"),
        (Binary, [[1.0], [1.0]], "the same in all"),
        (Poisson, [[-1.0], [2.0]], "not be negative"),
        (Poisson, [[0.0], [0.0]], "no count above zero"),
        (Huber, [[0.0], [float("nan")]], "NaN"),
        (Squared, [[0.0, 1.0]], r"\(n, 1\) is needed"),
        (Cox, [[1.0, 0.0], [2.0, 0.0]], "no event"),
        (Cox, [[1.0, 2.0], [2.0, 0.0]], "0 or 1"),
    ],
)
def test_impossible_numbers_are_refused(kind, targets, said):
    with pytest.raises(InputError, match=said):
        kind(torch.tensor(targets), 1)


def test_huber_needs_a_positive_delta():
    with pytest.raises(InputError, match="delta"):
        Huber(torch.zeros(3, 1), 1, delta=0)
