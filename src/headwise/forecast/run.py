"""A whole forecast from a token store: spectrum, curves beside the trained probe, auxiliary labels, scores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..checks import check_flag, check_number, check_whole
from ..errors import InputError
from ..tokens.table import as_labels
from .benefit import Benefit, transfer_benefit
from .curve import learning_curve
from .data import LabelledFeatures, read, refuse_other_origin
from .measurement import measure
from .result import Forecast
from .scores import compare_scores
from .spectrum import Spectrum, estimate_spectrum
from .whitening import input_shift

__all__ = ["forecast"]


def forecast(
    tokens: Any,
    labels: Any = None,
    *,
    auxiliary: Sequence[Any] | Mapping[str, Any] = (),
    depths: Sequence[int] = (1, 2),
    start: float = 1e-3,
    n_components: int | None = None,
    source_classes: Any = None,
    train: bool = True,
    seed: int = 0,
) -> Forecast:
    """Forecast how a linear probe on frozen tokens will learn: how well, until when, and what would help.

    Features are the prefix tokens joined with the mean patch token. The modes and the noise of the labels are estimated
    on the training samples; from them follow the probe's learning curve under gradient descent, the best time to stop,
    and what twice the samples would bring. The validation samples are used for one thing only: to measure the curve of
    the probe itself, trained, beside the forecast. Samples of a split "test" are never read.

    Parameters
    ----------
    tokens : path, TokenStore, TokenSource or array
        A token store or its folder, or tokens ``(n, s, d)`` or ``(n, d)``. Without a split, a fifth is held out.
    labels : array-like, shape (n,) or (n, k)
        Classes (text or whole numbers) or targets (real numbers, or k columns); by default those of the store.
    auxiliary : sequence or mapping of names
        Further label sets. Each is a store or its folder, with labels of its own, of the same backbone and layer;
        ``(tokens, labels)``; or labels ``(n,)`` or ``(n, k)`` for the same samples, as an array or a list.
    depths : sequence of int
        Layers of the probes, one curve each.
    start : float
        Strength of the probe's modes at time zero, where labels have the total variance one.
    n_components : int, optional
        Principal directions of the features that are kept; by default all, but at most half as many as samples. That is
        how fewer samples than features are taken.
    source_classes : array-like, shape (n,), optional
        The class that the backbone's own classifier gives each sample, for NCE.
    train : bool
        Train the probes as well, to show the measurement beside the forecast.
    seed : int
        Decides which samples are held out where the data do not say.

    Returns
    -------
    Forecast
        ``status`` says whether anything learnable is visible at this sample size; that nothing is, is an answer.

    Raises
    ------
    InputError
        Tokens without labels, labels of one class, values that are not finite, auxiliary tokens of another backbone,
        fewer than four training samples.

    Notes
    -----
    The forecast is about linear probes under the squared error. It says nothing about fine-tuning the backbone, about
    probes that are not linear, or about accuracy as such (errors are shares of the labels' variance). It takes unseen
    samples to come from where the training samples come from, and noise that has little to do with the features; of
    labels that are far from linear in them, a part that more features would explain counts as noise. Modes close to the
    noise are forecast with errors, since the formulas are limits of large matrices.

    References
    ----------
    Lampinen and Ganguli, "An analytic theory of generalization dynamics and transfer learning in deep linear networks",
    ICLR 2019, arXiv 1809.10374. What is new for other numbers of samples than features is derived in
    `headwise.forecast.spectrum`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> tokens = rng.normal(size=(500, 20))
    >>> labels = tokens[:, 0] + rng.normal(size=500)
    >>> found = forecast(tokens, labels, auxiliary={"the same without noise": tokens[:, 0]})
    >>> found.status.value, round(found.curve(1).best.error, 1)
    ('modes of the labels are above the noise', 0.5)
    >>> found.benefits[0].name
    'the same without noise'
    """
    layers = _depths(depths)
    check_number("start", start)
    check_flag("train", train)
    main = read(tokens, labels, seed)
    if len(main.labels) < 4:
        raise InputError(f"there are {len(main.labels)} training samples; a forecast needs at least 4")
    spectrum = estimate_spectrum(main.features, main.labels, n_components)
    curves = [learning_curve(spectrum, depth, start) for depth in layers]
    if train:
        held_out = main.held_out_features, main.held_out_labels
        curves = [replace(curve, measured=measure(spectrum, curve, *held_out)) for curve in curves]
    benefits = []
    for name, item in _named(auxiliary):
        other = _read_auxiliary(item, tokens, main, seed)
        refuse_other_origin(main, other)
        benefits.append(_benefit(main, spectrum, other, name))
    classes = None if source_classes is None else as_labels(source_classes, main.num_samples)[0][main.rows]
    scores = compare_scores(spectrum, main.features, main.labels, classes)
    return Forecast(main.name, spectrum, tuple(curves), tuple(benefits), scores)


def _depths(depths: Any) -> list[int]:
    if isinstance(depths, (str, bytes)) or not isinstance(depths, Sequence) or not len(depths):
        raise InputError(f"depths must be a row of whole numbers of at least 1, got {depths!r}")
    for depth in depths:
        check_whole("each of depths", depth, 1)
    if len(set(depths)) < len(depths):
        raise InputError(f"depths must differ, got {depths!r}")
    return list(depths)


def _named(auxiliary: Any) -> list[tuple[str | None, Any]]:
    if isinstance(auxiliary, Mapping):
        return [(str(name), item) for name, item in auxiliary.items()]
    if isinstance(auxiliary, (str, os.PathLike)) or not isinstance(auxiliary, Sequence):
        raise InputError("auxiliary must be a list of stores or label sets, or a mapping of names to them")
    return [(None, item) for item in auxiliary]


def _read_auxiliary(item: Any, tokens: Any, main: LabelledFeatures, seed: int) -> LabelledFeatures:
    if isinstance(item, (str, os.PathLike)) or hasattr(item, "chunks"):
        return read(item, None, seed, main)
    if isinstance(item, tuple) and len(item) == 2:
        return read(item[0], item[1], seed, main)
    return replace(read(tokens, item, seed, main), name="labels of the same samples")


def _benefit(main: LabelledFeatures, spectrum: Spectrum, other: LabelledFeatures, name: str | None) -> Benefit:
    """On the same samples as they are; on others in directions that both have the samples for."""
    called = name or other.name
    if other.features is main.features:
        second = estimate_spectrum(other.features, other.labels, whitening=spectrum.whitening)
        return transfer_benefit(spectrum, second, same_samples=True, name=called)
    room = min((len(other.labels) - 1) // 2, (len(main.labels) - 1) // 2)
    if room < 1:
        raise InputError(f"{called} has {len(other.labels)} training samples; a forecast of transfer needs at least 3")
    if room < spectrum.num_directions:
        spectrum = estimate_spectrum(main.features, main.labels, room)
    whitening = spectrum.whitening.adapted(other.features)
    shift = input_shift(main.features, other.features, spectrum.num_directions)
    second = estimate_spectrum(other.features, other.labels, whitening=whitening)
    return transfer_benefit(spectrum, second, name=called, shift=shift)
