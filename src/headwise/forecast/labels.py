"""Labels as the outputs of a linear probe: one-hot columns or targets, centred, in directions of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..tokens.table import as_labels

__all__ = ["LabelMatrix"]

Floats = NDArray[np.float64]

NEGLIGIBLE = 1e-9
"""Directions with less than this share of the largest variance are none: one-hot columns always have one."""


@dataclass(frozen=True)
class LabelMatrix:
    """How labels become outputs: centred, turned so that no direction is empty, with a total variance of one.

    Classes become one-hot columns. The columns sum to one, so centred they have a direction without any variance; it is
    left out, as is any other. Errors of the outputs are then shares of the variance of the labels, and the directions
    are a rotation: no error changes by it.

    Parameters
    ----------
    classes : array of int, shape (k,), or None
        Codes of the classes; None where labels are numbers.
    names : tuple of str
        Names of the classes where labels were text.
    mean : array, shape (k,)
        Of the columns.
    basis : array, shape (k, c)
        From centred columns to outputs.

    Examples
    --------
    >>> matrix = LabelMatrix.of(["cat", "dog", "cat", "dog"])
    >>> matrix(["cat", "dog"]).round(3).tolist() in ([[1.0], [-1.0]], [[-1.0], [1.0]])
    True
    """

    classes: NDArray[np.int64] | None
    names: tuple[str, ...]
    mean: Floats
    basis: Floats

    @classmethod
    def of(cls, labels: Any) -> LabelMatrix:
        """The matrix for these labels.

        Parameters
        ----------
        labels : array-like, shape (n,) or (n, k)
            Text or whole numbers, ``(n,)``: classes. Real numbers, or k columns of any numbers: targets.

        Raises
        ------
        InputError
            One class only, targets that are all the same, or values that are not finite.
        """
        if not np.size(labels):
            raise InputError("there are no labels; a forecast needs those of at least 4 samples")
        values, names = as_labels(labels, None)
        classes = None
        if values.ndim == 1 and values.dtype.kind != "f":
            classes = np.unique(values)
            if len(classes) < 2:
                raise InputError(
                    f"all {len(values)} labels are of the class {names[0] if names else classes[0]}; a forecast needs "
                    "samples of two classes at least"
                )
        columns = _columns(values, classes)
        mean = columns.mean(0)
        centred = columns - mean
        covariance = centred.T @ centred / len(columns)
        total = float(np.trace(covariance))
        if total <= 1e-20 * float(mean @ mean):
            raise InputError("all targets are the same; a forecast needs targets that vary")
        variances, directions = np.linalg.eigh(covariance)
        kept = np.flatnonzero(variances > NEGLIGIBLE * variances[-1])[::-1]
        return cls(classes, names, mean, directions[:, kept] / total**0.5)

    @property
    def num_outputs(self) -> int:
        """c, the directions in which labels vary: one less than the classes."""
        return self.basis.shape[1]

    def columns(self, labels: Any) -> Floats:
        """One-hot columns, or targets as they are, ``(n, k)``; a class that is not known has zeros.

        Raises
        ------
        InputError
            Text that is no name of a class, values that are not finite, or another number of targets.
        """
        values, _ = as_labels(labels, None, self.names or None)
        found = _columns(values, self.classes)
        if found.shape[1] != len(self.mean):
            raise InputError(f"labels have {found.shape[1]} columns; {len(self.mean)} are needed as in training")
        return found

    def __call__(self, labels: Any) -> Floats:
        """Outputs ``(n, c)``."""
        return (self.columns(labels) - self.mean) @ self.basis


def _columns(values: NDArray[Any], classes: NDArray[np.int64] | None) -> Floats:
    if classes is None:
        return values.reshape(len(values), -1).astype(np.float64)
    if values.ndim != 1:
        raise InputError(f"labels have shape {values.shape}; one class for each sample is needed as in training")
    return (values[:, None] == classes).astype(np.float64)
