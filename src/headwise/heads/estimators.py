"""Scikit-learn estimators of one head at one beta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from ..contracts import GateFamily, Progress
from .base import EstimatedHead, warn_unproved
from .conditioning import Conditioner
from .inputs import training_rows
from .parts import PartSpec
from .predicting import ClassifierHead, RegressorHead

__all__ = ["HeadClassifier", "HeadRegressor"]


class _AtOneBeta(EstimatedHead):
    """Fitting at a given beta."""

    beta: float
    max_rounds: int

    def fit(
        self,
        X: Any,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        mask: Any = None,
        progress: Progress | None = None,
    ) -> Any:
        """Fit to tokens and labels.

        Parameters
        ----------
        X : array or Tensor ``(n, s, d)`` or ``(n, d)``, data frame ``(n, d)``, TokenStore or its path
            Tokens, prefix tokens first. Of a store with splits the training split is used. Of a store with several
            views of a sample all are used: the loss of a sample is the mean over its views.
        y : array
            Labels, one for each sample; those of the store by default. For parts with ``pooling="token"`` one for each
            token, ``(n, s)``: of the patch tokens, or of all tokens where the parts act on all. NaN, and for classes
            any negative number, stands for a token without a label, and so does a hidden token whatever its label.
        sample_weight : array, shape (n,), optional
            Or ``(n, s)`` where tokens have labels. The loss is the mean over all that have a label.
        mask : array of bool, shape (n, s), optional
            True where a token is real.
        progress : callable, optional
            Told ``(step, done, total)`` while tokens are read and betas are solved.

        Raises
        ------
        InputError
            NaN or infinite tokens, one class only, no such tokens, targets that are not of the loss, several views of
            a sample for a loss that counts all samples together (Cox), or a parameter that no fit can use.
        """
        source = self._open(X, mask)
        rows = training_rows(source)
        targets = self._targets(y, source, rows)
        prepared = self._prepare(source, rows, targets, self._weights(sample_weight, source, rows, targets), progress)
        solution = prepared.solver(float(self.beta), tol=self.tol, progress=progress)
        warn_unproved(solution, self.tol)
        self._keep(prepared, solution, targets)
        return self


class HeadClassifier(ClassifierHead, _AtOneBeta):
    """The best head of a family on frozen tokens, at one beta, with a proof.

    Minimises mean cross-entropy plus ``beta`` times the penalty to a certified relative gap. There is no learning rate,
    no seed and no number of epochs.

    Parameters
    ----------
    block : str, PartSpec or sequence of PartSpec
        "default" (linear on the prefix tokens + attention on the patch tokens), "linear_prefix", any block on the patch
        tokens ("linear", "mlp", "attention", "mlp_mixer", "fno", "bfno", "hadamard"), or parts of your own.
    beta : float
        Strength of the penalty, in the coordinates of the conditioning.
    tol : float
        Certified relative gap to reach.
    loss : {"multinomial", "binary"}
        Cross-entropy of one class a sample, or of two classes or several labels (``y`` of zeros and ones, ``(n,
        labels)``).
    loss_options : mapping, optional
        Options of the loss.
    class_weight : "balanced" or mapping, optional
        Weights of the classes, times those of the samples.
    gate : str or GateFamily
        Gates of the parts that are not linear: "none", "gaussian", "rank_one", "cluster", "window",
        "attention_maps"; `headwise.AttentionMaps` takes a layer of the backbone.
    num_gates : int
        How many gates (clusters of "cluster", radius of "window").
    gate_seed : int
        Decides the gates.
    condition : Conditioner or bool
        How tokens are prepared. True is ``Conditioner()``, without the layer norm where a sample has one token only (a
        table); False fits in raw token coordinates without the constant: exactly ``f = p^T X U X^T X V + b`` with
        ``p = 1/s`` and mean loss.
    n_components : int or None
        Shorthand for ``Conditioner(n_components=...)`` where ``condition`` is True.
    num_prefix : int
        Prefix tokens, first in each sample, where X is an array; a store knows its own.
    grid : (int, int), optional
        Rows and columns of the patch tokens, where X is an array.
    fit_intercept : bool
        Fit an unpenalised intercept.
    solver : {"auto", "factored", "proximal", "moments"}
        "factored" is for every head, "proximal" an independent check on small ones, "moments" for the squared loss with
        few features (its time does not depend on the number of samples). "auto" takes the moments where they are few.
    max_rounds : int
        Limit of solver rounds.
    max_memory : int or str, optional
        Bytes (or a size such as "1GB") that the process may hold during the fit, with what Python and torch take. What
        does not fit is kept in a temporary file (where ``TMPDIR`` says) and read in every pass.
    device : str
        Where the fit computes: "cpu", "cuda", "cuda:1" or "auto" (CUDA where there is one). The head comes back on the
        processor, and the certificate is as valid; devices without float64 (mps) are refused.

    Attributes
    ----------
    certificate_ : Certificate
    rank_ : int
    intercept_, classes_ : ndarray
    head_ : Head
        The fitted ``nn.Module`` on raw tokens.
    status_ : Status
        How the fit ended.
    n_iter_ : int
        Quasi-Newton iterations.
    n_features_in_ : int
        d.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame; data frames with other columns are then refused.

    References
    ----------
    Sahiner et al., "Unraveling Attention via Convex Duality", arXiv 2205.08078.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(60, 5, 4)), np.repeat([0, 1], 30)
    >>> X[y == 1, :, 0] += 1
    >>> model = HeadClassifier("attention", beta=0.01, n_components=4).fit(X, y)
    >>> bool(model.certificate_.relative_gap <= 1e-3)
    True
    """

    def __init__(
        self,
        block: str | PartSpec | Sequence[PartSpec] = "default",
        beta: float = 1e-3,
        tol: float = 1e-3,
        *,
        loss: str = "multinomial",
        loss_options: Mapping[str, Any] | None = None,
        class_weight: Any = None,
        gate: str | GateFamily = "none",
        num_gates: int = 8,
        gate_seed: int = 0,
        condition: Conditioner | bool = True,
        n_components: int | None = 64,
        num_prefix: int = 0,
        grid: tuple[int, int] | None = None,
        fit_intercept: bool = True,
        solver: str = "auto",
        max_rounds: int = 60,
        max_memory: int | str | None = None,
        device: str = "cpu",
    ) -> None:
        self.block = block
        self.beta = beta
        self.tol = tol
        self.loss = loss
        self.loss_options = loss_options
        self.class_weight = class_weight
        self.gate = gate
        self.num_gates = num_gates
        self.gate_seed = gate_seed
        self.condition = condition
        self.n_components = n_components
        self.num_prefix = num_prefix
        self.grid = grid
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_rounds = max_rounds
        self.max_memory = max_memory
        self.device = device


class HeadRegressor(RegressorHead, _AtOneBeta):
    """The best head of a family for numbers, counts or survival times, at one beta, with a proof.

    Parameters
    ----------
    block, beta, tol, gate, num_gates, gate_seed, condition, n_components, num_prefix, grid, fit_intercept, solver,
    max_rounds, max_memory, device
        As in `HeadClassifier`.
    loss : {"squared", "huber", "poisson", "cox"}
        Half the squared error; Huber's; half the Poisson deviance with a logarithmic link; the Cox partial likelihood
        with Breslow's ties (``y`` as scikit-survival has it, or ``(n, 2)`` of time and event; no intercept).
    loss_options : mapping, optional
        Options of the loss: ``{"delta": 1.0}`` of "huber".

    Attributes
    ----------
    certificate_, rank_, intercept_, head_, status_, n_iter_, n_features_in_, feature_names_in_
        As in `HeadClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(80, 5, 4))
    >>> y = X[:, :, 0].mean(1)
    >>> model = HeadRegressor("linear", beta=1e-3, condition=False).fit(X, y)
    >>> bool(model.score(X, y) > 0.99)
    True
    """

    def __init__(
        self,
        block: str | PartSpec | Sequence[PartSpec] = "default",
        beta: float = 1e-3,
        tol: float = 1e-3,
        *,
        loss: str = "squared",
        loss_options: Mapping[str, Any] | None = None,
        gate: str | GateFamily = "none",
        num_gates: int = 8,
        gate_seed: int = 0,
        condition: Conditioner | bool = True,
        n_components: int | None = 64,
        num_prefix: int = 0,
        grid: tuple[int, int] | None = None,
        fit_intercept: bool = True,
        solver: str = "auto",
        max_rounds: int = 60,
        max_memory: int | str | None = None,
        device: str = "cpu",
    ) -> None:
        self.block = block
        self.beta = beta
        self.tol = tol
        self.loss = loss
        self.loss_options = loss_options
        self.gate = gate
        self.num_gates = num_gates
        self.gate_seed = gate_seed
        self.condition = condition
        self.n_components = n_components
        self.num_prefix = num_prefix
        self.grid = grid
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_rounds = max_rounds
        self.max_memory = max_memory
        self.device = device
