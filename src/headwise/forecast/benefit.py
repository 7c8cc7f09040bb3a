"""Whether a second label set, trained jointly, would help the first.

The tasks share the features and the hidden layer of a probe of two layers and have outputs of their own, as in
`headwise.theory.transfer`. Each is taken in units of its own noise: the theory knows one noise for all outputs, and so
this is the joint training whose losses are weighted by one over the noise variance of the task at its sample size.

The modes that are visible in each task give its teacher; what is missing is how far the input directions of the two
teachers agree. With ``M = W + Z`` of both tasks, ``M_a M_b^T`` is on average ``W_a W_b^T``, plus, where both label sets
are on the same samples, ``r / n`` times the covariance of their noises, which is measured on the residuals and taken
away. Along the output directions that the data show, divided by the teachers' strengths and the cosines of those
directions with the true ones, it is the cosine q of the input directions; chance, ``1 / sqrt(r)`` for directions of
noise, is taken from its square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..theory.joint_teacher import JointTeacher, best_on_task
from ..theory.random_matrix import output_overlap
from ..theory.stopping import Stop
from .spectrum import Spectrum

__all__ = ["Benefit", "alignments", "transfer_benefit"]

Floats = NDArray[np.float64]

NEGLIGIBLE = 1e-12
"""Squared joint strengths below this share of the largest are rounding."""
LOUDEST = 1e3
"""Strength in units of the noise beyond which more changes nothing but the rounding: labels without any noise."""


@dataclass(frozen=True)
class Benefit:
    """Forecast benefit of an auxiliary label set for the first one.

    Parameters
    ----------
    name : str
        Of the auxiliary label set.
    value : float or None
        Least error on the first task alone minus that in joint training, each at its own best time, as a share of the
        size of the first task's visible teacher: negative where the second task harms. None where nothing of the first
        task is visible: what cannot be seen cannot be aligned with anything.
    alone, joint : Stop or None
        Those times and errors, in units of the noise.
    alignment : float
        Largest cosine between input directions of the two teachers; zero where it is below chance.
    visible_modes : int
        Modes of the auxiliary labels above the noise.
    num_samples : int
        Of the auxiliary label set.
    shift : float
        How far the variances of the features of both data sets are apart, as
        `headwise.forecast.whitening.input_shift` says; zero for the same samples. The theory has the same inputs for
        both, so that a large shift voids it.
    """

    name: str
    value: float | None
    alone: Stop | None
    joint: Stop | None
    alignment: float
    visible_modes: int
    num_samples: int
    shift: float

    @property
    def status(self) -> str:
        """The finding as a sentence."""
        if self.value is None:
            return "nothing of the first label set is visible at this sample size, so no benefit can be forecast"
        if not self.visible_modes:
            return "nothing of the auxiliary labels is visible at their sample size; they can only add noise"
        if abs(self.value) < 5e-4:
            return "joint training is forecast to make no difference"
        if self.value > 0:
            return f"joint training is forecast to lower the least error by {self.value:.1%} of the signal"
        return f"joint training is forecast to raise the least error by {-self.value:.1%} of the signal"

    def to_dict(self) -> dict[str, Any]:
        """All numbers, as JSON."""
        return {
            "name": self.name,
            "value": self.value,
            "alone": None if self.alone is None else self.alone._asdict(),
            "joint": None if self.joint is None else self.joint._asdict(),
            "alignment": self.alignment,
            "visible_modes": self.visible_modes,
            "samples": self.num_samples,
            "shift": self.shift,
            "status": self.status,
        }


def alignments(first: Spectrum, second: Spectrum, same_samples: bool = False) -> Floats:
    """Cosines between the input directions of the visible modes of two teachers, ``(m_first, m_second)``.

    Parameters
    ----------
    first, second : Spectrum
        With the same directions of features: the whitening of the second is that of the first, or adapted from it.
    same_samples : bool
        Whether both label sets are on the same rows, so that their noises may go together.

    Raises
    ------
    InputError
        Different directions, or ``same_samples`` with different numbers of samples.

    Examples
    --------
    >>> import numpy as np
    >>> from headwise.forecast import estimate_spectrum
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(400, 50))
    >>> one, two = (estimate_spectrum(features, features[:, 0] + rng.normal(size=400)) for _ in range(2))
    >>> bool(abs(alignments(one, two, same_samples=True)).item() > 0.8)
    True
    """
    r = first.num_directions
    if second.num_directions != r:
        raise InputError(
            f"the label sets have {r} and {second.num_directions} directions; give the second one the whitening of the "
            "first"
        )
    mixed = first.matrix @ second.matrix.T
    if same_samples:
        if first.num_samples != second.num_samples:
            raise InputError(f"{first.num_samples} and {second.num_samples} samples are not the same samples")
        mixed = mixed - r / first.num_samples * (first.residuals.T @ second.residuals / (first.num_samples - 1 - r))
    found = first.left[:, first.visible].T @ mixed @ second.left[:, second.visible]
    if not found.size:
        return found
    sizes = np.outer(_shown(first), _shown(second))
    chance = np.outer(first.values[first.visible], second.values[second.visible]) / r**0.5
    cosines = np.sign(found) * np.sqrt(np.maximum(found**2 - chance**2, 0)) / sizes
    left, values, right = np.linalg.svd(cosines, full_matrices=False)
    return (left * np.minimum(values, 1)) @ right


def _shown(spectrum: Spectrum) -> Floats:
    """Strength of each visible mode of the teacher along the output direction that the data show."""
    teacher = spectrum.teacher[spectrum.visible]
    scale = spectrum.scale(spectrum.num_samples)[spectrum.visible]
    return teacher * np.sqrt(output_overlap(teacher / scale, spectrum.aspect))


def transfer_benefit(
    first: Spectrum,
    second: Spectrum,
    *,
    same_samples: bool = False,
    start: float = 1e-3,
    name: str = "auxiliary labels",
    shift: float = 0.0,
) -> Benefit:
    """Forecast what training on a second label set does to the least error on the first.

    Parameters
    ----------
    first, second : Spectrum
        Of both label sets; the whitening of the second is that of the first, or adapted from it.
    same_samples : bool
        Whether both are on the same rows.
    start : float
        Strength of the student's modes at time zero, in units of the noise.
    name, shift
        Kept in the result.

    Raises
    ------
    InputError
        As in `alignments`.

    Examples
    --------
    >>> import numpy as np
    >>> from headwise.forecast import estimate_spectrum
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(200, 50))
    >>> weak = estimate_spectrum(features, features[:, :1] + 1.5 * rng.normal(size=(200, 20)))
    >>> strong = estimate_spectrum(features, features[:, :1] + 0.2 * rng.normal(size=(200, 20)))
    >>> transfer_benefit(weak, strong, same_samples=True).value > 0
    True
    """
    cosines = alignments(first, second, same_samples)
    facts = (second.num_visible, second.num_samples, shift)
    largest = float(np.abs(cosines).max()) if cosines.size else 0.0
    if not first.num_visible:
        return Benefit(name, None, None, None, largest, *facts)
    strengths = [_in_noise(spectrum) for spectrum in (first, second)]
    sizes, shared = (first.num_outputs, second.num_outputs), first.num_directions
    alone = best_on_task(_together(strengths[:1], None, sizes[:1], shared), 0, start)
    joint = best_on_task(_together(strengths, cosines, sizes, shared), 0, start)
    return Benefit(name, alone.error - joint.error, alone, joint, largest, *facts)


def _in_noise(spectrum: Spectrum) -> Floats:
    """Visible strengths of a teacher over the noise of the task."""
    scale = np.sqrt(np.mean(spectrum.scale(spectrum.num_samples) ** 2))
    return np.minimum(spectrum.teacher[spectrum.visible] / scale, LOUDEST)


def _together(strengths: list[Floats], cosines: Floats | None, sizes: tuple[int, ...], shared: int) -> JointTeacher:
    """The joint teacher from its Gram matrix in the basis of the tasks' output directions."""
    gram = np.diag(np.concatenate(strengths) ** 2)
    first = len(strengths[0])
    if cosines is not None:
        mixed = strengths[0][:, None] * cosines * strengths[1]
        gram[:first, first:], gram[first:, :first] = mixed, mixed.T
    values, vectors = np.linalg.eigh(gram)
    kept = np.flatnonzero(values > NEGLIGIBLE * values[-1])[::-1][:shared]
    parts = [vectors[:first], vectors[first:]][: len(sizes)]
    shares = np.stack([(part[:, kept] ** 2).sum(0) for part in parts])
    return JointTeacher(values[kept] ** 0.5, shares, sizes, shared)
