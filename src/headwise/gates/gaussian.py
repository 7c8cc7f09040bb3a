"""The gates of gated ReLU: where a fixed Gaussian atom of the same block would be active."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from ..checks import check_whole
from ..contracts import Block, GateKind, GateValues, TokenShape
from ..errors import InputError
from . import GATES
from .distinct import distinct

__all__ = ["Gaussian", "GaussianGates"]


class GaussianGates:
    """``D_g = 1{scores of the fixed atom h_g >= 0}`` for the block's own scores: ``X H X^T``, ``X h``, ``H X`` ..."""

    def __init__(self, block: Block, atoms: Tensor) -> None:
        self.block, self.atoms, self.count = block, atoms, len(atoms)

    def open(self, tokens: Tensor, index: int) -> Tensor:
        """Boolean mask of gate ``index``."""
        return self.block.scores(tokens, self.atoms[index].to(tokens)) >= 0

    def values(self, tokens: Tensor, index: int) -> GateValues:
        return self.open(tokens, index).to(tokens.dtype)

    def tensors(self) -> dict[str, Tensor]:
        return {"atoms": self.atoms}


@GATES.register("gaussian")
class Gaussian:
    """Dense Gaussian gates, the sampled activation patterns of a ReLU network of the same block.

    Notes
    -----
    Sahiner et al., arXiv 2205.08078; Mishkin, Sahiner and Pilanci, arXiv 2202.01331. A larger number with the same seed
    contains the smaller one. Patterns that are equal on all training tokens are kept once.

    Examples
    --------
    >>> import torch
    >>> from headwise.blocks.mlp import Mlp
    >>> from headwise.contracts import TokenShape
    >>> shape, tokens = TokenShape(3, 4), torch.randn(8, 3, 4, dtype=torch.float64)
    >>> gates = Gaussian().fit(Mlp(shape, gated=True), shape, [tokens], count=5, seed=0)
    >>> gates.values(tokens, 0).shape
    torch.Size([8, 3])
    """

    name = "gaussian"
    kinds: tuple[GateKind, ...] = ("token", "feature", "pair")
    raw = False

    def fit(self, block: Block, shape: TokenShape, tokens: Iterable[Tensor], count: int, seed: int) -> GaussianGates:
        check_whole("num_gates", count, least=1)
        rng = np.random.default_rng(seed)
        # one draw a gate, so that fewer gates are the first of more
        atoms = torch.from_numpy(np.stack([rng.standard_normal(block.u_shape) for _ in range(count)]))
        gates = GaussianGates(block, atoms)
        keep = distinct(gates.open, tokens, count)
        if not keep:
            raise InputError(f"none of {count} gaussian gates is open on any training token; try another seed")
        return GaussianGates(block, atoms[keep])

    def restore(self, block: Block, shape: TokenShape, tensors: Mapping[str, Tensor]) -> GaussianGates:
        return GaussianGates(block, tensors["atoms"])
