"""A path that was stopped goes on where it was, and never takes up another path's solutions."""

from __future__ import annotations

import numpy as np
import pytest

from headwise import HeadClassifierCV
from headwise.solvers import factored


def data(seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(60) % 2
    X = rng.normal(size=(60, 5, 4))
    X[y == 1, :, 0] += 1
    return X, y


@pytest.fixture
def solved(monkeypatch):
    """Betas that were really solved."""
    betas, real = [], factored.solve

    def counting(problem, beta, **options):
        betas.append(beta)
        return real(problem, beta, **options)

    monkeypatch.setattr("headwise.solvers.choice.solve", counting)
    return betas


def model(folder, **more):
    return HeadClassifierCV("attention", betas=4, refit=False, checkpoint=folder, **{"n_components": 3, **more})


def test_goes_on_where_it_was(tmp_path, solved):
    X, y = data()
    whole = model(None).fit(X, y)
    solved.clear()
    model(tmp_path / "path").fit(X, y)
    count = len(solved)
    files = sorted((tmp_path / "path").iterdir())
    assert len(files) == count == len(whole.path_)
    files[-1].unlink()  # as if it had been stopped during the last beta
    files[0].write_bytes(files[0].read_bytes()[:100])  # and one file were broken
    solved.clear()
    again = model(tmp_path / "path").fit(X, y)
    assert solved == [whole.path_[0].beta, whole.path_[-1].beta]
    assert again.certificate_.primal == whole.certificate_.primal
    assert [p.loss for p in again.path_] == [p.loss for p in whole.path_]


@pytest.mark.parametrize(
    "change", [{"tol": 1e-4}, {"n_components": 2}, {"fit_intercept": False}, {"labels": 1}, {"weights": 1}]
)
def test_another_path_is_not_taken_up(tmp_path, solved, change):
    X, y = data()
    model(tmp_path).fit(X, y)
    solved.clear()
    if change.pop("labels", None):
        y = y.copy()
        y[:2] = 1 - y[:2]
    weights = np.linspace(1, 2, 60) if change.pop("weights", None) else None
    found = model(tmp_path, **change).fit(X, y, sample_weight=weights)
    assert len(solved) == len(found.path_)


def test_progress_moves_within_a_beta():
    told = []
    found = HeadClassifierCV("attention", betas=3, n_components=3, refit=False).fit(
        *data(), progress=lambda *what: told.append(what)
    )
    done = [d for step, d, _ in told if step == "path"]
    assert {total for step, _, total in told if step == "path"} == {30}
    assert done == sorted(done)
    assert done[0] == 0 and done[-1] == 30
    assert len(set(done)) > len(found.path_) + 2
