"""``headwise extract``: images through a backbone into a token store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..console import out, print_json, progress_bars, say
from ..options import BackboneOption, BatchOption, DeviceOption, JsonOption, OverwriteOption, StrictOption


def command(
    data: Annotated[str, typer.Argument(metavar="DATA", help="digits, an image folder, arrays of images or a table")],
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store")],
    backbone: BackboneOption = "embedded",
    layer: Annotated[int, typer.Option("--layer", help="Layer of the backbone, negative from the end")] = -1,
    at: Annotated[Literal["output", "block_input"], typer.Option("--at", help="Where in the layer")] = "output",
    dtype: Annotated[
        Literal["float16", "bfloat16", "float32", "float64"], typer.Option("--dtype", help="Number format on disk")
    ] = "float16",
    views: Annotated[int, typer.Option("--views", help="Copies of each image: itself and random crops")] = 1,
    device: DeviceOption = "auto",
    batch_size: BatchOption = 64,
    seed: Annotated[int, typer.Option("--seed", help="Decides splits, crops and flips")] = 0,
    strict: StrictOption = False,
    json: JsonOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write the tokens of images to disk; a stopped run goes on where it was."""
    from ...backbones import load_backbone
    from ...devices import choose_device
    from ...errors import InputError
    from ...tokens import ImageSamples, extract, make_splits, open_data

    samples = open_data(data)
    if not isinstance(samples, ImageSamples):
        raise InputError(f"{data} holds tokens already; extract needs images")
    samples = samples.with_split(
        make_splits(samples.labels, samples.groups, seed=seed, split=samples.split, class_names=samples.class_names)
    )
    model = load_backbone(backbone, choose_device(device))
    with progress_bars() as progress:
        made = extract(
            model,
            samples,
            store,
            layer=layer,
            at=at,
            dtype=dtype,
            views=views,
            device=choose_device(device),
            batch_size=batch_size,
            seed=seed,
            strict=strict,
            overwrite=overwrite,
            progress=progress,
            announce=say,
        )
    if json:
        print_json(
            {"store": str(store), "shape": list(made.manifest.shape), "skipped": [list(s) for s in made.skipped]}
        )
    else:
        out.print(
            f"{made.num_samples} samples x {made.num_tokens} tokens x {made.width} features in {store}", markup=False
        )
