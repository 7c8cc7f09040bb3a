from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.errors import InputError
from headwise.tokens import make_splits


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(3, 40), min_size=1, max_size=6),
    seed=st.integers(0, 50),
    fractions=st.sampled_from([(0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.7, 0.0, 0.3)]),
)
def test_each_class_is_cut_by_its_shares(counts, seed, fractions):
    labels = np.repeat([f"class {k}" for k in range(len(counts))], counts)
    labels = np.random.default_rng(seed).permutation(labels)
    parts = make_splits(labels, fractions=fractions, seed=seed)
    for k, count in enumerate(counts):
        mine = parts[labels == f"class {k}"]
        assert len(mine) == count
        for name, share in zip(("train", "val", "test"), fractions, strict=True):
            got = int((mine == name).sum())
            assert abs(got - share * count) < 2 + 1e-9
            assert (got > 0) == (share > 0)
    assert np.array_equal(parts, make_splits(labels, fractions=fractions, seed=seed))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), num_groups=st.integers(15, 40), classes=st.integers(1, 4))
def test_groups_stay_whole(seed, num_groups, classes):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(num_groups), rng.integers(4 * classes, 8 * classes, num_groups)))
    labels = rng.integers(0, classes, len(groups))
    parts = make_splits(labels, groups, seed=seed)
    assert all(len(set(parts[groups == g])) == 1 for g in np.unique(groups))
    assert all(set(parts[labels == c]) == {"train", "val", "test"} for c in range(classes))
    share = {name: float((parts == name).mean()) for name in ("train", "val", "test")}
    assert abs(share["train"] - 0.6) < 0.1
    assert abs(share["val"] - 0.2) < 0.1


def test_groups_of_one_class_each():
    groups = np.repeat(np.arange(30), 4)
    labels = groups % 3
    parts = make_splits(labels, groups.astype(str))
    for label in range(3):
        counts = [int((parts[labels == label] == name).sum()) for name in ("train", "val", "test")]
        assert counts == [24, 8, 8]


def test_seed_matters():
    labels = np.arange(100) % 2
    assert not np.array_equal(make_splits(labels, seed=0), make_splits(labels, seed=1))


def test_missing_class_is_named():
    with pytest.raises(InputError, match=r"class 'rare' has no samples in the (val|test) part.*samples for every part"):
        make_splits(["a"] * 20 + ["rare"] * 2)
    with pytest.raises(InputError, match=r"class '1'.*groups for every part"):
        make_splits([0] * 20 + [1] * 5, list(range(20)) + [99] * 5)
    with pytest.raises(
        InputError, match=r"part; each class needs samples .* Add samples of it, or leave the class out"
    ):
        make_splits([0] * 20 + [1])
    with pytest.raises(InputError, match=r"\(nor has 1 other\)"):
        make_splits([0, 0, 0, 1, 2], split=["train", "val", "test", "train", "train"])


def test_val_is_carved_from_train():
    labels = np.arange(100) % 5
    given = np.where(np.arange(100) < 80, "train", "test")
    parts = make_splits(labels, split=given)
    assert (parts[80:] == "test").all()
    assert (parts == "val").sum() == 20
    assert (parts == "train").sum() == 60
    assert set(labels[parts == "val"]) == set(range(5))
    groups = np.arange(100) // 5
    grouped = make_splits(labels, groups, split=given)
    assert all(len(set(grouped[groups == g])) == 1 for g in range(20))
    assert (grouped[80:] == "test").all()
    whole = make_splits(labels, split=parts)
    assert np.array_equal(whole, parts)
    assert (make_splits(labels, split=["train"] * 99 + [""])[-1:] == "").all()


def test_given_split_that_cuts_a_group():
    with pytest.raises(InputError, match="cuts group '4'"):
        make_splits([0, 1] * 5, np.arange(10) // 2, split=["train"] * 9 + ["test"])
    with pytest.raises(InputError, match="no train samples"):
        make_splits([0, 1] * 5, split=["test"] * 10)


def test_real_targets_are_not_stratified():
    parts = make_splits(np.linspace(0, 1, 50))
    assert [(parts == name).sum() for name in ("train", "val", "test")] == [30, 10, 10]
    assert len(make_splits(np.ones((50, 2), int))) == 50


@pytest.mark.parametrize(
    "fractions", [(0.5, 0.5), (0.9, 0.2, 0.2), (1.2, -0.1, -0.1), (0, 0.5, 0.5), (np.nan, 0.5, 0.5)]
)
def test_bad_fractions(fractions):
    with pytest.raises(InputError, match="fractions"):
        make_splits([0, 1] * 10, fractions=fractions)


def test_lengths():
    with pytest.raises(InputError, match="groups have length"):
        make_splits([0, 1] * 10, [0, 1])
    with pytest.raises(InputError, match="split has shape"):
        make_splits([0, 1] * 10, split=["train"])
    with pytest.raises(InputError, match="one label for each"):
        make_splits([])
