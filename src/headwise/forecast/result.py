"""A forecast: numbers, sentences and a figure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_json
from ..version import __version__
from .benefit import Benefit
from .curve import LearningCurve
from .scores import Scores
from .spectrum import Spectrum
from .visibility import Visibility

__all__ = ["FORMAT_VERSION", "Forecast", "read_numbers"]

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Forecast:
    """What learning a label set from frozen tokens will be like.

    Attributes
    ----------
    name : str
        Of the tokens.
    spectrum : Spectrum
        Modes, noise, and how many modes are above it.
    curves : tuple of LearningCurve
        Forecast learning curves by depth of the probe, with the measured ones where the probe was trained.
    benefits : tuple of Benefit
        One for each auxiliary label set.
    scores : Scores
        To compare these tokens with others for the same labels.
    """

    name: str
    spectrum: Spectrum
    curves: tuple[LearningCurve, ...]
    benefits: tuple[Benefit, ...]
    scores: Scores

    @property
    def status(self) -> Visibility:
        """Whether there is anything to learn that can be told from noise."""
        return self.spectrum.visibility

    def curve(self, depth: int) -> LearningCurve:
        """The curve of a probe of ``depth`` layers.

        Raises
        ------
        InputError
            No such curve was forecast.
        """
        for curve in self.curves:
            if curve.depth == depth:
                return curve
        raise InputError(f"no curve of depth {depth!r}; there are {', '.join(str(c.depth) for c in self.curves)}")

    def to_dict(self) -> dict[str, Any]:
        """All numbers and the findings in words, as JSON."""
        return {
            "format_version": FORMAT_VERSION,
            "headwise_version": __version__,
            "name": self.name,
            "status": self.status.value,
            "spectrum": self.spectrum.to_dict(),
            "curves": [curve.to_dict() for curve in self.curves],
            "benefits": [benefit.to_dict() for benefit in self.benefits],
            "scores": self.scores.to_dict(),
            "lines": self.lines(),
        }

    def lines(self) -> list[str]:
        """The findings, a sentence each."""
        found = self.spectrum
        of = found.whitening.num_features
        kept = f"all {of} features" if found.num_directions == of else f"{found.num_directions} directions of {of}"
        said = [
            f"{self.name}: {found.num_samples} samples, {kept}, {found.num_outputs} outputs "
            f"(aspect {found.aspect:.3g}, {found.samples_per_direction:.3g} samples a direction)",
            f"{found.num_visible} of {len(found.values)} {self.status.value}"
            if found.num_visible
            else self.status.value,
            f"of the labels' variance {found.signal / (found.signal + found.noise_share):.1%} is linear in the "
            "features, the rest is noise to a linear probe",
        ]
        for curve in self.curves:
            said.append(_said(curve))
        said += [f"{benefit.name}: {benefit.status}" for benefit in self.benefits]
        scores = self.scores.to_dict().items()
        said.append("scores: " + ", ".join(f"{k} {v:.4g}" for k, v in scores if v is not None))
        return said

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def plot(self) -> Any:
        """Draw the forecast curves, and as dots the measured ones; returns the matplotlib figure."""
        from matplotlib.figure import Figure

        count = len(self.curves)
        figure = Figure(figsize=(6 * count, 3.5), layout="constrained")
        axes = figure.subplots(1, count, squeeze=False)
        for place, curve in zip(axes[0], self.curves, strict=True):
            drawn = curve.curves
            drawn.plot(place)
            if curve.measured_curves is not None:
                curve.measured_curves.plot(place, over=drawn)
        return figure


def read_numbers(file: Path) -> dict[str, Any]:
    """What `Forecast.to_dict` gave and was written into a file.

    Raises
    ------
    InputError
        No such file, or one that a newer version wrote.
    """
    data: dict[str, Any] = read_json(file)
    if data.get("format_version", 0) > FORMAT_VERSION:
        raise InputError(f"{file} was written by a newer headwise ({data.get('headwise_version')}); upgrade this one")
    return data


def _said(curve: LearningCurve) -> str:
    layers = "1 layer" if curve.depth == 1 else f"{curve.depth} layers"
    said = (
        f"probe of {layers}: stop at time {curve.best.time:.3g} (steps x learning rate) with a held-out error of "
        f"{curve.best.error:.3g}; {curve.doubled.error:.3g} with twice the samples"
    )
    found = curve.measured
    if found is None:
        return said
    r2 = "" if found.r2 is None else f", R2 of the curve {found.r2:.3f}"
    return f"{said}; measured {found.best.error:.3g} at time {found.best.time:.3g}{r2}"
