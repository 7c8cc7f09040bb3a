"""Class probabilities of a saved head, from tokens or from images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..backbones import load_backbone
from ..contracts import Progress
from ..tokens import ArrayData, ArrayTokens, TokenStore, open_data

__all__ = ["predict"]


def predict(
    head: Any,
    data: str | Path,
    *,
    backbone: str = "embedded",
    layer: int = -1,
    device: str = "cpu",
    progress: Progress | None = None,
) -> tuple[list[str], NDArray[Any]]:
    """Ids and mean predictions (class probabilities, numbers, rates) of a saved head on tokens or images.

    Images go through ``backbone`` in chunks; nothing is written.
    """
    found = open_data(data)
    if isinstance(found, TokenStore):
        return list(found.ids), head.link(head.outputs(found)).numpy()
    if isinstance(found, ArrayData):
        source = ArrayTokens(found.tokens, found.mask, head.facts.num_prefix, head.facts.grid)
        ids = list(found.ids) if found.ids else [str(i) for i in range(len(found))]
        return ids, head.link(head.outputs(source)).numpy()
    model = load_backbone(backbone, device)
    pieces = []
    for start in range(0, len(found), 64):
        rows = range(start, min(start + 64, len(found)))
        batch = model.preprocess([found.image(i) for i in rows])
        with torch.inference_mode():
            tokens = model.tokens(batch, layers=(layer,))[0].cpu()
            pieces.append(head.link(head(tokens.to(head.intercept.dtype))).numpy())
        if progress:
            progress("predict", rows[-1] + 1, len(found))
    return list(found.ids), np.concatenate(pieces)
