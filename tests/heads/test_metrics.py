"""Metrics against hand-computed values, scikit-learn and naive loops; their intervals against known truths."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from headwise.errors import InputError
from headwise.heads import resampling
from headwise.heads.baselines import score
from headwise.heads.calibration import Bin, calibration_error, chance_error, reliability
from headwise.heads.metric_table import METRICS, auroc, concordance
from headwise.heads.metrics import Measure, evaluate, paired_difference
from headwise.heads.outcomes import CHECKS


def example(kind: str, n: int = 60, seed: int = 0):
    """Predictions and targets with ties."""
    rng = np.random.default_rng(seed)
    if kind == "classes":
        p = rng.dirichlet(np.ones(4), n).round(1) + 0.1
        return p / p.sum(axis=1, keepdims=True), rng.integers(4, size=n)
    if kind == "labels":
        return rng.random((n, 3)).round(1), rng.integers(2, size=(n, 3))
    if kind == "numbers":
        y = rng.normal(size=(n, 2))
        return y + rng.normal(size=(n, 2)), y + 5
    if kind == "counts":
        return rng.uniform(0.5, 3, (n, 2)), rng.poisson(2, (n, 2))
    return rng.integers(5, size=n), np.stack([rng.integers(1, 8, n), rng.integers(2, size=n)], axis=1)


def naive_concordance(risk, targets):
    """Every ordered pair, one by one."""
    won = comparable = 0.0
    for i in range(len(risk)):
        for j in range(len(risk)):
            (ti, ei), (tj, ej) = targets[i], targets[j]
            if ei and (ti < tj or (ti == tj and not ej)):
                comparable += 1
                won += 1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0
    return won / comparable


def references(kind: str, p, y) -> dict[str, float]:
    """The same metrics, each written from its definition or taken from scikit-learn."""
    if kind == "classes":
        present = np.unique(y)
        areas = [reference.roc_auc_score(y == k, p[:, k]) for k in present]
        right, top = p.argmax(axis=1) == y, p.max(axis=1)
        ece = 0.0
        for k in range(15):
            inside = (top > k / 15) & (top <= (k + 1) / 15)
            if inside.any():
                ece += inside.mean() * abs(right[inside].mean() - top[inside].mean())
        return {
            "accuracy": right.mean(),
            "balanced_accuracy": np.mean([right[y == k].mean() for k in present]),
            "log_loss": reference.log_loss(y, p, labels=range(p.shape[1])),
            "auroc": np.mean(areas),
            "calibration_error": ece,
        }
    if kind == "labels":
        safe = np.clip(p, 1e-12, 1 - 1e-12)
        return {
            "log_loss": -np.log(np.where(y == 1, safe, 1 - safe)).mean(),
            "auroc": np.mean([reference.roc_auc_score(y[:, k], p[:, k]) for k in range(y.shape[1])]),
        }
    if kind == "numbers":
        return {"r2": reference.r2_score(y, p), "absolute_error": np.abs(y - p).mean()}
    if kind == "counts":
        return {"poisson_deviance": reference.mean_poisson_deviance(y.ravel(), p.ravel())}
    return {"concordance": naive_concordance(np.ravel(p), y)}


@pytest.mark.parametrize("kind", METRICS)
def test_values_are_those_of_the_references(kind):
    p, y = example(kind)
    found, known = evaluate(kind, p, y, intervals=None), references(kind, p, y)
    assert list(found) == list(METRICS[kind]) and set(known) == set(found)
    for name, value in known.items():
        assert found[name] == Measure(pytest.approx(value, rel=1e-12))


@pytest.mark.parametrize("kind", METRICS)
def test_resampled_values_are_the_metrics_of_the_resamples(kind):
    """Counts of draws give what the samples drawn give, a class or an event missing from some of them included."""
    p, y = CHECKS[kind](*example(kind, n=24))
    counts = np.concatenate(list(resampling.resamples(24, 6, seed=3)))
    for name, metric in METRICS[kind].items():
        values = metric.prepare(p, y)(counts)
        for row, value in zip(counts.astype(int), values, strict=True):
            drawn = np.repeat(np.arange(24), row)
            assert value == pytest.approx(references(kind, p[drawn], y[drawn])[name], rel=1e-10), name


def test_hand_computed_values():
    p, y = np.array([[0.8, 0.2], [0.6, 0.4], [0.7, 0.3], [0.1, 0.9]]), [0, 0, 1, 1]
    found = evaluate("classes", p, y, intervals=None)
    assert found["accuracy"].value == 0.75 and found["balanced_accuracy"].value == 0.75
    assert found["log_loss"].value == pytest.approx(-np.log([0.8, 0.6, 0.3, 0.9]).mean())
    assert found["auroc"].value == 0.75  # of the pairs (0.2, 0.3), (0.2, 0.9), (0.4, 0.3), (0.4, 0.9) one is wrong
    assert found["calibration_error"].value == pytest.approx((0.2 + 0.4 + 0.7 + 0.1) / 4)  # each in a bin of its own
    assert evaluate("counts", [1.0, 2.0], [0, 2], intervals=None)["poisson_deviance"].value == pytest.approx(1.0)
    assert evaluate("numbers", [1.0, 3.0], [1, 2], intervals=None)["r2"].value == pytest.approx(-1.0)
    assert evaluate("labels", [[0.5], [0.25]], [[1], [0]], intervals=None)["log_loss"].value == pytest.approx(
        -np.log([0.5, 0.75]).mean()
    )


def test_scores_are_these_metrics():
    p, y = example("classes")
    found = evaluate("classes", p, y, intervals=None)
    assert vars(score(p, y)) == {name: found[name].value for name in ("accuracy", "balanced_accuracy", "log_loss")}


@pytest.mark.parametrize("block", [7, 5_000_000])
@pytest.mark.parametrize("seed", range(3))
def test_concordance_is_the_naive_loop(monkeypatch, block, seed):
    monkeypatch.setattr(resampling, "BLOCK", block)
    risk, targets = example("survival", seed=seed)
    assert concordance(risk, targets) == pytest.approx(naive_concordance(risk, targets), rel=1e-12)


def test_concordance_by_hand():
    # comparable: (0, 1), (0, 2), (0, 3), (1, 2): at time 2 one event, one censored; not (1, 3), both events at time 2
    targets = [[1, 1], [2, 1], [2, 0], [2, 1]]
    # and (3, 2), again event against censored at time 2
    assert concordance([3, 1, 1, 2], targets) == pytest.approx((1 + 1 + 1 + 0.5 + 1) / 5)
    assert concordance([4, 3, 1, 2], targets) == 1.0
    assert concordance([0, 1, 2, 1], targets) == 0.0


def test_a_calibrated_sample_has_little_calibration_error():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(5, 0.4), 100_000)
    y = (p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1).clip(max=4)
    assert calibration_error(p, y) < 0.01
    sharper = p**2 / (p**2).sum(axis=1, keepdims=True)
    assert calibration_error(sharper, y) > 0.05


def test_the_reliability_table_counts_every_sample_once():
    p, y = example("classes", n=500)
    table = reliability(p, y, bins=10)
    assert len(table) == 10 and sum(b.samples for b in table) == 500
    for k, b in enumerate(table):
        assert (b.confidence is None) == (b.samples == 0)
        assert b.confidence is None or k / 10 < b.confidence <= (k + 1) / 10 + 1e-12
    right = sum(b.samples * b.accuracy for b in table if b.samples)
    assert right == pytest.approx((p.argmax(axis=1) == y).sum())
    edges = reliability([[1.0, 0.0], [0.0, 1.0]], [0, 0], bins=2)
    assert edges == [(None, None, 0), (1.0, 0.5, 2)]


def test_intervals_cover_what_is_true():
    """Of 100 samples of 150, the 95 % intervals hold the accuracy and the AUROC that data without end would have."""
    rng = np.random.default_rng(0)
    truth = {"accuracy": 0.7602, "auroc": 0.8413}  # normal scores one standard deviation to either side, / sqrt(2)
    covered = dict.fromkeys(truth, 0)
    shift = np.sqrt(0.5)  # AUROC = Phi(2 shift / sqrt(2)) = Phi(1); accuracy = Phi(shift) at the threshold 0
    for _ in range(100):
        y = rng.integers(2, size=150)
        x = rng.normal(size=150) + shift * (2 * y - 1)
        p = 1 / (1 + np.exp(-2 * shift * x))
        found = evaluate("classes", np.stack([1 - p, p], axis=1), y, metrics=truth, resamples=300)
        for name, value in truth.items():
            measure = found[name]
            assert measure.low <= measure.value <= measure.high
            covered[name] += measure.low <= value <= measure.high
    assert all(85 <= times <= 100 for times in covered.values()), covered


@pytest.mark.parametrize("kind", METRICS)
def test_a_seed_decides_the_interval(monkeypatch, kind):
    p, y = example(kind)
    found = evaluate(kind, p, y, resamples=250, seed=5)
    assert found == evaluate(kind, p, y, resamples=250, seed=5) != evaluate(kind, p, y, resamples=250, seed=6)
    for name, measure in found.items():
        assert evaluate(kind, p, y, metrics=[name], resamples=250, seed=5)[name] == measure
        assert measure.resamples + measure.skipped == (200 if name == "concordance" else 250)
    monkeypatch.setattr(resampling, "BLOCK", 1000)
    for name, measure in evaluate(kind, p, y, resamples=250, seed=5).items():
        assert (measure.low, measure.high) == pytest.approx((found[name].low, found[name].high), rel=1e-9)


@pytest.mark.parametrize("kind", METRICS)
def test_paired_differences_are_those_of_the_same_resamples(kind):
    first, y = example(kind)
    second = example(kind, seed=1)[0]
    found = paired_difference(kind, first, second, y, resamples=150, seed=2)
    one, two = (evaluate(kind, p, y, intervals=None) for p in (first, second))
    counts = np.concatenate(list(resampling.resamples(len(y), 150, seed=2)))
    for name, metric in METRICS[kind].items():
        assert found[name].value == pytest.approx(one[name].value - two[name].value)
        draws = [metric.prepare(*CHECKS[kind](p, y))(counts) for p in (first, second)]
        assert (found[name].low, found[name].high) == pytest.approx(np.quantile(draws[0] - draws[1], [0.025, 0.975]))
    same = paired_difference(kind, first, first, y, resamples=50)
    assert all(measure.value == measure.low == measure.high == 0 for measure in same.values())


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(0)
    y = rng.normal(size=300)
    noise = rng.normal(size=300)
    first, second = y + noise, y + noise + 0.1 * rng.normal(size=300)
    paired = paired_difference("numbers", first, second, y)["r2"]
    alone = [evaluate("numbers", p, y)["r2"] for p in (first, second)]
    assert paired.high - paired.low < 0.3 * (alone[0].high - alone[0].low)


def test_differences_that_cannot_be_measured():
    p = np.array([[0.9, 0.1], [0.6, 0.4]])
    assert "two classes" in paired_difference("classes", p, p, [0, 0])["auroc"].note
    with pytest.raises(InputError, match="same shape to be compared"):
        paired_difference("classes", p, p[:1], [0, 1])


def test_chance_error_is_the_mean_over_calibrated_samples():
    bins = [Bin(0.35, None, 7), Bin(0.62, None, 40), Bin(None, None, 0), Bin(0.97, None, 153), Bin(1.0, None, 10)]
    rng = np.random.default_rng(0)
    off = sum(
        np.abs(rng.binomial(b.samples, b.confidence, 40_000) - b.samples * b.confidence) for b in bins if b.samples
    )
    assert chance_error(bins) == pytest.approx(off.mean() / 210, rel=0.01)
    with pytest.raises(InputError, match="without any"):
        chance_error([Bin(None, None, 0)])


def test_a_higher_level_is_a_wider_interval():
    p, y = example("numbers")
    narrow, wide = (evaluate("numbers", p, y, intervals=level)["r2"] for level in (0.5, 0.95))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_what_is_not_defined_says_why():
    p = np.array([[0.9, 0.1], [0.6, 0.4]])
    found = evaluate("classes", p, [0, 0])
    assert found["auroc"].value is None and found["auroc"].low is None and "two classes" in found["auroc"].note
    assert found["accuracy"].value == 1.0 and found["accuracy"].resamples == 1000
    with pytest.raises(InputError, match="two classes"):
        auroc(p, np.array([0, 0]))
    assert "not all the same" in evaluate("numbers", [1.0, 2.0], [3, 3])["r2"].note
    assert "some samples have" in evaluate("labels", p, [[1, 0], [1, 0]])["auroc"].note


def test_what_is_left_out_is_said():
    p, y = example("classes")
    p, y = p[y != 2], y[y != 2]
    found = evaluate("classes", p, y, intervals=None)
    assert found["auroc"].note == found["balanced_accuracy"].note == "left out: classes without a sample: 2"
    assert not found["accuracy"].note
    many = evaluate("classes", np.full((2, 30), 1 / 30), [0, 1], intervals=None)["auroc"].note
    assert many.endswith("10, 11 and 18 more")
    labels = evaluate("labels", [[0.2, 0.3], [0.6, 0.4]], [[0, 1], [1, 1]], intervals=None)["auroc"]
    assert labels.value == 1.0 and labels.note.endswith(": 1")


def test_resamples_without_a_value_are_skipped_and_counted():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    found = evaluate("classes", p, [0, 0, 1])["auroc"]
    assert found.resamples + found.skipped == 1000
    # a resample of three misses the last sample with probability 8/27, or is all the last one with probability 1/27
    assert found.skipped == pytest.approx(333, abs=60)


TWO = [[0.9, 0.1], [0.4, 0.6]]


@pytest.mark.parametrize(
    ("kind", "predicted", "targets", "said"),
    [
        ("classes", TWO, [0, 1, 1], "one class a sample"),
        ("classes", TWO, [0, 2], r"classes 0 \.\. 1; 1 of 2"),
        ("classes", TWO, [0, -1], "classes"),
        ("classes", TWO, ["a", "b"], "numbers"),
        ("classes", [0.1, 0.9], [0, 1], r"\(n, c\)"),
        ("classes", [[np.nan, 0.1], [0.4, 0.6]], [0, 1], "finite, got 1"),
        ("classes", [[1.5, -0.5], [0.4, 0.6]], [0, 1], "between 0 and 1"),
        ("classes", [[0.5, 0.1], [0.4, 0.6]], [0, 1], "sum to 1"),
        ("classes", np.zeros((0, 2)), [], "at least one"),
        ("labels", TWO, [[0, 1]], "same shape"),
        ("labels", TWO, [[0, 1], [2, 1]], "0 or 1"),
        ("labels", [[np.inf, 1], [0, 1]], [[0, 1], [1, 1]], "finite"),
        ("numbers", [1.0, 2.0], [[1, 2]], "same shape"),
        ("numbers", [1.0, 2.0], [1, np.nan], "finite"),
        ("counts", [1.0, 0.0], [1, 0], "above 0"),
        ("counts", [1.0, 1.0], [1, -1], "0 or more"),
        ("survival", [1.0, 2.0], [[1, 0], [2, 0]], "all are censored"),
        ("survival", [1.0, 2.0], [[1, 0], [2, 1]], "none before"),
        ("survival", [1.0, 2.0], [1, 2], r"\(n, 2\)"),
        ("survival", [1.0, 2.0], [[1, 0], [2, 3]], "censored"),
        ("clases", TWO, [0, 1], "did you mean classes"),
    ],
)
def test_inputs_that_cannot_be_used(kind, predicted, targets, said):
    with pytest.raises(InputError, match=said):
        evaluate(kind, predicted, targets)


def test_settings_that_cannot_be_used():
    with pytest.raises(InputError, match="did you mean accuracy"):
        evaluate("classes", TWO, [0, 1], metrics=["acuracy"])
    with pytest.raises(InputError, match="between 0 and 1"):
        evaluate("classes", TWO, [0, 1], intervals=95)
    with pytest.raises(InputError, match="resamples"):
        evaluate("classes", TWO, [0, 1], resamples=0)
    with pytest.raises(InputError, match="bins"):
        reliability(TWO, [0, 1], bins=0)


def test_reliability_is_a_list_with_a_picture():
    import matplotlib.pyplot as plt

    table = reliability([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]], [0, 0, 0], bins=4)
    assert isinstance(table, list)
    axes = table.plot()
    (dots,) = axes.collections
    np.testing.assert_allclose(dots.get_offsets(), [[0.5, 1.0], [0.75, 0.5]])  # the two bins that have samples
    sizes = dots.get_sizes()
    assert sizes[1] > sizes[0] and axes.get_xlabel().startswith("confidence")
    assert reliability([[0.75, 0.25]], [0]).plot(axes) is axes
    plt.close(axes.figure)
