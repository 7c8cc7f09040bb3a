"""What estimators, modules and `verify` take as tokens and labels, and what they say to anything else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import headwise
from headwise.errors import InputError
from headwise.heads import HeadClassifier, HeadClassifierCV, HeadRegressor, HeadRegressorCV, verify
from headwise.tokens import TokenStore

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 5, 4)), np.arange(40) % 2
RAGGED = [x[: 2 + i % 2] for i, x in enumerate(X)]
NARROW = [x[:, : 2 + i % 2] for i, x in enumerate(X)]


def as_objects(samples):
    found = np.empty(len(samples), dtype=object)
    found[:] = samples
    return found


@pytest.fixture(scope="module")
def fitted():
    return HeadClassifier("linear", beta=0.05).fit(X, Y)


def test_every_form_of_tokens_gives_the_same_head(fitted, tmp_path):
    store = TokenStore.from_arrays(tmp_path / "store", X, Y, dtype="float64")
    wanted = fitted.decision_function(X)
    for form in (list(X), X.tolist(), torch.from_numpy(X), [torch.from_numpy(x) for x in X], store, store.path):
        model = HeadClassifier("linear", beta=0.05).fit(form, Y)
        np.testing.assert_allclose(model.decision_function(form), wanted, atol=1e-12)
    np.testing.assert_allclose(HeadClassifier("linear", beta=0.05).fit(str(store.path)).decision_function(X), wanted)


@pytest.mark.parametrize(
    ("tokens", "labels", "said"),
    [
        (RAGGED, Y, "between 2 and 3 tokens; pad them"),
        (NARROW, Y, "between 2 and 3 features; pad them"),
        (as_objects(RAGGED), Y, "different numbers of tokens or features"),
        ([[1, 2], [3]] * 20, Y, "different numbers of tokens or features"),
        (X[:, None], Y, r"shape \(40, 1, 5, 4\); \(n, s, d\) is needed"),
        (X[:, None].tolist(), Y, r"shape \(40, 1, 5, 4\); \(n, s, d\) is needed"),
        (X[:, 0, 0], Y, r"shape \(40,\); \(n, s, d\) or \(n, d\)"),
        ("path/to/store", Y, "is not a token store"),
        (np.ma.masked_less(X, 0), Y, "masked array"),
        (np.ma.masked_less(X[:, 0], 0), Y, "masked array"),
        (X, np.ma.masked_equal(Y, 0), "masked array"),
        (X, Y.astype("datetime64[D]"), "labels are of type datetime64"),
        (X, as_objects(["a", 1] * 20), "labels are no classes"),
        (X, Y[:, None, None], "labels cannot be used"),
        (X, RNG.normal(size=40), "Unknown label type"),
    ],
)
def test_bad_tokens_and_labels(tokens, labels, said):
    with pytest.raises(InputError, match=said):
        HeadClassifier("linear", beta=0.1).fit(tokens, labels)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"mask": np.ones((40, 5))}, "bool of shape"),
        ({"mask": "x"}, "a bool array of shape"),
        ({"sample_weight": ["a"] * 40}, "sample_weight must be numbers"),
        ({"sample_weight": np.ma.masked_less(np.arange(40.0), 3)}, "masked array"),
    ],
)
def test_bad_masks_and_weights(more, said):
    with pytest.raises(InputError, match=said):
        HeadClassifier("linear", beta=0.1).fit(X, Y, **more)


def test_masked_arrays_that_hide_nothing_are_arrays():
    assert HeadClassifier("linear", beta=0.1).fit(np.ma.masked_array(X), Y).score(X, Y) >= 0.5


@pytest.mark.parametrize("model", [HeadRegressor("linear"), HeadRegressorCV("linear", betas=2)])
@pytest.mark.parametrize("shape", [(40,), (40, 1), (40, 2)])
def test_predictions_have_the_shape_of_the_targets(model, shape):
    y = np.repeat(X[:, :, 0].mean(1), shape[1] if len(shape) > 1 else 1).reshape(shape)
    assert model.fit(X, y).predict(X).shape == shape
    assert model.score(X, y) > 0


def test_logarithms_of_probabilities(fitted):
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), fitted.predict_proba(X))


@pytest.mark.parametrize("kind", [HeadClassifier, HeadClassifierCV, HeadRegressor, HeadRegressorCV])
def test_before_fit(kind):
    calls = [lambda m: m.score(X, Y), lambda m: m.predict(X), lambda m: m.to_module(), lambda m: m.certificate_]
    calls += [lambda m: verify(m, X, Y), lambda m: headwise.predict(m, X)]
    if "Classifier" in kind.__name__:
        calls += [lambda m: m.predict_proba(X), lambda m: m.predict_log_proba(X), lambda m: m.decision_function(X)]
    for call in calls:
        with pytest.raises(NotFittedError):
            call(kind())


def test_modules_take_tensors(fitted):
    module, tokens = fitted.to_module(), torch.from_numpy(X)
    with pytest.raises(InputError, match="tokens must be a torch tensor, got ndarray"):
        module(X)
    for mask in (torch.ones(40, 4, dtype=torch.bool), torch.ones(40, 5), np.ones((40, 5), dtype=bool)):
        with pytest.raises(InputError, match=r"mask must be a bool tensor of shape \(40, 5\)"):
            module(tokens, mask)
    assert module(tokens, torch.ones(40, 5, dtype=torch.bool)).shape == (40, 2)
    for dtype in ("float32", torch.int64):
        with pytest.raises(InputError, match=r"floating-point type such as torch\.float32"):
            fitted.to_module(dtype)


def test_verify_takes_arrays_and_estimators(fitted):
    for head in (fitted, fitted.head_):
        assert verify(head, X, Y).holds
        assert verify(head, torch.from_numpy(X), Y).holds
        assert not verify(head, X + 1e-3, Y).holds
    with pytest.raises(InputError, match="labels are needed"):
        verify(fitted, X)
    with pytest.raises(InputError, match="40 samples but 5 labels"):
        verify(fitted, X, Y[:5])
    with pytest.raises(InputError, match="a head is needed"):
        verify(3, X, Y)
    mask = np.arange(5) < np.where(np.arange(40) % 2, 5, 3)[:, None]
    masked = HeadClassifier("linear", beta=0.05).fit(X, Y, mask=mask)
    assert verify(masked, X, Y, mask=mask).holds
    numbers = HeadRegressor("linear").fit(X, X[:, :1, 0])
    assert verify(numbers, X, X[:, :1, 0]).holds


def test_columns_of_data_frames_keep_their_order():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[:, 0], columns=["a", "b", "c", "d"])
    model = HeadClassifier("linear", beta=0.05).fit(frame, Y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert model.predict(frame).shape == (40,)
    for other in (frame[["b", "a", "c", "d"]], frame.rename(columns={"a": "z"})):
        with pytest.raises(InputError, match="feature names should match"):
            model.predict(other)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X[:, 0])
    assert not hasattr(model.fit(X[:, 0], Y), "feature_names_in_")


@pytest.mark.parametrize("model", [HeadClassifier, HeadClassifierCV])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"block": "linear", "gate": "nope"}, "unknown gate 'nope'"),
        ({"block": "attention", "gate": "gausian"}, "did you mean gaussian"),
        ({"block": "linear", "gate": "gaussian"}, "no part of 'linear' takes gates on these tokens"),
        ({"block": "linear_prefix", "gate": "cluster", "num_prefix": 1}, "no part of 'linear_prefix' takes gates"),
        ({"block": headwise.PartSpec("attention"), "gate": "gaussian"}, "each with its own gates"),
    ],
)
def test_gates_that_no_part_takes_are_refused(model, given, said):
    with pytest.raises(InputError, match=said):
        model(**given).fit(X, Y)


def test_gates_of_the_default_are_refused_where_it_is_linear():
    HeadClassifier("default", beta=0.05, gate="rank_one", n_components=3).fit(X, Y)
    with pytest.raises(InputError, match="no part of 'default' takes gates"):
        HeadClassifier("default", beta=0.05, gate="rank_one").fit(X[:, 0], Y)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({0: -2}, "class_weight of class 0 must be a finite number of at least 0, got -2"),
        ({0: 1, 1: "x"}, "class_weight of class 1 must be a finite number of at least 0, got 'x'"),
        ({7: 1}, "class_weight has the class 7, which the labels do not have; they have 0, 1"),
        ({0: 0, 1: 0}, "class_weight leaves no training sample with a positive weight"),
        ("blanced", "class_weight must be 'balanced', a mapping"),
        (3, "class_weight must be 'balanced', a mapping"),
    ],
)
def test_class_weights_that_are_none_are_named(weights, said):
    for model in (HeadClassifier, HeadClassifierCV):
        with pytest.raises(InputError, match=f"^{said}"):
            model("linear", class_weight=weights).fit(X, Y)


def test_class_weights_may_name_classes_that_these_samples_have_not():
    model = HeadClassifier("linear", beta=0.05, class_weight={0: 1, 1: 2, 2: 3}).fit(X, Y)
    known = HeadClassifier("linear", beta=0.05, class_weight={0: 1, 1: 2}).fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(X), known.predict_proba(X))


@pytest.mark.parametrize("cv", [None, 2])
def test_what_no_fold_can_have_is_not_of_a_fold(cv):
    with pytest.raises(InputError, match=r"^delta must be finite and above zero"):
        HeadRegressorCV("linear", loss="huber", loss_options={"delta": -1}, cv=cv).fit(X, X[:, 0, 0])
    with pytest.raises(InputError, match=r"^only the squared loss"):
        HeadClassifierCV("linear", solver="moments", cv=cv).fit(X, Y)


def test_labels_of_two_types_are_named():
    with pytest.raises(InputError, match="they mix int and str; give all as text, or all as numbers"):
        HeadClassifier("linear").fit(X, as_objects([1, "a"] * 20))


@pytest.mark.parametrize(
    ("block", "scale", "most"),
    [("linear", 1e20, "1e.15"), ("linear", 1e200, "1e.15"), ("linear", 1e300, "1e.15"), ("attention", 1e12, "1e.05")],
)
def test_raw_tokens_that_single_precision_cannot_square_are_refused(block, scale, most):
    with pytest.raises(InputError, match=rf"largest token feature is \d.*divide.*at most {most}"):
        HeadClassifier(block, condition=False).fit(X * scale, Y)


def test_hidden_tokens_may_have_any_size():
    some, mask = X.copy(), np.ones(X.shape[:2], dtype=bool)
    some[3, 4], mask[3, 4] = 1e300, False
    HeadClassifier("linear", beta=0.05, condition=False).fit(some, Y, mask=mask)


@pytest.mark.parametrize(
    "model", [HeadClassifier(beta=0.05), HeadClassifierCV(betas=2), HeadClassifierCV(betas=2, cv=2, refit=False)]
)
def test_a_fit_on_a_store_takes_its_names_and_gives_its_labels(model, tmp_path):
    store = TokenStore.from_arrays(tmp_path / "store", X, np.array(["cat", "dog"])[Y])
    model = clone(model).set_params(block="linear").fit(store)
    assert model.head_.class_names == ["cat", "dog"] and model.head_.output_names == ["cat", "dog"]
    assert model.classes_.tolist() == [0, 1] and set(model.predict(store)) <= {0, 1}
    model.fit(store, 1 - Y)  # labels of one's own are no codes of the store
    assert model.head_.class_names is None
