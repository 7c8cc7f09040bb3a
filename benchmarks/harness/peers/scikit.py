"""scikit-learn's lbfgs on the linear block with a ridge penalty, by tolerance."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from ..measure import Moment, Setting

__all__ = ["Scikit"]


class Scikit:
    """``LogisticRegression(solver="lbfgs", C=1 / (beta n))`` on the same features: the same objective."""

    name, restarts = "scikit-learn LogisticRegression (lbfgs)", True

    def run(self, setting: Setting, budget: float, skip: int = 0) -> Iterator[Moment]:
        problem = setting.problem
        features = torch.cat([stats[0]["features"] for _, stats in problem.passes.chunks(torch.float64)]).numpy()
        labels = problem.loss.targets.numpy()
        for tol in (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6, 1e-7)[skip:]:
            model = LogisticRegression(C=1 / (setting.beta * len(labels)), tol=tol, max_iter=10_000)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # a loose tolerance is a moment like any other
                model.fit(features, labels)
            factors = problem.zero()
            factors.v[0] = torch.from_numpy(model.coef_.T.copy()).view_as(factors.v[0])
            factors.intercept = torch.from_numpy(model.intercept_.copy())
            yield Moment(factors)
