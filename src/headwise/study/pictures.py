"""Maps and photographs for the report: which tokens a head uses, and what the modes of the backbone look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..contracts import Backbone, Preprocessing, Progress
from ..dissect import Dissection, dissect, overlays
from ..heads.compare import HeadResult, Splits
from ..heads.explain import TokenUse, token_use
from ..tokens import ImageSamples, TokenStore, read_photographs

__all__ = [
    "as_seen",
    "dissection_facts",
    "dissection_pictures",
    "placed",
    "shown_head",
    "token_use_pictures",
    "use_facts",
]

MOST_EXAMPLES = 12  # one a class; with more classes the page would be mostly these

A_ROW = 32  # tokens without a grid are drawn as lines of text, this many in each


def token_use_pictures(
    used: HeadResult,
    certified: list[HeadResult],
    store: TokenStore,
    splits: Splits,
    samples: ImageSamples | None,
    names: list[str],
    arrays: dict[str, NDArray[Any]],
) -> dict[str, Any] | None:
    """Token use of the head to use; where that reads prefix tokens only, of the best other head, which is named."""
    mapped = shown_head(used, certified)
    if store.grid is None or mapped is None or mapped.head is None:
        return None
    rows = splits.rows["test"][:500]
    use = token_use(mapped.head, store, rows)
    prefix = store.num_prefix
    arrays["token_use/mean"] = use.mean[prefix:].reshape(store.grid).astype(np.float32)
    examples = []
    where = {} if samples is None else {name: i for i, name in enumerate(samples.ids)}
    for target in range(min(splits.num_classes, MOST_EXAMPLES)):
        position = next((i for i, t in enumerate(splits.targets["test"][:500]) if t == target), None)
        if position is None or samples is None:
            continue
        key = f"token_use/{target}"
        image = samples.image(where[store.ids[int(rows[position])]]).resize((96, 96))
        arrays[f"{key}/image"] = np.asarray(image, dtype=np.uint8)
        arrays[f"{key}/map"] = use.samples[position, prefix:].reshape(store.grid).astype(np.float32)
        examples.append(
            {
                "image_key": f"{key}/image",
                "map_key": f"{key}/map",
                "label": names[target],
                "predicted": names[int(use.predicted[position])],
            }
        )
    return {
        **use_facts(mapped, use, prefix),
        "grid": list(store.grid),
        "map_key": "token_use/mean",
        "examples": examples,
    }


def shown_head(used: HeadResult, certified: list[HeadResult]) -> HeadResult | None:
    """The head whose use of tokens is shown: the one to use, or the best other where that reads prefix tokens only."""
    if _reads_patches(used):
        return used
    return min(filter(_reads_patches, certified), key=lambda r: r.scores["val"].log_loss, default=None)


def use_facts(shown: HeadResult, use: TokenUse, prefix: int) -> dict[str, Any]:
    """Shares of prefix and patch tokens, and whose they are."""
    share = float(use.mean[:prefix].sum())
    count = len(use.samples)
    note = f"Share of each token in the evidence for the predicted class, averaged over {count} test samples."
    return {"prefix_share": share, "patch_share": 1 - share, "head": shown.name, "note": note}


def _reads_patches(result: HeadResult) -> bool:
    return result.head is not None and any(spec.tokens != "prefix" for spec in result.head.specs)


def dissection_pictures(model: Backbone, arrays: dict[str, NDArray[Any]], tell: Progress) -> dict[str, Any]:
    tell("dissect the backbone", 0, 2)
    photographs = read_photographs()
    images = [_square(photographs.image(i)) for i in range(len(photographs))]
    batch = model.preprocess(images)
    found = dissect(model, batch)
    tell("dissect the backbone", 1, 2)
    entries, photos = [], []
    for index, image in enumerate(images):
        arrays[f"photo/{index}"] = np.asarray(image.resize((192, 192)), dtype=np.uint8)
        photos.append({"key": f"photo/{index}", "name": photographs.ids[index]})
    for number, overlay in enumerate(overlays(model, batch)):
        key = f"overlay/{number}"
        arrays[f"{key}/query"], arrays[f"{key}/key"] = overlay.query_map, overlay.key_map
        entries.append(
            {
                "photo_key": f"photo/{overlay.image}",
                "layer": overlay.layer,
                "head": overlay.head,
                "mode": overlay.mode,
                "sigma": overlay.sigma,
                "cosine": overlay.cosine,
                "share": overlay.share,
                "query_key": f"{key}/query",
                "key_key": f"{key}/key",
                "high_norm": list(overlay.high_norm),
            }
        )
    tell("dissect the backbone", 2, 2)
    return {**dissection_facts(found), "overlays": entries, "photos": photos}


def dissection_facts(found: Dissection) -> dict[str, Any]:
    """Numbers of a dissection, with the chance band that the report draws."""
    # the map shows weighted cosines, so its band is theirs: the widest of the permutation bands
    return {**found.to_dict(), "chance": float(found.weighted_chance.nan_to_num(0).max()), "mode_chance": found.chance}


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def as_seen(batch: Tensor, told: Preprocessing) -> list[NDArray[Any]]:
    """The pictures as the backbone saw them, resized and cropped, so that patches lie where they belong."""
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (told.mean, told.std))
    pixels = (batch.cpu().float() * std + mean).clamp(0, 1).mul(255).round().to(torch.uint8)
    return [image.permute(1, 2, 0).numpy() for image in pixels]


def placed(values: NDArray[Any], grid: Sequence[int] | None, fill: int) -> NDArray[Any]:
    """Patch tokens on their grid; without one, in lines like text, the last one filled up."""
    if grid is not None:
        return values.reshape(grid[0], grid[1])
    columns = min(A_ROW, len(values))
    padded = np.full(-(-len(values) // columns) * columns, fill, dtype=values.dtype)
    padded[: len(values)] = values
    return padded.reshape(-1, columns)
