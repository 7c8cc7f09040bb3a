"""What a study found, on disk and in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from ..errors import InputError
from ..files import read_json, replacing, write_json, write_tensors
from ..heads.save import load_head
from ..report import render, summary_html

__all__ = ["FORMAT_VERSION", "Study"]

FORMAT_VERSION = 1


@dataclass(repr=False)
class Study:
    """Everything that one run found: plain data, arrays for the pictures, and where the files are.

    Attributes
    ----------
    data : dict
        What ``study.json`` holds: heads and baselines with scores, the path, the certificate, the dissection, versions.
    arrays : dict of ndarray
        Photographs and maps, what ``study.safetensors`` holds.
    path : Path
        Folder with ``report.html``, ``study.json``, ``head/`` and ``tokens/``.
    """

    data: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    path: Path

    @property
    def report(self) -> Path:
        """The report file."""
        return self.path / "report.html"

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        return str(self.data["answer"])

    def head(self) -> Any:
        """The certified head to use, an ``nn.Module`` on raw tokens."""
        return load_head(self.path / "head")

    def save(self) -> None:
        """Write ``study.json``, ``study.safetensors`` and ``report.html``."""
        file = self.path / "study.safetensors"
        file.unlink(missing_ok=True)
        if self.arrays:  # tokens without a grid have no pictures
            write_tensors(file, {k: torch.from_numpy(np.array(v)) for k, v in self.arrays.items()})
        write_json(self.path / "study.json", self.data)
        with replacing(self.report) as part:
            part.write_text(render(self.data, self.arrays), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """Read a study from its folder."""
        path = Path(path)
        data = read_json(path / "study.json")
        if data.get("format_version", 0) > FORMAT_VERSION:
            raise InputError(
                f"{path} was written by a newer headwise ({data.get('headwise_version')}); upgrade this one"
            )
        file = path / "study.safetensors"
        arrays = {k: v.numpy() for k, v in load_file(file).items()} if file.exists() else {}
        return cls(data, arrays, path)

    def __repr__(self) -> str:
        counts = self.data["data"]
        used = next(row for row in self.data["heads"] if row["chosen"])
        return (
            f"Study({self.data['title']!r}: {counts['num_samples']} samples of {len(counts['classes'])} classes; head "
            f"{used['name']}, test accuracy {used['scores']['test']['accuracy']:.3f}, relative gap "
            f"{used['relative_gap']:.1e}; in {str(self.path)!r})"
        )

    def _repr_html_(self) -> str:
        return summary_html(self.data)
