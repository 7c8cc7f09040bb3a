"""Modules as ONNX files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..files import replacing

__all__ = ["write_onnx"]

LIMIT = 2**31 - 2**20  # bytes of one ONNX file, less some room for the graph


def write_onnx(
    module: nn.Module, inputs: Mapping[str, Tensor], path: str | Path, classes: Sequence[Any] | None = None
) -> None:
    """Write a module as one ONNX file with a free number of samples and one output, "outputs".

    Parameters
    ----------
    module : nn.Module
    inputs : mapping
        Names and examples of the inputs, in the order of ``forward``; all begin with the samples.
    path : path
        File to write, whole or not at all.
    classes : sequence, optional
        Kept in the file's metadata as JSON, under "classes".

    Raises
    ------
    InputError
        The packages onnx and onnxscript are not installed, or the weights do not fit into one file.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise InputError(f"ONNX files need {' and '.join(missing)}; install headwise with its extra: headwise[onnx]")
    size = sum(x.numel() * x.element_size() for x in (*module.parameters(), *module.buffers()))
    if size > LIMIT:
        raise InputError(
            f"the weights take {size / 2**30:.1f} GiB and an ONNX file holds 2 GiB; take torch.export.export, or "
            "to_onnx of the head alone"
        )
    # the first input names the number of samples; that the others have as many is found while tracing
    samples = [torch.export.Dim("n"), *(torch.export.Dim.AUTO for _ in range(len(inputs) - 1))]
    program = torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        input_names=list(inputs),
        output_names=["outputs"],
        dynamic_shapes=tuple({0: batch} for batch in samples),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    if classes is not None:
        program.model.metadata_props["classes"] = json.dumps(list(classes))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(program.model_proto.SerializeToString())
