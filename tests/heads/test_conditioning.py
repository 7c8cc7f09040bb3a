"""The coordinates of a head: what they promise, what they are fitted on, and that two fits agree to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headwise.blocks import BLOCKS
from headwise.contracts import TokenShape
from headwise.errors import InputError
from headwise.heads import Conditioner, HeadClassifier, PartSpec
from headwise.tokens import ArrayTokens


def tokens(n: int = 60, s: int = 5, d: int = 6) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, s, d)) * np.geomspace(1, 0.02, d) + rng.normal(size=d)


def conditioned(fitted, X: np.ndarray, rows: np.ndarray, spec: PartSpec) -> tuple[torch.Tensor, torch.Tensor]:
    values, pooling, _ = zip(*fitted.chunks(ArrayTokens(X), rows, spec), strict=True)
    return torch.cat(values), torch.cat(pooling)


@pytest.mark.parametrize("name", BLOCKS.names())
def test_the_scale_makes_the_variance_of_the_features_one(name):
    X, spec = tokens(), PartSpec(name)
    rows = np.arange(len(X))
    fitted = Conditioner(n_components=4).fit(
        ArrayTokens(X), rows, spec, lambda width: BLOCKS.get(name)(TokenShape(5, width))
    )
    values, pooling = conditioned(fitted, X, rows, spec)
    block = BLOCKS.get(name)(TokenShape(5, values.shape[2]))
    one = torch.ones(1, 1, dtype=torch.float64)
    features = torch.stack(
        [block.adjoint(block.statistics(values[i : i + 1], pooling[i : i + 1]), one).flatten() for i in rows]
    )
    assert float(features.var(0, correction=0).sum()) == pytest.approx(1)


def test_whitening_gives_unit_variance_above_the_floor_and_less_below():
    X, spec, floor = tokens(), PartSpec("attention"), 0.05
    rows = np.arange(len(X))
    settings = Conditioner(layer_norm=False, n_components=None, floor=floor, constant=False)
    fitted = settings.fit(ArrayTokens(X), rows, spec, lambda width: BLOCKS.get("attention")(TokenShape(5, width)))
    values = conditioned(fitted, X, rows, spec)[0].flatten(0, 1) / fitted.scale
    spectrum = np.sort(np.linalg.eigvalsh(np.cov(X.reshape(-1, X.shape[-1]).T, bias=True)))[::-1]
    wanted = np.minimum(1, spectrum / (floor * spectrum[0]))
    assert (wanted < 1).any() and (wanted == 1).any()
    np.testing.assert_allclose(np.cov(values.numpy().T, bias=True), np.diag(wanted), atol=1e-9)
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-9)


def test_two_fits_agree_to_the_bit():
    X, y = tokens(), np.arange(60) % 3
    one, two = (HeadClassifier("default", beta=0.02, num_prefix=1, n_components=4).fit(X, y) for _ in range(2))
    before, after = one.head_.state_dict(), two.head_.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert one.certificate_ == two.certificate_


def test_weights_count_like_repetition_and_zero_like_removal():
    X, y = tokens(), np.arange(60) % 3
    X[:, :, 1] += y[:, None]
    weights = np.random.default_rng(1).integers(0, 3, 60)
    rows = np.repeat(np.arange(60), weights)
    fits = [
        HeadClassifier("attention", beta=0.01, tol=1e-7, n_components=4).fit(X, y, sample_weight=weights),
        HeadClassifier("attention", beta=0.01, tol=1e-7, n_components=4).fit(X[rows], y[rows]),
    ]
    scales = [fit.head_.parts[0].fitted.conditioner.scale for fit in fits]
    assert scales[0] == pytest.approx(scales[1], rel=1e-12)
    assert fits[0].certificate_.primal == pytest.approx(fits[1].certificate_.primal, rel=1e-6)
    np.testing.assert_allclose(fits[0].predict_proba(X), fits[1].predict_proba(X), atol=1e-3)


def test_hidden_tokens_are_zero_the_constant_included():
    X, spec = tokens(), PartSpec("attention")
    mask = np.ones(X.shape[:2], dtype=bool)
    mask[::3, 2:] = False
    source = ArrayTokens(X, mask=mask)
    fitted = Conditioner(n_components=4).fit(
        source, np.arange(60), spec, lambda width: BLOCKS.get("attention")(TokenShape(5, width))
    )
    values = torch.cat([v for v, *_ in fitted.chunks(source, np.arange(60), spec)])
    assert not values[torch.from_numpy(~mask)].any()
    assert (values[torch.from_numpy(mask)][:, -1] == fitted.scale).all()


def test_a_table_is_not_normalised_across_its_columns():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 40)
    X = (1 + 2 * y)[:, None] * (1 + 0.1 * rng.normal(size=(80, 2)))  # the classes differ in length, not in direction
    assert HeadClassifier(beta=1e-3).fit(X, y).score(X, y) == 1
    assert HeadClassifier(beta=1e-3).fit(X[:, :1], y).score(X[:, :1], y) == 1
    with pytest.raises(InputError, match=r"1 feature\(s\).*layer_norm=False"):
        HeadClassifier(condition=Conditioner()).fit(X[:, :1], y)


def test_tokens_that_do_not_vary_are_refused():
    with pytest.raises(InputError, match="do not vary"):
        HeadClassifier("attention").fit(np.ones((6, 4, 5)), np.arange(6) % 2)


@pytest.mark.parametrize(("options", "said"), [({"n_components": 0}, "n_components"), ({"floor": 0}, "floor")])
def test_impossible_settings_are_named(options, said):
    with pytest.raises(InputError, match=said):
        Conditioner(**options)


def test_columns_of_a_table_count_whatever_their_units():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 6)), np.arange(80) % 2
    X[y == 1, 0] += 1.5
    units = np.array([1e-9, 1e6, 1, 1, 1, 1])
    plain = HeadClassifier("linear", beta=1e-2, tol=1e-6).fit(X, y)
    other = HeadClassifier("linear", beta=1e-2, tol=1e-6).fit(X * units, y)
    assert other.certificate_.primal == pytest.approx(plain.certificate_.primal, rel=1e-6)
    np.testing.assert_allclose(other.predict_proba(X * units), plain.predict_proba(X), atol=1e-3)


def test_a_column_that_does_not_vary_is_left_aside():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    X[:, 1] = 7
    found = HeadClassifier("linear", beta=1e-2).fit(X, y)
    moved = X.copy()
    moved[:, 1] = -3
    np.testing.assert_allclose(found.predict_proba(moved), found.predict_proba(X))


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_units_of_all_tokens_do_not_matter(scale):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3, 4)), np.arange(40) % 2
    settings = {"beta": 1e-2, "condition": Conditioner(layer_norm=False)}
    one, two = (HeadClassifier("attention", **settings).fit(x, y).certificate_.primal for x in (X, X * scale))
    assert two == pytest.approx(one, rel=1e-3)


def test_tokens_that_cannot_be_squared_are_refused():
    X, y = np.random.default_rng(0).normal(size=(40, 3, 4)) * 1e200, np.arange(40) % 2
    with pytest.raises(InputError, match="too large to square"):
        HeadClassifier("linear", condition=Conditioner(layer_norm=False)).fit(X, y)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_components": "a"}, "n_components must be a whole number of at least 1 or None, got 'a'"),
        ({"n_components": 0}, "n_components must be a whole number of at least 1"),
        ({"floor": None}, "floor must be a positive number"),
        ({"floor": 2}, "floor must lie in"),
    ],
)
def test_settings_that_make_no_sense(options, said):
    with pytest.raises(InputError, match=said):
        Conditioner(**options)
