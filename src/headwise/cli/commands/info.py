"""``headwise info``: what a folder, or a backbone, is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import out, print_json
from ..options import JsonOption
from .forecast import NUMBERS as FORECAST

if TYPE_CHECKING:
    from ...tokens import TokenStore


def command(
    what: Annotated[
        str,
        typer.Argument(
            metavar="PATH|BACKBONE", help="A study, store, head, forecast or dissection folder, or a backbone"
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Describe a study, a token store, a saved head, a forecast, a dissection or a backbone."""
    facts = _facts(what)
    if json:
        print_json(facts)
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        out.print(f"{name:<{width}}  {value}", markup=False, soft_wrap=True)


def _facts(what: str) -> dict[str, Any]:
    from ...errors import InputError

    path = Path(what)
    if (path / "study.json").exists():
        from ...study import Study

        data = Study.load(path).data
        return {
            "kind": "study",
            "title": data["title"],
            "answer": data["answer"],
            "created": data["created"],
            "headwise": data["headwise_version"],
            "report": str(path / "report.html"),
        }
    if (path / "manifest.json").exists():
        from ...tokens import TokenStore

        store = TokenStore.open(path)
        n, views, s, d = store.manifest.shape
        return {
            "kind": "token store",
            "samples": n,
            "views": views,
            "augmentation": None if views == 1 else store.manifest.augmentation,
            "view seed": None if views == 1 else store.manifest.seed,
            "tokens": f"{s} ({store.num_prefix} prefix)",
            "width": d,
            "grid": store.grid,
            **({"texts cut": store.manifest.source["cut"]} if "cut" in store.manifest.source else {}),
            "dtype": store.manifest.dtype,
            "backbone": store.manifest.backbone or "arrays",
            "layer": store.manifest.layer,
            "taken at": (store.manifest.origin or {}).get("at"),
            "classes": _classes(store),
            "fingerprint": store.fingerprint,
            "skipped": len(store.skipped),
        }
    if (path / "config.json").exists():
        from ...heads.relu_head import ReluModule
        from ...heads.save import load_head

        head = load_head(path)
        is_relu = isinstance(head, ReluModule)
        return {
            "kind": head.kind,
            "parts": " + ".join(head.part_words()),
            "classes": head.class_names or head.classes,
            "backbone": (head.facts.origin or {}).get("backbone"),
            "layer": (head.facts.origin or {}).get("layer"),
            "taken at": (head.facts.origin or {}).get("at"),
            "rank": head.rank,
            "parameters": head.num_parameters,
            **(_relu_facts(path) if is_relu else {"certificate": head.certificate and str(head.certificate)}),
        }
    if (path / FORECAST).exists():
        return _forecast_facts(path)
    if (path / "dissection.json").exists():
        return _dissection_facts(path)
    if path.exists():
        raise InputError(f"{what} is no study, token store, head, forecast or dissection made by headwise")
    from ...backbones import list_backbones, load_backbone
    from ...contracts import TextPreprocessing

    if what.partition("/")[0] not in list_backbones():
        raise InputError(
            f"{what} is neither a folder made by headwise (study, token store, head, forecast, dissection) nor a "
            f"backbone; backbones are {', '.join(list_backbones())}"
        )
    model: Any = load_backbone(what)
    seen = getattr(model, "preprocessing", None)  # none of a module alone
    takes: dict[str, Any]
    if isinstance(seen, TextPreprocessing):
        takes = {"grid": None, "input": f"texts, at most {seen.max_tokens} tokens"}
    elif seen is None:
        takes = {"grid": None, "input": "tensors"}
    else:
        takes = {"grid": list(model.grid), "input": list(seen.image_size)}
    return {
        "kind": "backbone",
        "name": model.name,
        "parameters": model.num_parameters,
        "layers": model.depth,
        "attention heads": model.num_heads,
        "width": model.width,
        "prefix tokens": getattr(model, "num_prefix_tokens", None),
        **takes,
        "weights": model.weights_hash,
    }


def _forecast_facts(path: Path) -> dict[str, Any]:
    from ...forecast.result import read_numbers

    data = read_numbers(path / FORECAST)
    return {
        "kind": "forecast",
        "tokens": data["name"],
        "finding": data["status"],
        "samples": data["spectrum"]["samples"],
        "modes above the noise": data["spectrum"]["visible_modes"],
        **{f"probe of depth {curve['depth']}": _probe(curve) for curve in data["curves"]},
        "headwise": data["headwise_version"],
    }


def _dissection_facts(path: Path) -> dict[str, Any]:
    from ...dissect import Dissection, load_examples
    from ...files import MARKER, read_json

    found = Dissection.load(path)
    settings = read_json(path / MARKER).get("config", {}) if (path / MARKER).exists() else {}
    examples = path / "examples.safetensors"
    page = path / "explorer.html"
    means = [sum(row) / len(row) for row in found.to_dict()["weighted_cosine"] if None not in row]
    return {
        "kind": "dissection",
        "model": settings.get("model"),
        "layers": len(found.modes),
        "attention heads": sum(len(each.sigma) for each in found.modes),
        "modes of an attention head": max(each.sigma.shape[1] for each in found.modes),
        "of these with directions": max(each.u.shape[1] for each in found.modes),
        "norm folded in": found.modes[0].norm_folded,
        "largest difference of logits": None if found.difference is None else float(f"{found.difference:.2g}"),
        "weighted cosine": f"{means[0]:+.2f} in the first layer, {means[-1]:+.2f} in the last" if means else None,
        "samples with examples": load_examples(examples)[0].num_samples if examples.exists() else 0,
        "page": str(page) if page.exists() else None,
    }


def _probe(curve: dict[str, Any]) -> str:
    best, twice = curve["best"], curve["doubled"]["error"]
    return f"stop at time {best['time']:.3g}, error {best['error']:.3g}; {twice:.3g} with twice the samples"


def _relu_facts(path: Path) -> dict[str, Any]:
    """What is known of a ReLU head's value: nothing where its module was saved without ``relu.json``."""
    from ...heads import ReluHead

    found = ReluHead.from_pretrained(path) if (path / "relu.json").exists() else None
    return {
        "objective": "approximate, an upper bound of the ReLU optimum",
        "approximate objective": found and found.objective,
        "gated objective": found and found.gated_objective,
        "certificate of the gated head": found and str(found.certificate),
    }


def _classes(store: TokenStore) -> int | None:
    """How many classes there are, named or as plain numbers; None where labels are real numbers."""
    if store.class_names or store.labels.dtype.kind == "f":
        return len(store.class_names) or None
    return len(set(store.labels[store.labels >= 0].tolist()))
