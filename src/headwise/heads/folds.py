"""Which samples are fitted on and which are held out, fold by fold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import check_cv

from ..contracts import TokenSource
from ..errors import InputError
from ..tokens import make_splits
from .inputs import training_rows
from .targets import Targets

__all__ = ["check_folds", "make_folds"]

Folds = list[tuple[NDArray[Any], NDArray[Any]]]


def make_folds(
    source: TokenSource,
    targets_of: Callable[[NDArray[Any]], Targets],
    groups: ArrayLike | None,
    *,
    cv: Any,
    validation: float,
    seed: int,
) -> Folds:
    """Training and held-out rows of each fold: a store's own split, one split by share, or those of ``cv``.

    Parameters
    ----------
    source : TokenSource
    targets_of : callable
        Gives the targets of some rows; not asked where a store has a validation part.
    groups : array-like, optional
        One for each sample, those of a store by default; no group is cut.
    cv, validation, seed
        As in `HeadClassifierCV`.

    Raises
    ------
    InputError
        Groups of another length, ``cv`` that cannot split these samples, or nothing to hold out.
    """
    split = getattr(source, "split", None)
    if groups is None:
        groups = getattr(source, "groups", None)
    if cv is None and split is not None and (np.asarray(split) == "val").any():
        return [(np.flatnonzero(np.asarray(split) == "train"), np.flatnonzero(np.asarray(split) == "val"))]
    rows = training_rows(source)
    targets = targets_of(rows)
    own = None if groups is None else _groups(groups, source)[rows]
    by_class = targets.classes is not None and targets.labelled is None
    strata = targets.values.flatten().long().numpy() if by_class else np.zeros(len(rows), dtype=np.int64)
    if cv is None or isinstance(cv, (int, np.integer)):
        _check_divisible(strata, own, targets.classes if by_class else None)
    if cv is None:
        share = (1 - validation, validation, 0.0)
        if by_class:
            names = make_splits(strata, own, fractions=share, seed=seed)
        else:
            names = make_splits(np.arange(len(rows), dtype=float), own, fractions=share, seed=seed)
        return [(rows[names == "train"], rows[names == "val"])]
    try:
        if isinstance(cv, Iterable) and not hasattr(cv, "split"):
            return [(rows[np.asarray(a)], rows[np.asarray(b)]) for a, b in cv]
        splitter = _splitter(cv, by_class, own is not None, seed)
        return [(rows[a], rows[b]) for a, b in splitter.split(np.zeros(len(rows)), strata, own)]
    except (IndexError, TypeError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise InputError(
            f"cv={cv!r} cannot split these samples: {reason}. A number of folds (at least 2), a scikit-learn "
            "splitter or pairs of row arrays are needed"
        ) from None


def _groups(groups: Any, source: TokenSource) -> NDArray[Any]:
    """One group for each sample."""
    found = np.asarray(groups)
    if found.shape != (source.num_samples,):
        raise InputError(f"groups have shape {found.shape}; ({source.num_samples},) is needed, one for each sample")
    return found


def _check_divisible(strata: NDArray[Any], groups: NDArray[Any] | None, classes: NDArray[Any] | None) -> None:
    """Refuse samples, or a class of them, of which none can be held out while others are fitted on."""
    if groups is None:
        counts = np.bincount(strata)
    else:
        names, codes = np.unique(groups, return_inverse=True)
        counts = np.bincount(np.unique(strata * len(names) + codes) // len(names))
    if counts.min() > 1:
        return
    which = "" if classes is None else f" of class {classes.tolist()[int(counts.argmin())]!r}"
    unit = "sample" if groups is None else "group"
    raise InputError(
        f"there is one {unit}{which} only; choosing beta needs two, one to fit on and one to hold out. Add some"
        f"{', remove the class' if which else ''}{'' if groups is None else ', leave the groups out'}, or fit at one "
        "beta (HeadClassifier, HeadRegressor)"
    )


def check_folds(folds: Sequence[tuple[NDArray[Any], NDArray[Any]]], every: NDArray[Any], targets: Targets) -> None:
    """Refuse folds with an empty side, or without a training sample of some class."""
    for number, (train, held_out) in enumerate(folds, 1):
        if not len(train) or not len(held_out):
            raise InputError(
                f"fold {number} of {len(folds)} has {len(train)} training and {len(held_out)} held-out samples; "
                "both need some"
            )
        sides = [targets[np.searchsorted(every, side)].known for side in (train, held_out)]
        if not all(map(len, sides)):
            raise InputError(
                f"fold {number} of {len(folds)} has {len(sides[0])} training and {len(sides[1])} held-out tokens with "
                "a label; both need some"
            )
        if targets.classes is None:
            continue
        present = sides[0].flatten().long().numpy()
        missing = np.setdiff1d(np.arange(len(targets.classes)), present)
        if len(missing):
            raise InputError(
                f"class {targets.classes.tolist()[missing[0]]!r} has no training sample in fold {number} of "
                f"{len(folds)}; add some, remove the class, or give other folds"
            )


def _splitter(cv: Any, by_class: bool, grouped: bool, seed: int) -> Any:
    """K shuffled folds, stratified by class and cut between groups where there are such; or the splitter given."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    if not isinstance(cv, (int, np.integer)):
        return check_cv(cv)
    kinds = {
        (False, False): KFold,
        (True, False): StratifiedKFold,
        (False, True): GroupKFold,
        (True, True): StratifiedGroupKFold,
    }
    return kinds[by_class, grouped](int(cv), shuffle=True, random_state=seed)
