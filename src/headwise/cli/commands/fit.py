"""``headwise fit``: one head on a token store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from ..console import out, paragraph, print_json, progress_bars, say
from ..options import JsonOption, OverwriteOption, SeedOption, TolOption, one_of

NOTHING = 1e-6
"""Outer weights below this change no prediction, in conditioned coordinates."""


def command(
    tokens: Annotated[Path, typer.Argument(metavar="STORE", help="Token store")],
    head: Annotated[Path, typer.Argument(metavar="HEAD", help="Folder for the fitted head")],
    block: Annotated[
        str,
        typer.Option(
            "--block",
            help="default, linear_prefix, linear, attention, mlp, mlp_mixer, fno, bfno or hadamard",
        ),
    ] = "default",
    gate: Annotated[
        str,
        typer.Option(
            "--gate", help="none, gaussian, rank_one, cluster, window or attention_maps; linear parts take none"
        ),
    ] = "none",
    num_gates: Annotated[
        int, typer.Option("--num-gates", help="Gates; clusters of cluster, radius of window", min=0)
    ] = 8,
    loss: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Option("--loss", help="By default multinomial for classes, squared for numbers"),
    ] = None,
    beta: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--beta", help="Strength of the penalty; without it, chosen on validation samples"),
    ] = None,
    betas: Annotated[int, typer.Option("--betas", help="Points of the path where beta is chosen")] = 12,
    n_components: Annotated[
        int, typer.Option("--components", help="Components kept for other than linear parts", min=1)
    ] = 64,
    solver: Annotated[
        str,
        typer.Option(
            "--solver",
            help="auto, factored (for all), proximal (to check small ones) or moments (for numbers)",
            callback=one_of("solver", "auto", "factored", "proximal", "moments"),
        ),
    ] = "auto",
    max_memory: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--max-memory", metavar="SIZE", help="What a process may hold (900MB, 2GB); the rest goes to disk"
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="Where the fit computes: auto (CUDA where there is one), cpu, cuda")
    ] = "auto",
    tol: TolOption = 1e-3,
    seed: SeedOption = 0,
    json: JsonOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Fit a certified head to the training part of a store: a classifier, or a regressor where labels are numbers.

    Under `torchrun --nproc-per-node=K -m headwise fit ...` K processes share the samples. Solutions of the path are
    kept beside HEAD until it is saved: the same command, stopped and started again, goes on from them.
    """
    from ...devices import fitting_device
    from ...files import claim_folder
    from ...heads import HeadClassifier, HeadClassifierCV, HeadRegressor, HeadRegressorCV
    from ...heads.parameters import check_parameters
    from ...heads.parts import resolve_parts
    from ...heads.save import save_head
    from ...losses import LOSSES
    from ...processes import joined
    from ...study.attention_gates import attention_gates
    from ...tokens import TokenStore

    store = TokenStore.open(tokens)
    loss = loss or ("squared" if store.labels.dtype.kind == "f" else "multinomial")
    classifies = LOSSES.get(loss).kind in HeadClassifier.kinds
    shared: dict[str, Any] = {
        "block": block,
        "tol": tol,
        "solver": solver,
        "loss": loss,
        "gate": gate,
        "num_gates": num_gates,
        "gate_seed": seed,
        "n_components": n_components,
    }
    parts = resolve_parts(block, store, gate, num_gates, seed)  # a misspelt name leaves no folder behind
    along = {"beta": beta} if beta is not None else {"betas": betas, "seed": seed}
    settings = {"store": store.fingerprint[:12], **shared, **along}
    where = str(fitting_device(device))
    shared |= {"max_memory": max_memory, "device": where}  # these change no number
    said = None
    if any(part.gate_name == "attention_maps" for part in parts):
        shared["gate"], said = attention_gates(store)
    done = head.with_name(f"{head.name}.path")
    model: Any
    if beta is None:
        chosen = HeadClassifierCV if classifies else HeadRegressorCV
        model = chosen(betas=betas, refit=False, seed=seed, checkpoint=done, **shared)
    else:
        model = (HeadClassifier if classifies else HeadRegressor)(beta=beta, **shared)
    check_parameters(model.get_params(deep=False))

    def claim() -> None:
        if said:
            say(said)
        claim_folder(head, "head", settings, overwrite)  # before the work, not after it
        store.verify_content()

    with joined(where) as processes:
        processes.first_does(claim)
        with progress_bars(quiet=not processes.first) as tell:
            model.fit(store, progress=tell)
    if not processes.first:
        return
    save_head(model.head_, head, overwrite, settings=settings)
    shutil.rmtree(done, ignore_errors=True)
    certificate = model.certificate_
    path = None if beta is not None else model.path_
    if json:
        told = {"head": str(head), "rank": model.rank_, "certificate": certificate.to_dict()}
        print_json(told if path is None else {**told, "path": path.to_dict()})
        return
    if path is not None:
        out.print(f"{path}\n", markup=False, highlight=False, soft_wrap=True)
    for spec, words in zip(model.head_.specs, model.head_.part_words(), strict=True):
        if spec.collapses:
            paragraph(out, f"note: {words} is {spec.collapses}")
    if all(not v.numel() or float(v.abs().max()) < NOTHING for v in model.head_.factors().v):
        what = "the class frequencies" if model.head_.classes is not None else "one output"
        paragraph(out, f"note: beta is so large that the head predicts {what} for every sample; take a smaller one")
    paragraph(out, f"beta {certificate.beta:.3g}, rank {model.rank_}, {certificate}")
    out.print(f"head: {head}", markup=False)
