"""``headwise fit``: one head on a token store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ..console import out, print_json
from ..options import JsonOption, OverwriteOption, SeedOption, TolOption


def command(
    tokens: Annotated[Path, typer.Argument(metavar="STORE", help="Token store")],
    head: Annotated[Path, typer.Argument(metavar="HEAD", help="Folder for the fitted head")],
    block: Annotated[str, typer.Option("--block", help="default, linear, linear_prefix or attention")] = "default",
    beta: Annotated[
        Optional[float],  # noqa: UP045 - typer reads it at run time
        typer.Option("--beta", help="Strength of the penalty; without it, chosen on validation samples"),
    ] = None,
    betas: Annotated[int, typer.Option("--betas", help="Points of the path where beta is chosen")] = 12,
    n_components: Annotated[int, typer.Option("--components", help="Components kept for attention parts")] = 64,
    tol: TolOption = 1e-3,
    seed: SeedOption = 0,
    json: JsonOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Fit a certified head to the training part of a store."""
    from ...heads import HeadClassifier, HeadClassifierCV
    from ...tokens import TokenStore

    store = TokenStore.open(tokens)
    store.verify_content()
    if beta is None:
        model: HeadClassifier | HeadClassifierCV = HeadClassifierCV(
            block, betas, tol, refit=False, n_components=n_components, seed=seed
        )
    else:
        model = HeadClassifier(block, beta, tol, n_components=n_components)
    model.fit(store)
    if store.class_names:
        model.head_.class_names = [store.class_names[i] for i in model.classes_]
    model.head_.save_pretrained(head, overwrite)
    certificate = model.certificate_
    if json:
        print_json({"head": str(head), "rank": model.rank_, "certificate": certificate.to_dict()})
    else:
        out.print(f"beta {certificate.beta:.3g}, rank {model.rank_}, {certificate}", markup=False)
        out.print(f"head: {head}", markup=False)
