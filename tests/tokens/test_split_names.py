"""Names of the parts of a data set: the usual ones are understood, others are refused wherever they come in."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from headwise import HeadClassifier, TokenStore
from headwise.errors import InputError
from headwise.tokens import make_splits, open_data
from headwise.tokens.table import as_splits


def test_usual_names():
    given = ["Train", "training", "valid", "VAL", "validation", " test", "testing", ""]
    assert as_splits(given, 8).tolist() == ["train", "train", "val", "val", "val", "test", "test", ""]


def test_other_names_are_refused_everywhere(tmp_path):
    X, y = np.random.default_rng(0).normal(size=(6, 3, 2)), [0, 1] * 3
    split = ["trian"] * 4 + ["test"] * 2
    message = r"'trian' \(4 samples\); give train, val or test"
    with pytest.raises(InputError, match=message):
        TokenStore.from_arrays(tmp_path / "store", X, y, split=split)
    with pytest.raises(InputError, match=message):
        make_splits(y, split=split)
    np.savez(tmp_path / "a.npz", X=X, y=y, split=split)
    with pytest.raises(InputError, match=message):
        open_data(tmp_path / "a.npz")
    lines = ["path,label,split"]
    for i, name in enumerate(split):
        Image.new("RGB", (4, 4), (i, i, i)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{y[i]},{name}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match=message):
        open_data(tmp_path / "list.csv")


def test_a_store_without_train_samples_is_not_fitted(tmp_path):
    X, y = np.random.default_rng(0).normal(size=(6, 3, 2)), [0, 1] * 3
    store = TokenStore.from_arrays(tmp_path / "store", X, y, split=["test"] * 6)
    with pytest.raises(InputError, match="none is called train"):
        HeadClassifier("linear").fit(store)
