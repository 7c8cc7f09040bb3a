"""What labelled tokens show of a linear teacher: singular modes, noise, and what of the labels is above it.

Derivation
----------
The labels are ``y = W x + z`` with whitened features x of r directions and noise z. With n samples, and features
whitened on these very samples, the covariance of labels and features is ``M = W + Z``, and the entries of Z in output k
have the variance ``sigma_k^2 / n`` exactly, whatever the features are (the whitened columns are orthogonal). The theory
of `headwise.theory.random_matrix` writes the standard deviation as ``scale / sqrt(r)``. So the number of samples enters
as

    scale = sigma sqrt(r / n),        aspect = outputs / r (not a matter of n)

and n = r, the case of the theory, has nothing special. What is special about n is the unseen sample: its features,
whitened with the training samples, have a covariance C that is not the unit matrix. For Gaussian features with the true
covariance S and the training one T, C is ``T^(-1/2) S T^(-1/2)``. In these coordinates the teacher's input directions v
are along ``T^(1/2) S^(-1/2) v'`` with v' in true coordinates, so that ``v^T C v`` is one up to ``O(n^(-1/2))``, while a
direction of noise, which knows nothing of C, has ``tr(C) / r = unseen`` (see `Whitening`). A mode of the student with
strength s, whose input direction has the squared cosine o with the teacher's, adds to the error on unseen samples

    - 2 s t cos_out cos_in + s^2 (o + (1 - o) unseen)        (t the strength of the mode in the teacher)

and everything else that is not learned adds its own square; the noise of the held-out labels themselves, and that of
their mean in training, is the constant ``sum_k sigma_k^2 (1 + 1 / n)``.

Two things are exact for any n, and used to correct the limit of large matrices. ``|M|^2`` is on average ``|W|^2`` plus
``(r / n) sum_k sigma_k^2``, which gives the whole signal, seen mode by mode or not. And the sum over modes of data
strength times ``u^T W v`` is on average ``|W|^2``; what the visible modes leave over lies in the bulk, and is given to
it in proportion to strength. A probe of one layer, which learns all modes alike, is then forecast without any limit.

Noise of outputs differs (rare classes): each mode takes the noise of its own output direction, which is exact where
directions are many and outputs few, drawn to the mean of all outputs where few samples are left over to measure it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..theory.random_matrix import input_overlap, outlier, output_overlap, teacher_value
from .labels import LabelMatrix
from .outlook import Outlook
from .visibility import Visibility, noise_edge
from .whitening import Whitening, as_features, check_left_over, whiten

__all__ = ["Spectrum", "estimate_spectrum"]

Floats = NDArray[np.float64]

NO_NOISE = 1e-8
"""Least noise, as a share of the strongest mode: labels that are linear in the features have none."""
ALIKE = 50
"""Samples that the mean noise of all outputs counts for in that of each: few samples do not tell outputs apart."""
SURE = 3
"""Standard deviations above zero from which a signal below the single modes is taken for one."""


@dataclass(frozen=True)
class Spectrum:
    """Singular modes of labels on whitened features, with the noise they stand in.

    Everything is in units in which the labels have the total variance one and the features the unit covariance.

    Parameters
    ----------
    labels : LabelMatrix
    whitening : Whitening
    values : array, shape (m,)
        Singular values of the covariance of labels and features, from large to small.
    left, right : array, shape (c, m) and (m, r)
        Their output and input directions.
    residuals : array, shape (n, c)
        What least squares leaves over.
    noise : array, shape (m,)
        Standard deviation of the noise of the labels along each output direction.
    """

    labels: LabelMatrix
    whitening: Whitening
    values: Floats
    left: Floats
    right: Floats
    residuals: Floats
    noise: Floats

    @property
    def num_samples(self) -> int:
        """n."""
        return len(self.residuals)

    @property
    def num_directions(self) -> int:
        """r."""
        return self.whitening.num_directions

    @property
    def num_outputs(self) -> int:
        """c."""
        return self.labels.num_outputs

    @property
    def aspect(self) -> float:
        """Outputs over directions: the shape of the random matrix that the noise is."""
        return self.num_outputs / self.num_directions

    @property
    def samples_per_direction(self) -> float:
        """n / r."""
        return self.num_samples / self.num_directions

    @property
    def matrix(self) -> Floats:
        """Covariance of labels and whitened features, ``(c, r)``."""
        return (self.left * self.values) @ self.right

    @cached_property
    def noise_covariance(self) -> Floats:
        """Covariance of the labels' noise, ``(c, c)``, from what least squares leaves over."""
        return self.residuals.T @ self.residuals / (self.num_samples - 1 - self.num_directions)

    @property
    def noise_share(self) -> float:
        """Share of the labels' variance that no linear probe of these features explains."""
        return float(np.trace(self.noise_covariance))

    @cached_property
    def visible(self) -> NDArray[np.bool_]:
        """Which modes are above what noise alone shows in one of a hundred draws."""
        freedom = self.num_samples - 1 - self.num_directions + ALIKE
        edge = noise_edge(self.num_directions, self.num_outputs, freedom)
        return self.values**2 > self.noise**2 / self.num_samples * edge

    @property
    def num_visible(self) -> int:
        """Modes above the noise."""
        return int(self.visible.sum())

    def scale(self, num_samples: int) -> Floats:
        """Noise of each mode in the convention of `headwise.theory.random_matrix`."""
        return self.noise * (self.num_directions / num_samples) ** 0.5

    @cached_property
    def teacher(self) -> Floats:
        """Strength of each mode in the teacher, without noise; zero where it is not visible."""
        scale = self.scale(self.num_samples)
        return np.where(self.visible, scale * teacher_value(self.values / scale, self.aspect), 0.0)

    @cached_property
    def hidden(self) -> float:
        """Share of the labels' variance that is linear in the features but in no visible mode; zero where in doubt."""
        n, r = self.num_samples, self.num_directions
        whole = float((self.values**2).sum()) - r / n * self.noise_share
        found = whole - float((self.teacher**2).sum())
        # of the noise in the modes, and of its estimate that is taken away
        doubt = r / n * (2 * float((self.noise_covariance**2).sum()) * (1 / r + 1 / (n - 1 - r))) ** 0.5
        return found if found > SURE * doubt else 0.0

    @property
    def signal(self) -> float:
        """Share of the labels' variance that is linear in the features."""
        return float((self.teacher**2).sum()) + self.hidden

    @property
    def visibility(self) -> Visibility:
        """Whether there is anything to learn that can be told from noise."""
        if self.num_visible:
            return Visibility.LEARNABLE
        return Visibility.HIDDEN if self.hidden else Visibility.NOTHING

    def at(self, num_samples: int | None = None) -> Outlook:
        """What these modes are worth with another number of samples of the same kind; with those given by default.

        Raises
        ------
        InputError
            Fewer samples than directions and two more.
        """
        n = self.num_samples if num_samples is None else num_samples
        check_left_over(n, self.num_directions)
        seen, scale = self.visible, self.scale(n)
        ratio = self.teacher / scale
        into = np.where(seen, input_overlap(ratio, self.aspect), 0.0)
        out = np.where(seen, output_overlap(ratio, self.aspect), 0.0)
        data = np.where(seen, scale * outlier(ratio, self.aspect), self.values * self._bulk_factor(n))
        along = self.teacher * np.sqrt(into * out)
        left_over = max(self.signal - float(data @ along), 0.0)
        takes = ~seen if (~seen).any() else seen
        size = float((data[takes] ** 2).sum())
        if size > 0:
            along = along + np.where(takes, data * left_over / size, 0.0)
        unseen = self.whitening.unseen * self._spare(self.num_samples) / self._spare(n)
        return Outlook(data, along, into + (1 - into) * unseen, self.signal, self.noise_share * (1 + 1 / n))

    def _spare(self, num_samples: int) -> float:
        return 1 - self.num_directions / num_samples

    def _bulk_factor(self, num_samples: int) -> float:
        """How the bulk shrinks with more samples: its noise does, a signal in it does not."""
        size = float((self.values[~self.visible] ** 2).sum())
        if size == 0:
            return 1.0
        signal = min(self.hidden, size)
        return float(((signal + (size - signal) * self.num_samples / num_samples) / size) ** 0.5)

    def to_dict(self) -> dict[str, Any]:
        """The numbers, as JSON."""
        return {
            "samples": self.num_samples,
            "features": self.whitening.num_features,
            "directions": self.num_directions,
            "outputs": self.num_outputs,
            "aspect": self.aspect,
            "samples_per_direction": self.samples_per_direction,
            "unseen_length": self.whitening.unseen,
            "noise_share": self.noise_share,
            "signal_share": self.signal,
            "hidden_share": self.hidden,
            "visible_modes": self.num_visible,
            "values": self.values.tolist(),
            "teacher": self.teacher.tolist(),
            "noise": self.noise.tolist(),
            "status": self.visibility.value,
        }


