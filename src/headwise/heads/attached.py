"""A backbone and a head as one module: from pixels to outputs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..checks import takes_texts
from ..contracts import Backbone
from ..errors import InputError
from .export import write_onnx
from .head import Head
from .origin import place

__all__ = ["ImageModel", "attach"]

BATCH = 64  # images in one pass of `predict`


class ImageModel(nn.Module):
    """From images to the outputs of a head, through its backbone; made by `Head.attach`.

    Attributes
    ----------
    backbone : nn.Module
        The network of the backbone.
    head : Head
    classes : list or None
        What the outputs stand for: names for people where the head has them; None for numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from headwise.backbones import load_backbone
    >>> from headwise.heads import HeadClassifier
    >>> backbone = load_backbone("embedded")
    >>> images = np.random.default_rng(0).integers(0, 256, size=(8, 32, 32, 3), dtype=np.uint8)
    >>> tokens = backbone.tokens(backbone.preprocess(images))[0]
    >>> fitted = HeadClassifier("linear_prefix", beta=0.1, num_prefix=1, grid=(8, 8)).fit(tokens, [0, 1] * 4)
    >>> model = fitted.head_.attach(backbone)
    >>> model(model.preprocess(images)).shape
    torch.Size([8, 2])
    """

    def __init__(self, backbone: Backbone, head: Head, layer: int, at: Any, trainable: bool) -> None:
        super().__init__()
        # copies: to train or to move this model must not change the frozen backbone, whose hash would be false then
        self._adapter = copy.deepcopy(backbone)
        self.backbone: nn.Module = self._adapter.model
        self.head = head.to_module()
        self.layer, self.at, self.trainable = layer, at, trainable
        if trainable:
            self.head.certificate = self.head.training_data = None  # they are about weights that stay
        self.requires_grad_(trainable).eval()

    @property
    def classes(self) -> list[Any] | None:
        return self.head.class_names or self.head.classes

    def train(self, mode: bool = True) -> ImageModel:
        """As in any module; one that is not trainable stays in evaluation mode, as its backbone was for the tokens."""
        return super().train(mode and self.trainable)

    def preprocess(self, images: Sequence[Any]) -> Tensor:
        """Batch ``(B, 3, H, W)`` for `forward` from PIL images or uint8 arrays ``(H, W)`` or ``(H, W, 3)``."""
        return self._adapter.preprocess(images)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs ``(B, c)`` of preprocessed images ``(B, 3, H, W)``."""
        return self.head(self._adapter.tokens(images, layers=(self.layer,), at=self.at)[0])

    @torch.inference_mode()
    def predict(self, images: Sequence[Any]) -> list[Any] | NDArray[Any]:
        """What the head says of PIL images or uint8 arrays.

        Returns
        -------
        list or ndarray
            The most probable class of each image, or a list of those of its tokens. Where the head has no classes: the
            means of its outputs (numbers, rates, probabilities of labels), ``(n, c)`` or ``(n, s, c)``.
        """
        if not len(images):
            raise InputError("no images were given")
        chunks = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        means = self.head.link(torch.cat([self(self.preprocess(chunk)) for chunk in chunks])).cpu()
        if self.classes is None:
            return means.numpy()
        best = means.argmax(-1) if means.shape[-1] > 1 else (means[..., 0] > 0.5).long()
        names = np.empty(len(self.classes), dtype=object)
        names[:] = self.classes
        found: list[Any] = names[best.numpy()].tolist()
        return found

    def to_onnx(self, path: str | Path) -> None:
        """Write an ONNX file: input "images" ``(n, 3, H, W)``, preprocessed, float32; output "outputs" ``(n, c)``.

        See `Head.to_onnx`.
        """
        images = torch.zeros(2, 3, *self._adapter.preprocessing.image_size)
        write_onnx(copy.deepcopy(self).float().cpu(), {"images": images}, path, self.classes)


def attach(head: Head, backbone: Backbone, layer: int | None = None, trainable: bool = False) -> ImageModel:
    """One module from pixels; see `Head.attach`."""
    if takes_texts(backbone):
        raise InputError(
            f"{backbone.name} takes texts, and attach makes a module from pixels; headwise.predict runs a head on texts"
        )
    if not isinstance(backbone, Backbone):
        raise InputError(
            f"a backbone is needed, got {type(backbone).__name__}; make one with headwise.load_backbone(name)"
        )
    origin = head.facts.origin
    layer, at, differs = place(origin, backbone, layer)
    if differs and origin is not None:
        raise InputError(
            f"backbone {backbone.name} does not give the tokens of this head ({differs}); attach it to "
            f"{origin['backbone']} with weights {str(origin['weights_hash'])[:12]}, at the head's own layer"
        )
    head.check(backbone.num_prefix_tokens + backbone.grid[0] * backbone.grid[1], backbone.width)
    return ImageModel(backbone, head, layer, at, trainable)
