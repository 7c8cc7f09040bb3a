"""What is given to a model: refused where it holds no numbers, or where the model does not run on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..errors import HeadwiseError, InputError

__all__ = ["check_inputs", "entering", "runs_on"]


def check_inputs(inputs: Any) -> None:
    """Refuse inputs without a sample, and those that hold NaN; in a tensor alone, infinities too.

    In a mapping infinities are what masks are made of. What is no tensor the backbone refuses, which knows what it
    takes.
    """
    alone = not isinstance(inputs, Mapping)
    for value in (inputs,) if alone else inputs.values():
        if not isinstance(value, Tensor):
            continue
        if not value.numel():
            raise InputError(f"the inputs are empty, of shape {tuple(value.shape)}; give at least one sample")
        if bool(value.isnan().any()) or (alone and bool(value.isinf().any())):
            raise InputError(f"the inputs hold NaN{' or infinity' if alone else ''}; give finite numbers")


@contextmanager
def runs_on(model: Any, inputs: Any) -> Iterator[None]:
    """Turns what a model raises on inputs that it does not take into an error that names both.

    Only the model knows the shapes that it takes, and says so in its own words; memory that is full stays what it is.
    """
    try:
        yield
    except (HeadwiseError, torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except (RuntimeError, AssertionError, TypeError, ValueError, IndexError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        width = getattr(model, "width", None)
        takes = "what its preprocess gives" if hasattr(model, "preprocess") else "what the module takes"
        if width is not None and not hasattr(model, "preprocess"):
            takes += f" (its attention reads tokens of width {width})"
        raise InputError(
            f"{model.name} does not run on {_shapes(inputs)}: {first.rstrip('. ')}; give {takes}"
        ) from error


def entering(model: Any, inputs: Any, layers: Sequence[int]) -> list[Tensor]:
    """Tokens ``(B, s, d)``, or on a grid ``(B, h, w, d)``, that enter layers of a model."""
    with runs_on(model, inputs):
        found: list[Tensor] = model.tokens(inputs, layers, at="block_input")
    for tokens in found:
        if tokens.ndim < 3:
            raise InputError(
                f"{model.name} makes tokens {tuple(tokens.shape)} of {_shapes(inputs)}; give a batch, with the samples "
                "along the first axis"
            )
    return found


def _shapes(inputs: Any) -> str:
    if isinstance(inputs, Tensor):
        return f"a tensor {tuple(inputs.shape)} of {str(inputs.dtype).removeprefix('torch.')}"
    if isinstance(inputs, Mapping):
        said = [f"{name} {tuple(value.shape)}" for name, value in inputs.items() if isinstance(value, Tensor)]
        return f"a mapping with {', '.join(said) or 'no tensors'}"
    return f"a {type(inputs).__name__}"
