"""Heads on disk and on the hub: JSON, safetensors and a card for people; nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ..contracts import TokenShape
from ..errors import InputError
from ..files import claim_folder, read_json, replacing, write_json, write_tensors
from ..hub import check_repo_id, download, is_repo_id, upload
from ..solvers import Certificate, Factors
from ..tokens.manifest import ORIGIN
from .card import check_card, model_card
from .conditioning import FittedConditioner
from .facts import TokenFacts, Training
from .fitted_part import FittedPart
from .head import Head
from .parts import PartSpec
from .relu_head import ReluModule

__all__ = ["FORMAT_VERSION", "as_head", "fetch_head", "load_head", "push_head", "save_head"]

FORMAT_VERSION = 1

RECORDS = ("certificate.json", "relu.json")
FILES = ("config.json", "model.safetensors", *RECORDS, "training.safetensors")
"""What a head is read from."""


def save_head(
    head: Head,
    path: str | Path,
    overwrite: bool = False,
    *,
    license: str | None = None,
    metrics: Mapping[str, float] | None = None,
    repo_id: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write a head into a folder; see `Head.save_pretrained`.

    The card tells how to load it from ``repo_id``. ``settings`` is what the folder was claimed with before the fit; by
    default heads are told apart by their weights.
    """
    path = Path(path)
    check_card(license, metrics)
    described = head.to_dict()
    config = {
        "format_version": FORMAT_VERSION,
        "kind": f"headwise {head.kind}",
        **described,
        "class_names": head.class_names,
    }
    records = head.records()
    own = {"parts": [part["block"] for part in described["parts"]], "weights": head.fingerprint[:12]}
    claim_folder(path, "head", own if settings is None else settings, overwrite)
    write_tensors(path / "model.safetensors", head.tensors(), {"format": "pt"})
    write_json(path / "config.json", config)
    for name in RECORDS:
        if name in records:
            write_json(path / name, records[name])
        else:  # that of a head that was here before
            (path / name).unlink(missing_ok=True)
    if head.training_data is None or head.changed:
        (path / "training.safetensors").unlink(missing_ok=True)
    else:
        training = {"rows": torch.from_numpy(np.ascontiguousarray(head.training_data.rows, dtype=np.int64))}
        if head.training_data.weights is not None:
            training["weights"] = torch.from_numpy(head.training_data.weights)
        write_tensors(path / "training.safetensors", training)
    with replacing(path / "README.md") as part:
        part.write_text(model_card(head, repo_id, license, metrics), encoding="utf-8")


def push_head(
    head: Head,
    repo_id: str,
    token: str | None,
    private: bool,
    message: str,
    *,
    license: str | None = None,
    metrics: Mapping[str, float] | None = None,
) -> str:
    """Upload what `save_head` writes; see `Head.push_to_hub`."""
    check_repo_id(repo_id)
    with TemporaryDirectory() as folder:
        save_head(head, Path(folder), license=license, metrics=metrics, repo_id=repo_id)
        return upload(Path(folder), repo_id, token=token, private=private, message=message)


def fetch_head(repo_id: str | Path, revision: str | None, token: str | None) -> Path:
    """Folder in the hub's cache with the files of a head."""
    return download(str(repo_id), files=FILES, revision=revision, token=token)


def as_head(head: Any) -> Head:
    """A head from itself, a fitted estimator, or the folder where it was saved.

    Raises
    ------
    InputError
        It is none of these, or the folder holds no head.
    sklearn.exceptions.NotFittedError
        An estimator that was not fitted.
    """
    if isinstance(head, Head):
        return head
    if isinstance(head, BaseEstimator):
        check_is_fitted(head)
        head = getattr(head, "head_", None)
        if isinstance(head, Head):
            return head
    if isinstance(head, (str, Path)):
        return load_head(head)
    raise InputError(
        f"a head is needed: one that was fitted (a headwise.Head or an estimator) or its folder, got {head!r}"
    )


