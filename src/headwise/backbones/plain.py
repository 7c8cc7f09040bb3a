"""What the plain vision transformers of this package and of timm have in common: layers, hooks, fused projections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..contracts import Norm, Preprocessing, QueryKey
from ..errors import InputError
from .images import preprocess_images

__all__ = ["PlainBackbone", "Projection", "as_norm", "fused_query_key"]


class Projection(NamedTuple):
    """Queries and keys ``(B, heads, s, head_dim)`` of one layer, before any q/k norm, and the factor of its logits."""

    query: Tensor
    key: Tensor
    scale: float


class PlainBackbone:
    """A backbone whose layers are ``model.blocks``, each with a norm and a fused query, key and value projection.

    Parameters
    ----------
    name : str
    model : nn.Module
        With ``blocks``; put in evaluation mode, without gradients.
    forward : callable
        Images to the tokens after the last norm, ``(B, prefix + patches, d)``.
    preprocessing : Preprocessing
    grid : (int, int)
    num_prefix_tokens : int
    weights_hash : str
    description : str
    device : str
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        forward: Callable[[Tensor], Tensor],
        preprocessing: Preprocessing,
        grid: tuple[int, int],
        num_prefix_tokens: int,
        weights_hash: str,
        description: str = "",
        device: str = "cpu",
    ) -> None:
        self.name, self.description, self.weights_hash = name, description, weights_hash
        self.model = model.eval().requires_grad_(False).to(device)
        self._forward = forward
        self.preprocessing, self.grid, self.num_prefix_tokens = preprocessing, grid, num_prefix_tokens
        self.blocks: list[Any] = list(model.blocks)  # type: ignore[arg-type]
        self.depth = len(self.blocks)
        self.num_parameters = sum(p.numel() for p in model.parameters())
        first = self.query_keys()[0]
        self.num_heads, self.width = first.query.shape[0], first.query.shape[2]

    def to(self, device: Any) -> PlainBackbone:
        """Move the model; returns itself."""
        self.model.to(device)
        return self

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def preprocess(self, images: Sequence[Any]) -> Tensor:
        """Batch ``(B, 3, H, W)`` from PIL images or uint8 arrays."""
        return preprocess_images(images, self.preprocessing)

    def tokens(
        self, images: Tensor, layers: Sequence[int] = (-1,), at: Literal["output", "block_input"] = "output"
    ) -> list[Tensor]:
        """Tokens of each layer asked for; see `headwise.contracts.Backbone`.

        Nothing in the model asks for gradients, so none are recorded; they are where `Head.attach` makes a part of the
        model trainable, or where the images ask for them.
        """
        if at not in ("output", "block_input"):
            raise InputError(f"at must be 'output' or 'block_input', got {at!r}")
        size = tuple(images.shape)
        if images.ndim != 4 or size[1:] != (3, *self.preprocessing.image_size):
            raise InputError(
                f"{self.name} takes images (B, 3, {', '.join(map(str, self.preprocessing.image_size))}), got {size}"
            )
        wanted = []
        for layer in layers:
            if not -self.depth <= layer < self.depth:
                raise InputError(f"{self.name} has layers 0 to {self.depth - 1}, got {layer}")
            wanted.append(layer % self.depth)
        found: dict[int, Tensor] = {}
        hooks = [self._record(found, layer, at) for layer in set(wanted)]
        try:
            final = self._forward(images.to(next(self.model.parameters())))
        finally:
            for hook in hooks:
                hook.remove()
        if at == "output" and self.depth - 1 in wanted:
            found[self.depth - 1] = final
        return [found[layer] for layer in wanted]

    def _record(self, found: dict[int, Tensor], layer: int, at: str) -> Any:
        def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            found[layer] = args[0]

        def after(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            found[layer] = output

        block = self.blocks[layer]
        return block.register_forward_pre_hook(before) if at == "block_input" else block.register_forward_hook(after)

    def query_keys(self) -> list[QueryKey]:
        """One record for each attention layer, in order."""
        records = [fused_query_key(block, layer, f"blocks.{layer}.attn") for layer, block in enumerate(self.blocks)]
        # timm keeps on the model what its layers share: rotary embeddings and additive biases of the logits
        rope = getattr(self.model, "rope", None)
        if rope is not None:
            records = [replace(record, rotary=rope) for record in records]
        for name in ("shared_rel_pos", "rel_pos_bias"):
            shared = getattr(self.model, name, None)
            if shared is not None:
                records = [replace(record, bias=shared) for record in records]
        return records

    @torch.inference_mode()
    def projections(self, images: Tensor, layers: Sequence[int] | None = None) -> list[Projection]:
        """What the model itself computes in each layer asked for (all by default), in one forward pass."""
        wanted = range(self.depth) if layers is None else layers
        found: dict[int, Projection] = {}
        hooks = [self._project(found, layer) for layer in set(wanted)]
        try:
            self._forward(images.to(self.device))
        finally:
            for hook in hooks:
                hook.remove()
        return [found[layer] for layer in wanted]

    def _project(self, found: dict[int, Projection], layer: int) -> Any:
        attn = self.blocks[layer].attn

        def record(output: Tensor) -> None:
            b, s, _ = output.shape
            q, k, _ = output.view(b, s, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
            # attention without a scale of its own leaves it to torch, which takes this one
            found[layer] = Projection(q, k, float(getattr(attn, "scale", q.shape[-1] ** -0.5)))

        def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            bias = torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))
            record(nn.functional.linear(args[0], attn.qkv.weight, bias))

        def after(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            record(output)

        if getattr(attn, "q_bias", None) is not None:  # timm then takes the weight and never calls the module
            return attn.register_forward_pre_hook(before)
        return attn.qkv.register_forward_hook(after)


def as_norm(module: Any, name: str) -> Norm | None:
    """Record of a normalisation module; identity is None.

    Raises
    ------
    InputError
        A kind of norm that is not understood.
    """
    if module is None or isinstance(module, nn.Identity):
        return None
    kind = type(module).__name__
    if isinstance(module, nn.LayerNorm):
        return Norm("layer", module.weight, module.bias, module.eps)
    if "rms" in kind.lower() and hasattr(module, "weight") and hasattr(module, "eps"):
        return Norm("rms", module.weight, getattr(module, "bias", None), module.eps)
    raise InputError(f"{name} is a {kind}; a LayerNorm, an RMSNorm or an identity was expected")


def fused_query_key(block: Any, layer: int, name: str) -> QueryKey:
    """Record of a layer with ``norm1`` and ``attn.qkv`` (queries, keys, values stacked).

    Raises
    ------
    InputError
        The layer has another structure; says what was found and what was expected.
    """
    attn: Any = getattr(block, "attn", None)
    qkv = getattr(attn, "qkv", None)
    if not isinstance(qkv, nn.Linear) or not hasattr(attn, "num_heads") or not hasattr(block, "norm1"):
        found = (
            type(block).__name__
            if attn is None
            else f"{type(attn).__name__} with {', '.join(n for n, _ in attn.named_children())}"
        )
        raise InputError(
            f"{name}: found {found}; expected a pre-norm layer with norm1 and attn.qkv, one fused linear map"
        )
    heads, width = attn.num_heads, qkv.in_features
    if qkv.out_features % (3 * heads):
        raise InputError(
            f"{name}.qkv has {qkv.out_features} outputs, which {heads} attention heads cannot share in three"
        )
    query, key, _ = qkv.weight.view(3, heads, -1, width)
    query_bias = key_bias = None
    bias = getattr(qkv, "bias", None)
    if bias is not None:
        query_bias, key_bias, _ = bias.view(3, heads, -1)
    elif getattr(attn, "q_bias", None) is not None:
        query_bias = attn.q_bias.view(heads, -1)
    return QueryKey(
        layer,
        name,
        query,
        key,
        query_bias,
        key_bias,
        as_norm(block.norm1, f"blocks.{layer}.norm1"),
        as_norm(getattr(attn, "q_norm", None), f"{name}.q_norm"),
        as_norm(getattr(attn, "k_norm", None), f"{name}.k_norm"),
        scale=float(attn.scale) if hasattr(attn, "scale") else query.shape[1] ** -0.5,
        rotary=getattr(attn, "rope", None) or getattr(attn, "rotary_emb", None),
        bias=getattr(attn, "relative_position_bias_table", None)
        if hasattr(attn, "relative_position_bias_table")
        else getattr(attn, "rel_pos", None),
    )
