"""From labels as users have them to the targets of a loss."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from ..contracts import Loss, TargetKind
from ..errors import InputError
from ..losses import LOSSES

__all__ = ["LARGEST", "Targets", "bind", "check_size", "encode", "token_weights"]


LARGEST = 1e15
"""Its square, and the sum of many, is a number of single precision."""


@dataclass(frozen=True)
class Targets:
    """Targets of a loss, the number of outputs, and the labels that these stand for (None for numbers).

    The first axis of ``values`` is that of samples, the second that of tokens where each has a label of its own.
    """

    values: Tensor
    num_outputs: int
    classes: NDArray[Any] | None = None
    flat: bool = True
    """Whether predictions of one output are a vector ``(n,)``, as the labels were."""

    labelled: NDArray[np.bool_] | None = None
    """Which tokens have a label ``(n, s)``; None where samples have one each."""

    names: list[str] | None = None
    """Names of ``classes`` for people, where the labels are codes of a store."""

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Targets:
        labelled = None if self.labelled is None else self.labelled[rows]
        return replace(self, values=self.values[rows], labelled=labelled)

    @property
    def known(self) -> Tensor:
        """Targets of the samples, or of the tokens that have a label, one after the other."""
        return self.values if self.labelled is None else self.values[torch.from_numpy(self.labelled)]


def encode(kind: TargetKind, y: NDArray[Any], classes: NDArray[Any] | None = None) -> Targets:
    """Check labels and turn them into targets.

    Parameters
    ----------
    kind : {"classes", "labels", "numbers", "counts", "survival"}
    y : ndarray
        Classes of any type ``(n,)``; for "labels" two classes ``(n,)`` or zeros and ones ``(n, c)``; numbers or counts
        ``(n,)`` or ``(n, c)``; survival as a structured array with one boolean and one number field (as scikit-survival
        has it) or ``(n, 2)`` of time and event.
    classes : ndarray, optional
        The classes of an earlier fit, in its order.

    Raises
    ------
    InputError
        Labels that are not of this kind.
    """
    if kind == "survival":
        return Targets(torch.from_numpy(_survival(y)), 1)
    if y.dtype.kind not in "biufcOUS":
        raise InputError(f"the labels are of type {y.dtype}, such as {y.flat[0]!r}; text or numbers are needed")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise InputError("the labels hold NaN or infinity; leave these samples out")
    if kind == "classes" or (kind == "labels" and y.ndim == 1):
        return _classes(y, classes, kind)
    try:
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"this loss needs numbers as targets, got {y.dtype} such as {y.flat[0]!r}") from None
    if values.ndim not in (1, 2) or 0 in values.shape:
        raise InputError(f"targets have shape {values.shape}; (n,) or (n, outputs) is needed")
    check_size("target", float(np.abs(values).max()), least=1 / LARGEST)
    flat = values.ndim == 1
    values = values.reshape(len(values), -1)
    return Targets(torch.from_numpy(np.ascontiguousarray(values)), values.shape[1], flat=flat)


def check_size(what: str, largest: float, most: float = LARGEST, least: float = 0.0) -> None:
    """Refuse numbers whose squares single precision, in which passes are made, cannot hold.

    Parameters
    ----------
    what : str
        What they are, one of them.
    largest : float
        The largest absolute value; zero is taken.
    most, least : float
        What it may be.
    """
    if largest > most or 0 < largest < least:
        need = f"lies between {least:.0e} and {most:.0e}" if least else f"is at most {most:.0e}"
        raise InputError(
            f"the largest {what} is {largest:.0e}; divide the {what}s by a common factor, so that it {need}"
        )


def _classes(y: NDArray[Any], classes: NDArray[Any] | None, kind: TargetKind) -> Targets:
    if y.ndim != 1:
        raise InputError(
            f"class labels have shape {y.shape}; (n,) is needed (for several labels a sample: loss='binary')"
        )
    if y.dtype == object and len(kinds := {type(label).__name__ for label in y.tolist()}) > 1:
        raise InputError(
            f"the labels are no classes: they mix {' and '.join(sorted(kinds))}; give all as text, or all as numbers"
        )
    try:
        check_classification_targets(y)
        found, codes = np.unique(y, return_inverse=True)
    except (TypeError, ValueError) as error:
        raise InputError(f"the labels are no classes: {error}") from None
    if classes is None:
        classes = found
    else:
        known = {label: i for i, label in enumerate(classes.tolist())}
        unknown = [label for label in found.tolist() if label not in known]
        if unknown:
            raise InputError(f"the labels hold classes {unknown[:3]} that the head does not know ({list(known)[:10]})")
        codes = np.asarray([known[label] for label in found.tolist()], dtype=np.int64)[codes]
    if len(classes) < 2:
        raise InputError(f"the labels hold one class only ({classes.tolist()[0]!r}); classification needs at least two")
    if kind == "classes":
        return Targets(torch.from_numpy(codes.astype(np.int64)), len(classes), classes)
    if len(classes) != 2:
        raise InputError(f"binary cross-entropy of one label needs two classes, got {len(classes)}: take 'multinomial'")
    return Targets(torch.from_numpy(codes.astype(np.float64))[:, None], 1, classes)


def _survival(y: NDArray[Any]) -> NDArray[np.float64]:
    if y.dtype.names:
        events = [name for name in y.dtype.names if y.dtype[name].kind == "b"]
        times = [name for name in y.dtype.names if y.dtype[name].kind in "fiu"]
        if len(events) != 1 or len(times) != 1:
            raise InputError(
                f"a survival array has one boolean field (event) and one number field (time), got {y.dtype}"
            )
        y = np.stack([y[times[0]].astype(np.float64), y[events[0]].astype(np.float64)], axis=1)
    if y.ndim != 2 or y.shape[1] != 2:
        raise InputError(
            f"survival targets have shape {y.shape}; a structured array or (n, 2) of time, event is needed"
        )
    values = np.ascontiguousarray(y, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError("the survival times hold NaN or infinity; leave these samples out")
    if not np.isin(values[:, 1], (0, 1)).all():
        raise InputError("events (the second column) must be 0 or 1")
    return values


def bind(
    loss: str,
    targets: Targets,
    weights: NDArray[Any] | None = None,
    options: Mapping[str, Any] | None = None,
    views: int = 1,
    device: str | torch.device = "cpu",
) -> Loss:
    """A registered loss on its targets, weights and options, on a device.

    With several views the loss of a sample is the mean over its views, ``sum_i w_i mean_k l(f_ik, y_i)``: each view is
    a row with the targets of its sample and an equal share of its weight, in the order of `headwise.tokens.view_rows`.
    Where tokens have labels each is a row, with its own weight or that of its sample.

    Raises
    ------
    InputError
        Options that the loss does not have, or views for a loss that is no sum over samples or for labels of tokens.
    """
    kind = LOSSES.get(loss)
    values = targets.values
    if targets.labelled is not None:
        if views > 1:
            raise InputError(
                f"crops and flips move tokens, so that labels of tokens are not those of all {views} views; fit on one "
                "view: extract with --views 1, or give ArrayTokens(store.read().values)"
            )
        values, weights = values.flatten(0, 1), token_weights(weights, targets.labelled)
        weights = None if weights is None else weights.reshape(-1)
    if views > 1:
        if kind.kind == "survival":
            raise InputError(
                f"the loss {loss!r} counts all samples together, so that the {views} views of a sample would be "
                "several samples; fit on one view: extract with --views 1, or give ArrayTokens(store.read().values)"
            )
        values = values.repeat_interleave(views, 0)
        weights = None if weights is None else np.repeat(weights, views)  # losses divide by the sum of all
    tensor = None if weights is None else torch.as_tensor(weights, dtype=torch.float64, device=device)
    try:
        return kind(values.to(device), targets.num_outputs, tensor, **(options or {}))  # type: ignore[call-arg]
    except TypeError:
        known = list(inspect.signature(kind).parameters)[3:]  # after targets, outputs and weights
        takes = f"the options {', '.join(known)}" if known else "no options"
        raise InputError(f"the loss {loss!r} takes {takes}, got loss_options={dict(options or {})!r}") from None


def token_weights(weights: NDArray[Any] | None, labelled: NDArray[np.bool_]) -> NDArray[Any] | None:
    """Weights of all tokens ``(n, s)`` from those of samples or tokens, zero without a label; None for equal ones."""
    if weights is None:
        return None if labelled.all() else labelled.astype(np.float64)
    found = labelled * (weights if weights.ndim == 2 else weights[:, None])
    if not (found > 0).any():
        raise InputError("no token with a label has a positive weight")
    return found
