"""Parameters that no fit can use are refused by name when the fit begins, never when the estimator is made."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import LeaveOneGroupOut

from headwise.errors import InputError
from headwise.heads import HeadClassifier, HeadClassifierCV, HeadRegressorCV, PartSpec


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 5, 4)), np.arange(40) % 2


SHARED = [
    ({"block": None}, "block takes a name, a PartSpec"),
    ({"block": 3}, "block takes a name, a PartSpec"),
    ({"block": "linaer"}, r"did you mean linear\?"),
    ({"tol": 1}, "tol must be a positive number below 1, got 1"),
    ({"tol": "x"}, "tol must be"),
    ({"loss": None}, "loss is given by its name, got None; known: binary"),
    ({"loss": "log_loss"}, r"did you mean multinomial\?"),
    ({"loss": ["multinomial"]}, "loss is given by its name"),
    ({"loss_options": 3}, "loss_options must be a mapping"),
    ({"gate": None}, "gate must be a name"),
    ({"gate": 5}, "gate must be a name"),
    ({"num_gates": 2.5}, "num_gates must be a whole number"),
    ({"block": "mlp", "gate": "gaussian", "num_gates": 0}, "num_gates must be a whole number of at least 1"),
    ({"block": "attention", "gate": "rank_one", "num_gates": 0}, "num_gates must be a whole number of at least 1"),
    ({"gate_seed": -1}, "gate_seed must be a whole number of at least 0, got -1"),
    ({"condition": "raw"}, "condition must be True, False or a headwise.Conditioner"),
    ({"n_components": 2.5}, "n_components must be a whole number of at least 1 or None"),
    ({"n_components": "3"}, "n_components must be"),
    ({"num_prefix": 1.5}, "num_prefix must be a whole number"),
    ({"grid": 3}, "grid must be two whole numbers"),
    ({"grid": (2.5, 2)}, "grid must be two whole numbers"),
    ({"fit_intercept": "no"}, "fit_intercept must be True or False"),
    ({"solver": None}, "solver is given by its name"),
    ({"solver": "moments"}, "solver='factored'"),
    ({"max_rounds": -1}, "max_rounds must be a whole number of at least 1"),
    ({"max_rounds": 1.5}, "max_rounds must be a whole number of at least 1"),
]


@pytest.mark.parametrize(("wrong", "said"), [*SHARED, ({"beta": True}, "beta must be a positive number, got True")])
def test_parameters_of_one_beta(wrong, said):
    model = HeadClassifier(**{"block": "linear", "beta": 0.1, **wrong})
    with pytest.raises(InputError, match=said):
        model.fit(*data())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"betas": "a"}, "betas must be positive numbers"),
        ({"betas": 2.0}, "betas must be positive numbers"),
        ({"betas": [0.1, -1]}, "betas must be positive numbers"),
        ({"ratio": 1}, "ratio must be a positive number below 1"),
        ({"validation": "a"}, "validation must be a positive number below 1"),
        ({"rule": "first"}, "unknown rule 'first'; known: best, one_standard_error"),
        ({"refit": "yes"}, "refit must be True or False"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"checkpoint": 3}, "checkpoint must be a path or None"),
        ({"cv": 1}, "cv=1 cannot split"),
        ({"cv": "a"}, "cv='a' cannot split"),
        ({"cv": [([0], [99])]}, "cannot split these samples: index 99"),
        ({"cv": [([0, 1], np.arange(0))]}, "fold 1 of 1 has 2 training and 0 held-out samples"),
        ({"cv": [([0, 2], [1, 3])]}, "class 1 has no training sample in fold 1 of 1"),
        ({"gate": 5}, "gate must be a name"),
    ],
)
def test_parameters_of_a_path(wrong, said):
    model = HeadClassifierCV(**{"block": "linear", "betas": 2, **wrong})
    with pytest.raises(InputError, match=said):
        model.fit(*data())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"block": "attention", "options": {"a": 1}}, "attention has no options"),
        ({"block": "hadamard", "options": {"filter": 1}}, r"did you mean filter_size\?"),
        ({"block": "linear", "options": 3}, "options must be a mapping"),
        ({"block": "linear", "num_gates": 0.5}, "num_gates must be"),
        ({"block": 3}, "block is given by its name"),
    ],
)
def test_parts(options, said):
    with pytest.raises(InputError, match=said):
        PartSpec(**options)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (PartSpec("hadamard", options={"filter_size": "a"}), "filter_size must be a whole number"),
        (PartSpec("bfno", options={"groups": "a"}), "groups must be a whole number"),
    ],
)
def test_values_of_options(spec, said):
    with pytest.raises(InputError, match=said):
        HeadClassifier(spec, beta=0.1).fit(*data())


def test_one_part_needs_no_list():
    X, y = data()
    one, listed = (HeadClassifier(block, beta=0.1).fit(X, y) for block in (PartSpec("linear"), [PartSpec("linear")]))
    np.testing.assert_array_equal(one.decision_function(X), listed.decision_function(X))


@pytest.mark.parametrize("cv", [None, 3])
def test_samples_that_cannot_be_held_out(cv):
    X, y = data()
    model = HeadClassifierCV("linear", betas=2, cv=cv)
    with pytest.raises(InputError, match=r"one sample of class 2 only.*Add some, remove the class"):
        model.fit(X, np.r_[2, y[1:]])
    with pytest.raises(InputError, match=r"one group of class 0 only.*leave the groups out"):
        model.fit(X, y, groups=np.zeros(40))
    with pytest.raises(InputError, match="one group only"):
        HeadRegressorCV("linear", betas=2, cv=cv).fit(X, X[:, 0, 0], groups=["a"] * 40)
    for count in (6, 60):
        with pytest.raises(InputError, match=rf"groups have shape \({count},\); \(40,\) is needed"):
            model.fit(X, y, groups=np.zeros(count))


def test_splitters_of_scikit_learn_still_cut_by_group():
    X, y = data()
    model = HeadClassifierCV("linear", betas=2, cv=LeaveOneGroupOut()).fit(X, y, groups=np.arange(40) // 20)
    assert model.beta_ > 0
