"""``headwise predict``: a saved head on tokens, images or texts."""

from __future__ import annotations

import csv
import sys
from typing import Annotated, Any, Literal

import typer

from ...errors import InputError
from ..console import print_json, progress_bars, say
from ..options import (
    DataArgument,
    HeadArgument,
    HeadBackboneOption,
    HeadLayerOption,
    JsonOption,
    LabelColumnOption,
    StrictOption,
    TextColumnOption,
    text_columns,
)


def command(
    head: HeadArgument,
    path: DataArgument,
    backbone: HeadBackboneOption = None,
    layer: HeadLayerOption = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    views: Annotated[
        Literal["first", "average"],
        typer.Option("--views", help="Of a store with several views of a sample: the first, or the mean of the logits"),
    ] = "first",
    device: Annotated[
        str, typer.Option("--device", help="Where the backbone runs and the head computes: auto, cpu, cuda, mps")
    ] = "auto",
    strict: StrictOption = False,
    json: JsonOption = False,
) -> None:
    """Print id, predicted class and its probability for every sample, as CSV or JSON; labels are not needed."""
    from ...devices import choose_device
    from ...heads.save import load_head
    from ...study import predict

    fitted = load_head(head)
    if fitted.per_token:
        raise InputError(
            f"{head} gives every token outputs of its own, which are no rows of a table; from Python, headwise.predict "
            "gives them as an array"
        )
    with progress_bars() as progress:
        ids, found = predict(
            fitted,
            path,
            backbone=backbone,
            layer=layer,
            columns=text_columns(text_column, label_column),
            views=views,
            device=choose_device(device),
            strict=strict,
            progress=progress,
            announce=say,
        )
    rows: list[dict[str, Any]]
    if fitted.classes is None or found.shape[1] < 2:
        rows = [
            {"id": i, **{f"output_{k}": float(f"{x:.7g}") for k, x in enumerate(p)}}
            for i, p in zip(ids, found, strict=True)
        ]
    else:
        names = fitted.class_names or [str(c) for c in fitted.classes]
        rows = [
            {"id": i, "predicted": names[k], "probability": round(float(p[k]), 6)}
            for i, k, p in zip(ids, found.argmax(1), found, strict=True)
        ]
    if json:
        print_json(rows)
        return
    writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else ["id"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
