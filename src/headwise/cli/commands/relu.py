"""``headwise relu``: a ReLU head from a saved head with gates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import out, paragraph, print_json, progress_bars
from ..options import HeadArgument, JsonOption, OverwriteOption


def command(
    head: HeadArgument,
    relu_head: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the ReLU head")],
    tokens: Annotated[Path, typer.Option("--tokens", metavar="STORE", help="The token store it was fitted on")],
    json: JsonOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Turn a head with gates into a ReLU head with the same outputs on its training tokens, on small data.

    Its objective is approximate: the certificate is that of the gated head, and both values are printed.
    """
    from ...errors import InputError
    from ...files import claim_folder
    from ...heads import relu
    from ...heads.relu import check_relu
    from ...heads.save import load_head, save_head
    from ...tokens import TokenStore

    gated = check_relu(load_head(head))  # what is refused leaves no folder behind
    store = TokenStore.open(tokens)
    if relu_head.resolve() == head.resolve():
        raise InputError(f"the ReLU head would replace the gated one in {head}; give another folder")
    settings = {"relu of": gated.fingerprint[:12], "store": store.fingerprint[:12]}
    claim_folder(relu_head, "head", settings, overwrite)  # before the work, not after it
    store.verify_content()
    with progress_bars() as progress:
        found = relu(gated, store, progress=progress)
    save_head(found.module, relu_head, overwrite, settings=settings)
    if json:
        print_json({"relu_head": str(relu_head), "atoms": found.module.rank, "ratio": found.ratio, **found.to_dict()})
        return
    paragraph(out, f"gated head: {gated.rank} atoms, {found.certificate}")
    paragraph(
        out,
        f"ReLU head: {found.module.rank} atoms, approximate objective {found.objective:.6g}, {found.ratio:.4g} times "
        "that of the gated head; the certificate is that of the gated problem alone",
    )
    out.print(f"head: {relu_head}", markup=False, soft_wrap=True)
