"""The plain vision transformer behind the embedded backbone.

Parameter names and shapes are those of ``timm.models.VisionTransformer``, so the embedded weights load there unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["VisionTransformer", "VisionTransformerConfig"]


@dataclass(frozen=True)
class VisionTransformerConfig:
    """Sizes of a plain vision transformer with one class token.

    Parameters
    ----------
    image_size, patch_size : int
        Side of the square input and of one patch, in pixels.
    width, depth, num_heads : int
        Features of a token, number of layers, attention heads of a layer.
    mlp_ratio : float
        Hidden width of the MLP over ``width``.
    """

    image_size: int = 32
    patch_size: int = 4
    width: int = 128
    depth: int = 6
    num_heads: int = 4
    mlp_ratio: float = 4.0

    @property
    def grid(self) -> tuple[int, int]:
        side = self.image_size // self.patch_size
        return side, side


class Attention(nn.Module):
    """Multi-head softmax attention with a fused query, key and value projection."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, s, d = x.shape
        q, k, v = self.qkv(x).view(b, s, 3, self.num_heads, d // self.num_heads).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, s, d))


class Mlp(nn.Module):
    """Two linear maps with an exact GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, config: VisionTransformerConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.attn = Attention(config.width, config.num_heads)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.mlp = Mlp(config.width, int(config.width * config.mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """Non-overlapping patches, one linear map each."""

    def __init__(self, config: VisionTransformerConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch_size, config.patch_size)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """Plain vision transformer: patches, one class token, learned positions, pre-norm layers, a last norm.

    Parameters
    ----------
    config : VisionTransformerConfig
        Sizes.

    Notes
    -----
    Architecture of Dosovitskiy et al., "An image is worth 16x16 words" (arXiv 2010.11929), without a classifier.

    Examples
    --------
    >>> import torch
    >>> vit = VisionTransformer(VisionTransformerConfig())
    >>> vit(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 65, 128])
    """

    def __init__(self, config: VisionTransformerConfig) -> None:
        super().__init__()
        self.config = config
        patches = config.grid[0] * config.grid[1]
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + patches, config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def embed(self, images: Tensor) -> Tensor:
        """Tokens that enter the first layer, (B, 1 + patches, width)."""
        x = torch.cat([self.cls_token.expand(images.shape[0], -1, -1), self.patch_embed(images)], dim=1)
        return x + self.pos_embed

    def forward(self, images: Tensor) -> Tensor:
        """Tokens after the last norm, (B, 1 + patches, width), for images (B, 3, image_size, image_size)."""
        x = self.embed(images)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)
