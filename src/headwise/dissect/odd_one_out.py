"""The odd-one-out test: do attention heads group what is alike, or look at what is different?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check_called, check_images, check_whole, each_of
from ..contracts import Backbone, Progress
from ..errors import InputError
from .faithful import check
from .metrics import weighted_cosine
from .modes import all_modes
from .odd_images import OddImage
from .running import doubled, in_float64, logits_of

__all__ = ["SIDES", "VERSIONS", "OddOneOut", "odd_one_out"]

VERSIONS = ("all", "others")
"""Attention to all patches, and without that of the query's patch to itself."""

SIDES = ("same", "different", "background")


@dataclass(frozen=True, repr=False)
class OddOneOut:
    """Where a patch of the odd object and a patch of the others look, in every attention head.

    Attributes
    ----------
    mass : list of Tensor, each (2, heads, 2, 3)
        By layer, the mean attention over images. First axis: `VERSIONS`; third: the query, on the target or on a
        distractor; fourth: to the target, the distractors, the background. What prefix tokens take is missing.
    area : Tensor, shape (2, 2, 3)
        Mean share of the patches that these regions cover, by version and query (without the query's own patch in the
        second).
    weighted_cosine : list of Tensor, each (heads,)
        Of the modes of each layer, norm folded in.
    names : tuple of str
        Path of each layer's attention module.
    num_images : int
    left_out : tuple of str
        Names of the images of which the backbone's input shows no target or no distractor (a crop took it away).
    """

    mass: list[Tensor]
    area: Tensor
    weighted_cosine: list[Tensor]
    names: tuple[str, ...]
    num_images: int
    left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        first, last = (f"{float(side):.2f}" for side in self.preference()[[0, -1], 0])
        said = f"preference for the same {first} in the first layer, {last} in the last"
        return f"OddOneOut({self.num_images} images; {said})"

    def sides(self, version: str = "all", enriched: bool = True) -> list[Tensor]:
        """Attention to the same, to the different, and to the background, by layer, each ``(heads, 3)``.

        Same is the mean of target to target and distractor to distractor, different that of target to distractor and
        distractor to target.

        Parameters
        ----------
        version : {"all", "others"}
            With the attention of the query's patch to itself, or without.
        enriched : bool
            Divide by the share of the patches that the region covers: 1 is what even attention to all tokens gives,
            prefix tokens aside. Else the attention itself, which mostly measures how large regions are. NaN where
            the region covers nothing.
        """
        if version not in VERSIONS:
            raise InputError(f"version must be one of {', '.join(VERSIONS)}, got {version!r}")
        number = VERSIONS.index(version)
        area = self.area[number] if enriched else torch.ones_like(self.area[number])
        found = []
        for layer in self.mass:
            to = layer[number] / area.to(layer)
            same, different = to[:, 0, 0] + to[:, 1, 1], to[:, 0, 1] + to[:, 1, 0]
            found.append(torch.stack((same, different, to[:, :, 2].sum(1)), -1) / 2)
        return found

    def preference(self, version: str = "all", enriched: bool = True) -> Tensor:
        """Same : different : background of each layer, the mean of its heads normalised to a sum of 1, ``(layers, 3)``.

        Parameters are those of `sides`.
        """
        means = torch.stack([sides.mean(0) for sides in self.sides(version, enriched)])
        return means / means.sum(-1, keepdim=True)

    @property
    def layer_cosine(self) -> Tensor:
        """Mean weighted cosine of the attention heads of each layer, ``(layers,)``."""
        return torch.stack([values.mean() for values in self.weighted_cosine])

    def correlation(self, version: str = "all") -> dict[str, float]:
        """How the preference for the same over the different goes with the weighted cosine, over layers.

        Returns
        -------
        dict
            ``pearson`` and ``spearman`` between same minus different of `preference` and `layer_cosine`, and
            ``layers``, how many there are: a dozen points are few. NaN with less than three layers, or where one side
            is constant.
        """
        preferred = self.preference(version)
        margin = (preferred[:, 0] - preferred[:, 1]).cpu().numpy()
        cosine = self.layer_cosine.cpu().numpy()
        ranks = (_ranks(values) for values in (margin, cosine))
        return {"pearson": _pearson(margin, cosine), "spearman": _pearson(*ranks), "layers": len(margin)}

    @property
    def heads(self) -> list[dict[str, Any]]:
        """One row of plain numbers for each attention head, for a table: ``pandas.DataFrame(found.heads)``.

        ``same``, ``different`` and ``background`` are attention, ``*_enriched`` the same over the area, ``*_others``
        each without the query's own patch; and ``weighted_cosine``.
        """
        tables = self._tables()
        return [
            {
                "layer": layer,
                "head": head,
                "name": name,
                "weighted_cosine": float(self.weighted_cosine[layer][head]),
                **{key: float(values[layer][head, i]) for key, (values, i) in tables.items()},
            }
            for layer, name in enumerate(self.names)
            for head in range(len(self.weighted_cosine[layer]))
        ]

    @property
    def layers(self) -> list[dict[str, Any]]:
        """One row for each layer: means over its attention heads, and ``*_preference``, ``*_preference_others``."""
        tables, rows = self._tables(), []
        preferred = {"": self.preference(), "_others": self.preference("others")}
        for layer, name in enumerate(self.names):
            row: dict[str, Any] = {"layer": layer, "name": name, "weighted_cosine": float(self.layer_cosine[layer])}
            row |= {key: float(values[layer][:, i].mean()) for key, (values, i) in tables.items()}
            for ending, table in preferred.items():
                row |= {f"{side}_preference{ending}": float(table[layer, i]) for i, side in enumerate(SIDES)}
            rows.append(row)
        return rows

    def _tables(self) -> dict[str, tuple[list[Tensor], int]]:
        """By the name of a column, the tables by layer and the place in them."""
        found: dict[str, tuple[list[Tensor], int]] = {}
        for version, ending in zip(VERSIONS, ("", "_others"), strict=True):
            for enriched, middle in ((False, ""), (True, "_enriched")):
                tables = self.sides(version, enriched)
                found |= {f"{side}{middle}{ending}": (tables, i) for i, side in enumerate(SIDES)}
        return found

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON: rows of `layers` and `heads`, `correlation` of both versions, images; None for NaN."""
        return {
            "num_images": self.num_images,
            "left_out": list(self.left_out),
            "area": self.area.tolist(),
            "correlation": {version: _plain(self.correlation(version)) for version in VERSIONS},
            "layers": [_plain(row) for row in self.layers],
            "heads": [_plain(row) for row in self.heads],
        }


def odd_one_out(
    model: Backbone, images: Iterable[OddImage], *, batch_size: int = 8, progress: Progress | None = None
) -> OddOneOut:
    """Ask every attention head where a patch of an odd object looks, and where one of the other objects.

    Parameters
    ----------
    model : Backbone
        Of images, from `headwise.load_backbone`.
    images : iterable of OddImage
        From `headwise.dissect.odd_images` or `headwise.dissect.read_odd_images`.
    batch_size : int
        Images in memory at a time.
    progress : callable, optional
        Called as ``progress(step, done, total)``.

    Returns
    -------
    OddOneOut

    Raises
    ------
    InputError
        A model that takes no images, or with a layer whose tokens are not the prefix and the patches (windows); no
        image, or none that shows a target and a distractor.
    HeadwiseError
        A layer whose logits, on the first batch, are not those of its record; see `headwise.dissect.check`.

    Notes
    -----
    As in Pan et al. (arXiv 2405.14880): masks are resized and cropped as their image is, and averaged over each patch;
    the background is what they leave. The query of each kind is the patch with the largest share of its mask. What
    its row of attention, in float64 and as the model computes it, gives to each region is summed; means over images
    are divided by means of the areas.

    Examples
    --------
    >>> import headwise
    >>> from headwise.dissect import odd_images, odd_one_out
    >>> found = odd_one_out(headwise.load_backbone("embedded"), odd_images(4, size=96, rows=3))
    >>> found.preference().shape, found.correlation()["layers"]
    (torch.Size([6, 3]), 6)
    """
    check_whole("batch_size", batch_size, least=1)
    check_images(model, "the odd-one-out test")
    check_called("progress", progress, "progress(step, done, total)")
    given = each_of("images", images, OddImage, "OddImage, as odd_images and read_odd_images give them")
    records, prefix = model.query_keys(), model.num_prefix_tokens
    patches = model.grid[0] * model.grid[1]
    found = all_modes(records, context=prefix + patches)
    totals: list[Tensor | float] = [0.0] * len(records)
    runs = [0] * len(records)
    area, num_images, left_out = torch.zeros(2, 2, 3, dtype=torch.float64), 0, []
    numbers = {record.name: i for i, record in enumerate(records)}
    of = len(images) if isinstance(images, Sized) else 0
    for batch, shares in _batches(model, given, batch_size):
        shown = (shares[:, :2].amax(-1) > 0).all(-1)
        left_out += [each.name for each, there in zip(batch, shown.tolist(), strict=True) if not there]
        kept = [each for each, there in zip(batch, shown.tolist(), strict=True) if there]
        if not kept:
            continue
        shares = shares[shown]
        places = shares[:, :2].argmax(-1)  # of the two queries of each image, (n, 2)

        def tell(path: str, logits: Tensor, shares: Tensor = shares, places: Tensor = places) -> None:
            number, count = numbers[path], prefix + patches
            if logits.shape[-2:] != (count, count):
                raise InputError(
                    f"{path} sees {logits.shape[-1]} tokens at a time and not the {count} of {model.name}: in windows, "
                    "or after a merge, a patch cannot look at all others"
                )
            logits = logits.reshape(len(shares), len(records[number].query), count, count)
            weights = (logits - logits.logsumexp(-1, keepdim=True)).exp()
            totals[number] = totals[number] + _masses(weights[..., prefix:], prefix, shares, places)
            runs[number] += len(shares)

        inputs = model.preprocess([each.image for each in kept])
        if not num_images:
            check(model, records, inputs)
        with in_float64(model.model), logits_of(model.model, numbers, tell):
            model.tokens(doubled(inputs))
        area += _areas(shares, places).sum(0)
        num_images += len(kept)
        if progress is not None:
            progress("odd-one-out test", num_images + len(left_out), of or num_images + len(left_out))
    if not num_images:
        none = f"none of the {len(left_out)} images shows" if left_out else "there are no images that show"
        raise InputError(f"{none} a target and a distractor; give images from odd_images or read_odd_images")
    return OddOneOut(
        [torch.as_tensor(total) / count for total, count in zip(totals, runs, strict=True)],
        area / num_images,
        [weighted_cosine(each) for each in found],
        tuple(record.name for record in records),
        num_images,
        tuple(left_out),
    )


def _batches(model: Backbone, images: Iterable[OddImage], size: int) -> Iterator[tuple[Sequence[OddImage], Tensor]]:
    """Some images, and the shares of target, distractors and background in each of their patches, ``(n, 3, patches)``.

    Masks go the way of the images, beside a black and a white one: between these, whatever their colours become, lies
    the share of a mask. Where both are the same there is no image, but a border around it.
    """
    rows, columns = model.grid
    given = iter(images)
    while batch := list(islice(given, size)):
        pictures = [
            (255 * mask).astype(np.uint8)
            for each in batch
            for mask in (np.zeros_like(each.target), np.ones_like(each.target), each.target, each.distractors)
        ]
        pixels = model.preprocess(pictures).double().mean(1).unflatten(0, (len(batch), 4))
        black, span = pixels[:, :1], (pixels[:, 1:2] - pixels[:, :1])
        there = span.abs() > 1e-6
        inside = torch.where(there, (pixels[:, 2:] - black) / span.where(there, torch.ones_like(span)), 0.0).clamp(0, 1)
        # patches side by side from the first pixel on; what is left at the end belongs to none
        height, width = inside.shape[-2] // rows, inside.shape[-1] // columns
        cut = inside[..., : rows * height, : columns * width]
        shares = cut.unflatten(-1, (columns, width)).unflatten(-3, (rows, height)).mean((-3, -1)).flatten(-2)
        yield batch, torch.cat((shares, (1 - shares.sum(1, keepdim=True)).clamp(min=0)), 1)


def _masses(weights: Tensor, prefix: int, shares: Tensor, places: Tensor) -> Tensor:
    """Attention ``(n, heads, s, patches)`` of the queries to the regions, summed: (2, heads, 2, 3)."""
    places, shares = places.to(weights.device), shares.to(weights)
    rows = weights[torch.arange(len(places), device=places.device)[:, None], :, prefix + places]  # (n, 2, heads, p)
    others = rows.scatter(-1, places[:, :, None, None].expand(*rows.shape[:3], 1), 0.0)
    return torch.stack([torch.einsum("nqhp,nrp->hqr", each, shares) for each in (rows, others)]).cpu()


def _areas(shares: Tensor, places: Tensor) -> Tensor:
    """Share of the patches in each region, by version and query, (n, 2, 2, 3)."""
    whole = shares.sum(-1)[:, None].expand(-1, 2, -1)
    own = shares.gather(-1, places[:, None].expand(-1, 3, -1)).mT  # of the query's patch, (n, query, region)
    patches = shares.shape[-1]
    return torch.stack((whole / patches, (whole - own) / (patches - 1)), 1)


def _pearson(first: Any, second: Any) -> float:
    """Correlation of two rows of numbers; NaN where it is not defined."""
    if len(first) < 3 or not (np.ptp(first) > 0 and np.ptp(second) > 0):
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: Any) -> Any:
    """Ranks from 1, the mean rank for equal numbers."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[places]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in row.items()}