def load_head(path: str | Path) -> Head:
    """Read a head from a folder.

    Raises
    ------
    InputError
        There is no such folder, or a file in it is missing, broken, or of a newer format.
    """
    path = Path(path)
    if not path.exists() and is_repo_id(str(path)):
        raise InputError(
            f"there is no folder {path}; to read it from the Hugging Face hub, "
            f"Head.from_pretrained({str(path)!r}, hub=True)"
        )
    if not path.exists():
        raise InputError(f"{path} is not a head: it does not exist; give the folder of a saved head")
    if not (path / "config.json").exists():
        inside = path / "head"
        hint = f"; its head is {inside}" if (inside / "config.json").exists() else ""
        raise InputError(f"{path} is not a head: it has no config.json{hint}")
    config = read_json(path / "config.json")
    kinds = {f"headwise {known.kind}": known for known in (Head, ReluModule)}
    if config.get("kind") not in kinds:
        raise InputError(f"{path / 'config.json'} does not describe a headwise head")
    if config.get("format_version", 0) > FORMAT_VERSION:
        raise InputError(
            f"{path} has head format {config['format_version']}; this headwise reads up to {FORMAT_VERSION}: upgrade it"
        )
    try:
        tensors = load_file(path / "model.safetensors")
        parts, us, vs = [], list[Tensor](), list[Tensor]()
        for index, told in enumerate(config["parts"]):
            part = _load_part(f"parts.{index}.", told, tensors, config["loss"]["num_outputs"])
            parts.append(part)
            us += [tensors[f"parts.{index}.u.{j}"] for j in range(len(part.parts()))]
            vs += [tensors[f"parts.{index}.v.{j}"] for j in range(len(part.parts()))]
        factors = Factors(us, vs, tensors["intercept"])
        told = config["tokens"]
        grid = tuple(told["grid"]) if told["grid"] else None
        origin = told.get("origin")  # heads saved before headwise kept it have none
        if origin is not None:
            origin = {name: origin[name] for name in ORIGIN}
        facts = TokenFacts(told["num_tokens"], told["width"], told["num_prefix"], grid, origin)
        certificate = training = None
        kind = kinds[config["kind"]]
        if kind is not ReluModule and (path / "certificate.json").exists():
            certificate = Certificate(**read_json(path / "certificate.json"))
        if (path / "training.safetensors").exists():
            found = load_file(path / "training.safetensors")
            weights = found["weights"].numpy() if "weights" in found else None
            training = Training(found["rows"].numpy(), weights)
        head = kind(
            parts,
            factors,
            config["classes"],
            facts,
            certificate,
            training,
            config["loss"],
            config["fit_intercept"],
        )
        head.class_names = config.get("class_names")
        if isinstance(head, ReluModule) and (path / "relu.json").exists():
            head.record = read_json(path / "relu.json")
        return head
    except (KeyError, TypeError, FileNotFoundError, SafetensorError) as error:
        raise InputError(f"{path} is not a complete head: {error}") from None


def _load_part(prefix: str, told: dict[str, Any], tensors: Mapping[str, Tensor], num_outputs: int) -> FittedPart:
    """One part from its description and the tensors under ``prefix``."""
    told = dict(told)
    flags, shape = told.pop("conditioner"), told.pop("shape")
    spec = PartSpec(**told)
    conditioner = FittedConditioner(
        flags["layer_norm"],
        flags["constant"],
        tensors.get(f"{prefix}mean"),
        tensors.get(f"{prefix}projection"),
        flags["scale"],
    )
    grid = tuple(shape["grid"]) if shape["grid"] else None
    gates: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(f"{prefix}gates."):
            group, own = name.removeprefix(f"{prefix}gates.").split(".", 1)
            gates.setdefault(int(group), {})[own] = value
    return FittedPart.build(
        spec,
        conditioner,
        TokenShape(shape["num_tokens"], shape["width"], grid),
        num_outputs,
        [gates[group] for group in sorted(gates)] if gates else None,
    )
