"""UniFormer's global relation aggregator: softmax attention, its heads given by their width."""

from __future__ import annotations

from dataclasses import dataclass

from . import MIXERS
from .options import MixerConfig, check_divides
from .softmax import Softmax

__all__ = ["GlobalRelation", "GlobalRelationConfig"]


@dataclass(frozen=True)
class GlobalRelationConfig(MixerConfig):
    """Options of `GlobalRelation`.

    Parameters
    ----------
    head_dim : int
        Width of an attention head; divides ``dim``. Published models differ in it (64, or 32 in the small one with a
        convolutional stem), and their weights load with either.
    qkv_bias : bool
        Biases of queries, keys and values.
    """

    head_dim: int = 64
    qkv_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divides(self, "head_dim", "dim")

    @property
    def num_heads(self) -> int:
        """Attention heads."""
        return self.dim // self.head_dim


@MIXERS.register("global_relation")
class GlobalRelation(Softmax):
    r"""Tokens gather all tokens by an affinity that depends on what they hold.

    .. math::

        Y = \mathrm{concat}_n(A_n V_n)\, U + b_U, \qquad
        A_n[i, j] = \frac{\exp(Q_n[i] \cdot K_n[j] / \sqrt d)}{\sum_{j'} \exp(Q_n[i] \cdot K_n[j'] / \sqrt d)}

    with d the width of an attention head. This is `headwise.mixers.softmax.Softmax` under UniFormer's name and with its
    way of saying how many attention heads there are; weights go from one to the other as they are.

    Notes
    -----
    Li et al., "UniFormer: Unifying Convolution and Self-attention for Visual Recognition" (arXiv 2201.09450): the
    multi-head relation aggregator of its last two stages, with the biases of the official code. The layer norm before
    it, the residual, LayerScale and the dynamic position embedding belong to the block.

    Cost: ``8 N D^2 + 4 N^2 D`` FLOPs.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("global_relation", dim=8, head_dim=4)
    >>> mixer(torch.randn(1, 3, 8)).shape, mixer.config.num_heads
    (torch.Size([1, 3, 8]), 2)
    """

    name = "global_relation"
    Config = GlobalRelationConfig
