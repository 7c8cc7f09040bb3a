"""Heads on disk: config.json, model.safetensors, certificate.json; nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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
from ..files import claim_folder, read_json, write_json, write_tensors
from ..solvers import Certificate, Factors
from ..tokens.manifest import ORIGIN
from .conditioning import FittedConditioner
from .fitted_part import FittedPart
from .head import Head, TokenFacts, Training
from .parts import PartSpec

__all__ = ["FORMAT_VERSION", "as_head", "load_head", "save_head"]

FORMAT_VERSION = 1


def save_head(head: Head, path: str | Path, overwrite: bool = False) -> None:
    """Write a head into a folder.

    Raises
    ------
    InputError
        The folder holds another head (without ``overwrite``) or files that headwise did not make.
    """
    path = Path(path)
    described = head.to_dict()
    config = {
        "format_version": FORMAT_VERSION,
        "kind": "headwise head",
        **described,
        "class_names": head.class_names,
    }
    certificate = head.certificate.to_dict() if head.certificate else None
    claim_folder(path, "head", {"parts": described["parts"], "certificate": certificate}, overwrite)
    write_tensors(path / "model.safetensors", head.tensors(), {"format": "pt"})
    write_json(path / "config.json", config)
    if certificate:
        write_json(path / "certificate.json", certificate)
    if head.training_data is not None:
        training = {"rows": torch.from_numpy(np.ascontiguousarray(head.training_data.rows, dtype=np.int64))}
        if head.training_data.weights is not None:
            training["weights"] = torch.from_numpy(head.training_data.weights)
        write_tensors(path / "training.safetensors", training)


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
        A file is missing, broken, or of a newer format.
    """
    path = Path(path)
    if not (path / "config.json").exists():
        inside = path / "head"
        hint = f"; its head is {inside}" if (inside / "config.json").exists() else ""
        raise InputError(f"{path} is not a head: it has no config.json{hint}")
    config = read_json(path / "config.json")
    if config.get("kind") != "headwise head":
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
        if (path / "certificate.json").exists():
            certificate = Certificate(**read_json(path / "certificate.json"))
        if (path / "training.safetensors").exists():
            found = load_file(path / "training.safetensors")
            weights = found["weights"].numpy() if "weights" in found else None
            training = Training(found["rows"].numpy(), weights)
        head = Head(
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