def estimate_spectrum(
    features: ArrayLike, labels: Any, n_components: int | None = None, whitening: Whitening | None = None
) -> Spectrum:
    """Modes and noise of labels on features.

    Parameters
    ----------
    features : array, shape (n, d)
        One row a sample, for example of `headwise.tokens.pooling.pooled_tokens`.
    labels : array-like, shape (n,) or (n, k)
        Text or whole numbers: classes. Real numbers, or k columns: targets.
    n_components : int, optional
        Directions of most variance that are kept; see `headwise.forecast.whitening.whiten`, which says what happens
        with fewer samples than features.
    whitening : Whitening, optional
        Of these very samples, instead of a new one.

    Returns
    -------
    Spectrum

    Raises
    ------
    InputError
        Values that are not finite, one class only, or too few samples.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(500, 40))
    >>> labels = features[:, :2] + rng.normal(size=(500, 2))  # half of the variance is noise
    >>> found = estimate_spectrum(features, labels)
    >>> found.num_visible, round(found.noise_share, 1), found.visibility.name
    (2, 0.5, 'LEARNABLE')
    """
    given, matrix = as_features(features), LabelMatrix.of(labels)
    outputs = matrix(labels)
    if len(outputs) != len(given):
        raise InputError(f"there are {len(given)} rows of features and {len(outputs)} labels; one label each is needed")
    found = whiten(given, n_components) if whitening is None else whitening
    inside = found(given)
    n, r = inside.shape
    covariance = outputs.T @ inside / n
    left, values, right = np.linalg.svd(covariance, full_matrices=False)
    residuals = outputs - inside @ covariance.T
    left_over = n - 1 - r
    own, common = ((residuals @ left) ** 2).sum(0) / left_over, (residuals**2).sum() / left_over / outputs.shape[1]
    squares = (left_over * own + ALIKE * common) / (left_over + ALIKE)
    noise = np.sqrt(np.maximum(squares, (NO_NOISE * values[0]) ** 2))
    return Spectrum(matrix, found, values, left, right, residuals, noise)
