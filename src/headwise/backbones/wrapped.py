"""Any torch module with attention layers that are understood."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..contracts import QueryKey
from ..errors import InputError
from ..files import hash_tensors
from .reading import Place, query_keys

__all__ = ["WrappedModule"]


class WrappedModule:
    """A torch module whose attention layers were found by their structure; it is not changed.

    Parameters
    ----------
    name : str
    model : nn.Module
    description : str
    forward : callable, optional
        From the inputs to the tokens after the last norm; the module's own output by default.

    Raises
    ------
    InputError
        A module without attention, or with attention that is not understood; names its path.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> model = WrappedModule("mine", torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    >>> model.depth, model.num_heads, model.tokens(torch.zeros(1, 5, 8))[0].shape
    (2, 2, torch.Size([1, 5, 8]))
    """

    def __init__(
        self, name: str, model: nn.Module, description: str = "", forward: Callable[[Any], Any] | None = None
    ) -> None:
        self.name, self.description, self.model = name, description, model
        self._forward = forward or self._call
        records = self.query_keys()
        first = records[0]
        self.blocks: list[Any] = [model.get_submodule(_block(model, record)) for record in records]
        self._tokens_first = first.tokens_first
        self.depth, self.num_heads, self.width = len(records), first.query.shape[0], first.query.shape[2]
        self.num_parameters = sum(p.numel() for p in model.parameters())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}: {self.depth} attention layers, width {self.width})"

    def query_keys(self) -> list[QueryKey]:
        """One record for each attention layer, in order."""
        return query_keys(self.model)

    @cached_property
    def weights_hash(self) -> str:
        return hash_tensors(self.model.state_dict())

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def to(self, device: Any) -> WrappedModule:
        """Move the model; returns itself."""
        self.model.to(device)
        return self

    def tokens(
        self, inputs: Any, /, layers: Sequence[int] = (-1,), at: Literal["output", "block_input"] = "output"
    ) -> list[Tensor]:
        """Tokens of each layer asked for; see `headwise.contracts.Backbone`.

        ``inputs`` are what the model takes: a tensor, or a mapping of its arguments. Nothing here asks for gradients,
        and none is recorded where no weight asks for one. A model in training runs as in evaluation, without dropout,
        and is in training again afterwards.
        """
        if at not in ("output", "block_input"):
            raise InputError(f"at must be 'output' or 'block_input', got {at!r}")
        self._check_inputs(inputs)
        wanted = []
        for layer in layers:
            if not -self.depth <= layer < self.depth:
                raise InputError(f"{self.name} has layers 0 to {self.depth - 1}, got {layer}")
            wanted.append(layer % self.depth)
        found: dict[int, Tensor] = {}
        hooks = [self._record(found, layer, at) for layer in set(wanted)]
        training = [module for module in self.model.modules() if module.training]
        try:
            for module in training:
                module.training = False
            final = self._forward(self._fitting(inputs))
        finally:
            for module in training:
                module.training = True
            for hook in hooks:
                hook.remove()
        final = getattr(final, "last_hidden_state", final)
        if at == "output" and self.depth - 1 in wanted and isinstance(final, Tensor):
            found[self.depth - 1] = final
        for layer in wanted:
            if layer not in found:
                raise InputError(f"these inputs do not run layer {layer} of {self.name}; give inputs that do")
        return [found[layer].transpose(0, 1) if self._tokens_first else found[layer] for layer in wanted]

    def _check_inputs(self, inputs: Any) -> None:
        if not isinstance(inputs, (Tensor, Mapping)):
            raise InputError(
                f"{self.name} takes a tensor or a mapping of its arguments to tensors, got {type(inputs).__name__}"
            )

    def _call(self, inputs: Any) -> Any:
        if isinstance(inputs, Mapping):
            return self.model(**inputs)
        return self.model(*(inputs,) * (3 if isinstance(self.model, nn.MultiheadAttention) else 1))

    def _fitting(self, inputs: Any) -> Any:
        """Inputs on the device of the model, numbers in its precision."""
        if isinstance(inputs, Mapping):
            return {name: self._fitting(value) for name, value in inputs.items()}
        if not isinstance(inputs, Tensor):
            return inputs
        like = next(self.model.parameters())
        return inputs.to(like) if inputs.is_floating_point() else inputs.to(like.device)

    def _record(self, found: dict[int, Tensor], layer: int, at: str) -> Any:
        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found[layer] = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))

        def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            found[layer] = output[0] if isinstance(output, tuple) else output

        block = self.blocks[layer]
        if at == "block_input":
            return block.register_forward_pre_hook(before, with_kwargs=True)
        return block.register_forward_hook(after)


def _block(model: nn.Module, record: QueryKey) -> str:
    """Path of the repeated layer that an attention layer is a part of; its own path where there is none."""
    layer = Place(model, record.name).layer()
    return record.name if layer is None else layer[0]
