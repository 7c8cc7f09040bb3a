"""The main job: images, texts or tokens with labels in; a certified head, a dissected backbone and a report out."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backbones import load_backbone
from ..checks import check_backbone, check_number, check_whole
from ..contracts import Backbone, Progress, TextBackbone
from ..devices import choose_device, heads_device
from ..errors import HeadwiseError, InputError
from ..files import claim_folder
from ..heads.compare import baseline_results, certified_results, paired_bootstrap
from ..heads.conditioning import Conditioner
from ..heads.save import save_head
from ..report import answer_sentences
from ..tokens import ImageSamples, TextSamples, open_data
from ..tokens.feeds import check_fits
from ..version import __version__
from . import facts
from .data import check_classes, open_tokens, plain_features, three_parts, training_size
from .forecast import forecast_facts
from .pictures import dissection_pictures, token_use_pictures
from .quotations import dissection_texts, token_use_texts
from .relu import GATED, check_relu_size, relu_facts
from .result import FORMAT_VERSION, Study

__all__ = ["study"]


def study(
    data: str | Path | Any = "digits",
    backbone: str | Backbone | TextBackbone = "embedded",
    out: str | Path = "headwise-study",
    *,
    device: str = "auto",
    layer: int = -1,
    columns: tuple[str, str] | None = None,
    max_tokens: int | None = None,
    seed: int = 0,
    tol: float = 1e-3,
    betas: int = 10,
    n_components: int = 32,
    relu: bool = False,
    batch_size: int = 64,
    strict: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    announce: Callable[[str], object] | None = None,
    command: str | None = None,
) -> Study:
    """Fit certified heads on frozen tokens, compare them with baselines, dissect the backbone, write a report.

    Parameters
    ----------
    data : str, path, ImageSamples, TextSamples, ArrayData or TokenStore
        "digits" (ships with scikit-learn), an image folder, a table of paths or texts, arrays of tokens or images, or a
        store.
    backbone : str, Backbone or TextBackbone
        "embedded", "timm/NAME", "timm/NAME@weights.safetensors" or "hf/FOLDER", which is what texts need. Not used
        where the data are tokens.
    out : path
        Folder for ``report.html``, ``study.json``, ``head/`` and ``tokens/``. The same settings go on in it.
        The head is the best one on the validation samples, or the best linear one where that is enough: where the
        interval of their difference on the test samples does not lie above zero.
    device : str
        Where the backbone runs and heads are fitted: "auto", "cpu", "cuda" ... Heads are fitted on the processor where
        it has no float64 ("mps").
    layer : int
        Layer whose tokens are used, negative from the end.
    columns : (str, str), optional
        Columns of a table that hold texts and their labels; see `headwise.open_data`.
    max_tokens : int, optional
        Longer texts are cut; by default as many as the backbone takes.
    seed : int
        Decides splits and resamples.
    tol : float
        Certified relative gap of every head.
    betas : int
        Points of each beta path.
    n_components : int
        Components kept by the conditioning of parts that are not linear.
    relu : bool
        Fit a gated MLP too, and make a ReLU head of it by `headwise.relu`, saved in ``relu/``. Its objective is
        approximate, and it is never the head to use; the gated MLP may be. Small data only: where the training tokens
        are too many, nothing is done.
    batch_size : int
        Images or texts in one pass of the backbone.
    strict : bool
        Stop at the first image or text that cannot be used, instead of leaving it out.
    overwrite : bool
        Replace a study made with other settings.
    progress : callable, optional
        See `headwise.contracts.Progress`.
    announce : callable, optional
        Given sentences for people: sizes and times before long work, what was skipped.
    command : str, optional
        How to run the same again, for the report.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        Data, backbone or folder that cannot be used, or more training tokens than a ReLU head can be made of; the
        message says what to do.

    Examples
    --------
    >>> import headwise
    >>> result = headwise.study("digits", out="my-study")  # doctest: +SKIP
    >>> result.answer  # doctest: +SKIP
    """
    check_whole("betas", betas, least=2)
    check_number("tol", tol, below=1)
    check_whole("seed", seed)
    check_whole("n_components", n_components, least=1)
    check_whole("batch_size", batch_size, least=1)
    device = choose_device(device)
    if not isinstance(backbone, str):
        check_backbone(backbone, "tokens")
    out, clock, warnings = Path(out), _Clock(), list[str]()
    tell = progress or (lambda step, done, total: None)
    if not str(out).strip():
        raise InputError("out is empty; give a folder")
    settings: dict[str, Any] = {
        "data": str(data) if isinstance(data, (str, Path)) else type(data).__name__,
        "backbone": backbone if isinstance(backbone, str) else backbone.name,
        "layer": layer,
        "seed": seed,
        "tol": tol,
        "betas": betas,
        "n_components": n_components,
        # only where they are given: studies of before go on in their folders
        **({"relu": True} if relu else {}),
        **({"text_column": columns[0], "label_column": columns[1]} if columns else {}),
        **({"max_tokens": max_tokens} if max_tokens is not None else {}),
    }
    found = open_data(data, columns)
    check_classes(found)
    if max_tokens is not None and not isinstance(found, TextSamples):
        raise InputError(f"max_tokens is asked for, and {data} holds no texts; leave it out")
    model: Any = None
    if isinstance(found, (ImageSamples, TextSamples)):
        with clock("load the backbone"):
            tell("load the backbone", 0, 1)
            model = load_backbone(backbone, device) if isinstance(backbone, str) else backbone
            check_fits(model, found, max_tokens)
            tell("load the backbone", 1, 1)
    conditioner = Conditioner(n_components=n_components)
    if relu:
        check_relu_size(*training_size(found, model, seed, max_tokens), conditioner)
    # only now, so that a misspelt backbone or data set leaves no folder behind
    claim_folder(out, "study", settings, overwrite)
    with clock("extract tokens"):
        store, samples = open_tokens(
            found,
            model,
            out / "tokens",
            layer=layer,
            max_tokens=max_tokens,
            seed=seed,
            batch_size=batch_size,
            device=device,
            strict=strict,
            overwrite=overwrite,
            progress=tell,
            announce=announce,
        )
    splits, class_names = three_parts(store, seed)
    warnings += facts.left_out(store)
    names = ["linear_prefix"] if store.num_prefix else []
    if store.num_tokens > store.num_prefix:
        names += ["linear"] + (["attention", "default"] if store.num_tokens - store.num_prefix > 1 else [])
    names += [GATED] if relu else []
    with clock("fit baselines"):
        tell("fit baselines", 0, 1)
        results = baseline_results(store, splits, plain_features(samples, store, splits))
        tell("fit baselines", 1, 1)
    with clock("fit certified heads"):
        results += certified_results(
            store,
            splits,
            names,
            conditioner=conditioner,
            betas=betas,
            tol=tol,
            checkpoint=out / "path",
            device=heads_device(device),
            progress=tell,
        )
    certified = [r for r in results if r.kind == "certified"]
    best = min(certified, key=lambda r: r.scores["val"].log_loss)
    linear = min((r for r in certified if r.linear), key=lambda r: r.scores["val"].log_loss)
    comparison = paired_bootstrap(best, linear, splits.targets["test"], seed)
    used = linear if comparison.linear_is_enough else best
    assert used.head is not None and used.head.certificate is not None
    used.head.class_names = list(class_names)
    save_head(used.head, out / "head", overwrite=True, metrics=asdict(used.scores["test"]))
    approximate = None
    shutil.rmtree(out / "relu", ignore_errors=True)  # of a run with other settings
    if relu:
        with clock("make the ReLU head"):
            approximate = relu_facts(certified[-1], store, splits, class_names, out / "relu", tell)
    with clock("forecast a linear probe"):
        tell("forecast a linear probe", 0, 1)
        probe = forecast_facts(store, splits)
        tell("forecast a linear probe", 1, 1)
    arrays: dict[str, NDArray[Any]] = {}
    with clock("explain the head"):
        if isinstance(samples, TextSamples):
            use = token_use_texts(model, used, certified, store, splits, samples, class_names)
        else:
            use = token_use_pictures(used, certified, store, splits, samples, class_names, arrays)
    dissection = None
    if model is not None:
        with clock("dissect the backbone"):
            try:
                if isinstance(samples, TextSamples):
                    dissection = dissection_texts(model, store, splits, samples, tell)
                else:
                    dissection = dissection_pictures(model, arrays, tell)
            except HeadwiseError as error:  # the heads are fitted: they are worth a report without it
                warnings.append(f"the backbone is not dissected: {error}")
    tell("write the report", 0, 1)
    confusion = np.zeros((splits.num_classes, splits.num_classes), dtype=int)
    np.add.at(confusion, (splits.targets["test"], used.probabilities.argmax(1)), 1)
    result = {
        "format_version": FORMAT_VERSION,
        "title": facts.title(model, str(settings["data"])),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "headwise_version": __version__,
        "command": command,
        "seed": seed,
        "settings": settings,
        "versions": facts.versions(),
        "device": device,
        "warnings": warnings,
        "backbone": facts.backbone_facts(model, layer),
        "data": facts.data_facts(settings["data"], found, store, splits, class_names),
        "heads": [{**r.to_dict(), "chosen": r is used} for r in results],
        "comparison": asdict(comparison),
        "path": facts.path_rows(used),
        "paths": {r.name: facts.path_rows(r) for r in certified},
        "certificate": used.head.certificate.to_dict(),
        "relu": approximate,
        "forecast": probe,
        "token_use": use,
        "dissection": dissection,
        "confusions": {"matrix": confusion.tolist()},
        "calibration": facts.calibration_facts(used, splits, seed),
        "timings": [{"step": step, "seconds": seconds} for step, seconds in clock.steps],
    }
    result["answer"] = " ".join(filter(None, answer_sentences(result)))
    made = Study(result, arrays, out)
    made.save()
    shutil.rmtree(out / "path", ignore_errors=True)
    tell("write the report", 1, 1)
    return made


class _Clock:
    """Seconds of each step."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float]] = []

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.steps.append((step, round(time.perf_counter() - began, 3)))
