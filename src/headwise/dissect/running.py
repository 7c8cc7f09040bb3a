"""A model run in float64 under observation: the tokens that enter its layers and what its softmaxes take."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from ..devices import has_float64
from ..errors import InputError

__all__ = ["doubled", "in_float64", "logits_of", "observed", "outputs_of"]

_LOWER = (torch.float32, torch.float16, torch.bfloat16)
_SOFTMAX = (torch.ops.aten._softmax, torch.ops.aten._safe_softmax)


class _Observer(TorchDispatchMode):
    """Shows the argument of every softmax over the last axis, and keeps the arithmetic in float64.

    Many models compute norms, rotary tables and the softmax in float32 whatever the precision of their weights. Such
    casts, and tensors made in a lower precision, become float64 here.
    """

    def __init__(self, seen: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("dtype") in _LOWER:
            kwargs["dtype"] = torch.float64
        if func.overloadpacket in _SOFTMAX and args[1] in (-1, args[0].ndim - 1):
            self._seen(args[0])
        return func(*args, **kwargs)


@contextmanager
def in_float64(model: nn.Module) -> Iterator[None]:
    """Parameters and buffers in float64 and dropout off; afterwards the model is as it was, bit for bit.

    Raises
    ------
    InputError
        Weights without numbers (meta device), or on a device that has no float64.
    """
    numbers = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    for device in {t.device for t in numbers}:
        if device.type == "meta":
            raise InputError("the model is on the meta device: its weights have no numbers; load them first")
        if not has_float64(device):
            raise InputError(f"the check runs in float64, which {device} does not have; move the model to the CPU")
    kept = [(t, t.data) for t in numbers]
    training = [m for m in model.modules() if m.training]
    try:
        for tensor, data in kept:
            tensor.data = data.double()
        for module in training:
            module.training = False
        yield
    finally:
        for tensor, data in kept:
            tensor.data = data
        for module in training:
            module.training = True


def doubled(inputs: Any) -> Any:
    """Inputs of a model, a tensor or a mapping, with their numbers in float64."""
    if isinstance(inputs, Tensor):
        return inputs.double() if inputs.is_floating_point() else inputs
    if isinstance(inputs, Mapping):
        return {name: doubled(value) for name, value in inputs.items()}
    return inputs


@contextmanager
def observed(
    model: nn.Module,
    softmax: Callable[[Tensor, list[str]], None],
    enters: Mapping[str, Callable[[tuple[Any, ...], dict[str, Any]], None]],
    left: Callable[[str, Any], None],
) -> Iterator[None]:
    """Call back while the model runs, without gradients and without fused attention kernels.

    Parameters
    ----------
    model : nn.Module
    softmax : callable
        ``softmax(argument, path)``: what a softmax over the last axis takes, and the paths of the modules that it is
        in, outermost first.
    enters : mapping
        By the path of a module, what is called with its arguments before it runs.
    left : callable
        Called with the path of each module that has run, and its output.
    """
    path: list[str] = []

    def before(name: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            path.append(name)
            if name in enters:
                enters[name](args, kwargs)

        return hook

    def after(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            path.pop()
            left(name, output)

        return hook

    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        for name, module in model.named_modules():
            # the first hook in and the last one out, so that hooks of others are inside
            stack.callback(module.register_forward_pre_hook(before(name), with_kwargs=True, prepend=True).remove)
            stack.callback(module.register_forward_hook(after(name)).remove)
        # fused kernels show no logits; the same numbers come from the plain one
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(torch.no_grad())
        stack.enter_context(_Observer(lambda argument: softmax(argument, path)))
        yield


@contextmanager
def logits_of(model: nn.Module, names: Collection[str], tell: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call back, while the model is `observed`, with the path of each of these modules and what its softmax took.

    They are attention modules of one softmax each, as a check has shown.
    """
    taken: list[Tensor] = []

    def softmax(argument: Tensor, path: list[str]) -> None:
        if any(name in names for name in path):
            taken.append(argument)

    def left(path: str, output: Any) -> None:
        if path in names:
            tell(path, taken.pop())

    with observed(model, softmax, {}, left):
        yield


@contextmanager
def outputs_of(model: nn.Module, names: Iterable[str], left: Callable[[str, Any], None]) -> Iterator[None]:
    """Call back with the outputs of modules while the model runs with its own attention kernels, fused or not.

    The fast path of torch's encoder layers, which runs past their parts, is off.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        for name in names:

            def hook(module: nn.Module, args: tuple[Any, ...], output: Any, name: str = name) -> None:
                left(name, output)

            stack.callback(model.get_submodule(name).register_forward_hook(hook).remove)
        stack.enter_context(torch.no_grad())
        stack.enter_context(_Observer(lambda argument: None))
        yield
