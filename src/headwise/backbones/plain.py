"""What vision transformers of this package, of timm and of Hugging Face have in common as backbones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from ..contracts import Preprocessing, QueryKey
from ..errors import InputError
from .images import preprocess_images
from .reading import Place, read_attention
from .wrapped import WrappedModule

__all__ = ["PlainBackbone", "VisionBackbone"]


class VisionBackbone(WrappedModule):
    """A vision transformer, frozen: in evaluation mode, without gradients.

    Parameters
    ----------
    name : str
    model : nn.Module
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
        self.preprocessing, self.grid, self.num_prefix_tokens = preprocessing, grid, num_prefix_tokens
        super().__init__(name, model.eval().requires_grad_(False).to(device), description, forward)
        self.weights_hash = weights_hash

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
        return super().tokens(images, layers, at)

    def _check_inputs(self, inputs: Any) -> None:
        size = self.preprocessing.image_size
        if not isinstance(inputs, Tensor) or inputs.ndim != 4 or tuple(inputs.shape[1:]) != (3, *size):
            found = tuple(inputs.shape) if isinstance(inputs, Tensor) else f"a {type(inputs).__name__}"
            raise InputError(f"{self.name} takes images (B, 3, {', '.join(map(str, size))}), got {found}")


class PlainBackbone(VisionBackbone):
    """A vision backbone whose layers are ``model.blocks``, each with ``norm1`` and ``attn`` behind it."""

    def query_keys(self) -> list[QueryKey]:
        """One record for each attention layer, in order."""
        return [self._layer(number, block) for number, block in enumerate(self.model.blocks)]  # type: ignore[arg-type]

    def _layer(self, number: int, block: Any) -> QueryKey:
        name, attn = f"blocks.{number}.attn", getattr(block, "attn", None)
        if isinstance(attn, nn.Module) and hasattr(block, "norm1"):
            record = read_attention(Place(self.model, name), number)
            if record is not None:
                return record
        found = (
            type(block).__name__
            if attn is None
            else f"{type(attn).__name__} with {', '.join(n for n, _ in attn.named_children())}"
        )
        raise InputError(
            f"{name}: found {found}; expected a pre-norm layer with norm1 and attn.qkv, one fused linear map"
        )
