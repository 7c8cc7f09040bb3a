"""``headwise extract``: images or texts through a backbone, or arrays of tokens, into a token store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ..console import out, print_json, progress_bars, say
from ..options import (
    BackboneOption,
    BatchOption,
    DeviceOption,
    JsonOption,
    LabelColumnOption,
    MaxTokensOption,
    OverwriteOption,
    StrictOption,
    TextColumnOption,
    one_of,
    text_columns,
)

FORMATS = ("float16", "bfloat16", "float32", "float64")


def _dtype(value: str | None) -> str | None:
    return value if value is None else one_of("dtype", *FORMATS)(value)


def command(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="digits, an image folder, a table of images or texts, or arrays")
    ],
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store")],
    backbone: BackboneOption = "embedded",
    layer: Annotated[int, typer.Option("--layer", help="Layer of the backbone, negative from the end")] = -1,
    at: Annotated[
        str,
        typer.Option(
            "--at",
            help="Where in the layer: output or block_input",
            callback=one_of("place in a layer", "output", "block_input"),
        ),
    ] = "output",
    dtype: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Option(
            "--dtype",
            help=f"Number format on disk: {', '.join(FORMATS)}; by default float16 for images and texts, that of the "
            "arrays for arrays",
            callback=_dtype,
        ),
    ] = None,
    views: Annotated[
        int, typer.Option("--views", help="Views of each image: itself, and random crops and flips of it")
    ] = 1,
    view_seed: Annotated[int, typer.Option("--view-seed", help="Decides crops and flips", min=0)] = 0,
    crop_scale: Annotated[
        tuple[float, float], typer.Option("--crop-scale", metavar="MIN MAX", help="Area of the crops, as a share")
    ] = (0.4, 1.0),
    crop_ratio: Annotated[
        tuple[float, float], typer.Option("--crop-ratio", metavar="MIN MAX", help="Width over height of the crops")
    ] = (3 / 4, 4 / 3),
    flip: Annotated[bool, typer.Option(help="Flip every other view left to right")] = True,
    max_tokens: MaxTokensOption = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    device: DeviceOption = "auto",
    batch_size: BatchOption = 64,
    seed: Annotated[int, typer.Option("--seed", help="Decides splits")] = 0,
    strict: StrictOption = False,
    json: JsonOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write the tokens of images or texts, or tokens that are arrays already, to a store; a stopped run goes on."""
    from ...backbones import load_backbone
    from ...devices import choose_device
    from ...errors import InputError
    from ...study.data import store_arrays, three_part_samples
    from ...tokens import ArrayData, Augmentation, TextSamples, TokenStore, extract, open_data

    samples = open_data(data, text_columns(text_column, label_column))
    if isinstance(samples, TokenStore):
        raise InputError(f"{data} is a token store already; give it to 'headwise fit' or 'headwise study' as it is")
    if isinstance(samples, ArrayData):
        if views > 1:
            raise InputError(f"{data} holds tokens, and views are made of images; leave --views out")
        if at != "output":
            raise InputError(f"{data} holds tokens, and --at is a place in a backbone; leave it out")
        if max_tokens is not None:
            raise InputError(f"{data} holds tokens, and --max-tokens is for texts; leave it out")
        with progress_bars() as progress:
            made = store_arrays(samples, store, seed=seed, overwrite=overwrite, progress=progress, dtype=dtype)
    else:
        model, texts = load_backbone(backbone, choose_device(device)), isinstance(samples, TextSamples)
        with progress_bars() as progress:
            made = extract(
                model,
                three_part_samples(samples, seed),
                store,
                layer=layer,
                at=at,
                dtype=dtype or "float16",
                views=views,
                view_seed=view_seed,
                augmentation=None if texts else Augmentation(crop_scale, crop_ratio, flip),
                max_tokens=max_tokens,
                device=choose_device(device),
                batch_size=batch_size,
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
        of = f" x {made.num_views} views" if made.num_views > 1 else ""
        out.print(
            f"{made.num_samples} samples{of} x {made.num_tokens} tokens x {made.width} features in {store}",
            markup=False,
        )
