"""Linear regression whose modes are shrunk by what noise did to them: no penalty to choose and no time to stop."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ..checks import check_number
from ..errors import InputError
from ..theory.marchenko_pastur import noise_scale
from ..theory.shrinkage import shrink

__all__ = ["ShrinkageRegressor"]

ESTIMATES = ("auto", "residual", "median")


class ShrinkageRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Linear regression with optimal shrinkage of singular values.

    Inputs are centred and whitened. The coefficients of least squares are then a teacher plus noise of one scale; their
    singular values are shrunk by the rule that has the least squared error for teachers of low rank in large problems.
    Modes that cannot be told from noise are zero. All outputs are taken to have noise of the same size: scale outputs
    that have units of their own.

    Parameters
    ----------
    noise : {"auto", "residual", "median"} or float
        Standard deviation of the noise of the outputs, or how it is estimated. "residual" takes what least squares
        leaves over, which needs more samples than features; "median" the median singular value of the whitened
        coefficients, which needs several outputs most of whose modes are noise. "auto" is "residual" where enough
        samples are left over (at least one beyond the fitted directions), else "median".
    floor : float
        Directions of the inputs with less than this share of the largest variance are left out.

    Attributes
    ----------
    coef_ : ndarray, shape (outputs, d) or (d,)
    intercept_ : ndarray, shape (outputs,), or float
    noise_ : float
        Standard deviation of the noise that was used.
    singular_values_ : ndarray
        Of the whitened coefficients before shrinkage, in units of the outputs, from large to small.
    shrunk_singular_values_ : ndarray
        The same after it.
    rank_ : int
        Modes above the noise; 0 where nothing learnable is visible at this sample size, and predictions are the mean.
    n_features_in_ : int
        d.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame.

    Notes
    -----
    With fewer samples than features least squares fits every sample, so nothing is left over to measure the noise, and
    the median singular value is used; with one output that takes everything for noise, so give ``noise`` as a number.

    References
    ----------
    Lampinen and Ganguli, "An analytic theory of generalization dynamics and transfer learning in deep linear networks",
    ICLR 2019, arXiv 1809.10374.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 50))
    >>> Y = 2 * X[:, :1] + rng.normal(size=(200, 30))  # one mode, the same in all outputs
    >>> model = ShrinkageRegressor().fit(X, Y)
    >>> model.rank_, round(model.noise_, 1)
    (1, 1.0)
    """

    coef_: NDArray[Any]
    intercept_: Any
    noise_: float

    def __init__(self, noise: str | float = "auto", floor: float = 1e-10) -> None:
        self.noise = noise
        self.floor = floor

    def fit(self, X: Any, y: Any) -> ShrinkageRegressor:
        """Fit to samples.

        Parameters
        ----------
        X : array or data frame, shape (n, d)
            Features, at least two samples.
        y : array, shape (n,) or (n, outputs)
            Numbers to predict.

        Raises
        ------
        InputError
            Numbers that are not finite, a parameter that is none of those known, or ``noise="residual"`` without more
            samples than directions.
        """
        if not isinstance(self.noise, str):
            check_number("noise", self.noise)
        elif self.noise not in ESTIMATES:
            raise InputError(f"noise must be {', '.join(ESTIMATES)} or a positive number, got {self.noise!r}")
        check_number("floor", self.floor, below=1)
        X, y = self._checked(X, y, y_numeric=True, multi_output=True, ensure_min_samples=2)
        flat, targets = y.ndim == 1, y.reshape(len(y), -1).astype(np.float64)
        centre, mean = X.mean(0), targets.mean(0)
        white, lengths, directions = np.linalg.svd(X - centre, full_matrices=False)
        kept = lengths**2 > float(self.floor) * lengths[0] ** 2
        white, lengths, directions = white[:, kept], lengths[kept], directions[kept]
        targets = targets - mean
        whitened = targets.T @ white  # (outputs, directions): least squares on orthonormal inputs
        left, values, right = np.linalg.svd(whitened, full_matrices=False)
        self.noise_ = self._noise(targets, white, whitened, values)
        self.singular_values_ = values
        self.shrunk_singular_values_ = self._shrunk(values, whitened.shape)
        self.rank_ = int((self.shrunk_singular_values_ > 0).sum())
        coefficients = (left * self.shrunk_singular_values_) @ right @ (directions / lengths[:, None])
        intercept = mean - coefficients @ centre
        self.coef_ = coefficients[0] if flat else coefficients
        self.intercept_ = float(intercept[0]) if flat else intercept
        return self

    def _checked(self, *given: Any, **how: Any) -> Any:
        try:
            return validate_data(self, *given, dtype=np.float64, **how)
        except ValueError as error:
            raise InputError(str(error)) from None

    def _noise(self, targets: NDArray[Any], white: NDArray[Any], whitened: NDArray[Any], values: NDArray[Any]) -> float:
        if not isinstance(self.noise, str):
            return float(self.noise)
        n, (outputs, rank) = len(targets), whitened.shape
        left_over = n - 1 - rank  # the mean takes one
        if self.noise == "residual" and left_over < 1:
            raise InputError(
                f"{n} samples and {rank} directions of the inputs leave nothing over to measure the noise; give more "
                "samples, noise='median' (several outputs), or the noise as a number"
            )
        if not rank:  # constant inputs
            return float(np.sqrt((targets**2).sum() / (outputs * max(n - 1, 1))))
        if self.noise == "median" or left_over < 1:
            return noise_scale(values, outputs / rank) / rank**0.5
        return float(np.sqrt(((targets - white @ whitened.T) ** 2).sum() / (outputs * left_over)))

    def _shrunk(self, values: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
        outputs, rank = shape
        # below rounding there is no noise to take away
        if not values.size or self.noise_ <= np.finfo(float).eps * values[0]:
            return values
        return shrink(values, outputs / rank, self.noise_ * rank**0.5)

    def predict(self, X: Any) -> NDArray[Any]:
        """Numbers, ``(n,)`` or ``(n, outputs)`` as the targets were."""
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        found: NDArray[Any] = X @ self.coef_.T + self.intercept_
        return found
