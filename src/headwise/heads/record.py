"""The solutions of a path on disk, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..files import hash_tensors, write_tensors
from ..processes import current
from ..solvers import Certificate, Factors, Round, Solution, Status
from .fitting import Prepared

__all__ = ["PathRecord"]


class PathRecord:
    """One file for each solution of a path, by its place on the path.

    Parameters
    ----------
    folder : path
        Made when the first solution is kept.
    about : mapping
        What the path is about, JSON: solutions of another path are not taken up.
    """

    def __init__(self, folder: str | Path, about: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self._key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    @classmethod
    def of(cls, folder: str | Path, prepared: Prepared, targets: Tensor, solver: Sequence[Any]) -> PathRecord:
        """The record of one problem; ``solver`` names what else decides its solutions: solver, rounds, tolerance."""
        fitted = {f"{i}.{name}": x for i, part in enumerate(prepared.parts) for name, x in part.tensors().items()}
        fitted |= {"targets": targets}
        if prepared.weights is not None:
            fitted["weights"] = torch.from_numpy(prepared.weights)
        about = {
            **prepared.context(),
            "coordinates": [part.to_dict()["conditioner"] for part in prepared.parts],
            "tensors": hash_tensors(fitted),
            "intercept": prepared.problem.fit_intercept,
            "solver": list(solver),
        }
        return cls(folder, about)

    def _file(self, number: int) -> Path:
        return self.folder / f"{self._key[:8]}-{number:03d}.safetensors"

    def load(self, number: int, beta: float) -> Solution | None:
        """Solution ``number`` of the path; None where it was not kept, is broken, or has another beta."""
        try:
            with safe_open(self._file(number), "pt") as file:
                told = json.loads((file.metadata() or {}).get("solution", "{}"))
                # sums over another number of processes round differently
                if told.get("key") != self._key or not math.isclose(told["certificate"]["beta"], beta, rel_tol=1e-9):
                    return None
                u, v = ([file.get_tensor(f"{name}.{j}") for j in range(told["parts"])] for name in "uv")
                factors = Factors(u, v, file.get_tensor("intercept"))
        except (FileNotFoundError, SafetensorError):
            return None
        history = [Round(**told["last_round"])]
        certificate = Certificate(**told["certificate"])
        return Solution(factors, certificate, history, Status[told["status"]], told["rank"], told["seconds"])

    def keep(self, number: int, solution: Solution) -> None:
        """Write a solution; among several processes the first does."""
        if not current().first:
            return
        factors = solution.factors
        told = {
            "key": self._key,
            "parts": len(factors.u),
            "certificate": solution.certificate.to_dict(),
            "last_round": asdict(solution.history[-1]),
            "status": solution.status.name,
            "rank": solution.rank,
            "seconds": solution.seconds,
        }
        tensors = {"intercept": factors.intercept}
        for j, (u, v) in enumerate(zip(factors.u, factors.v, strict=True)):
            tensors |= {f"u.{j}": u, f"v.{j}": v}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_tensors(self._file(number), tensors, {"solution": json.dumps(told)})
