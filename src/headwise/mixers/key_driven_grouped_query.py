"""Grouped queries allotted by the norms of the key heads of each batch."""

from __future__ import annotations

import torch
from torch import Tensor

from . import MIXERS
from .allotting import AllottedQuery, allot, key_norms, squeeze_the_largest

__all__ = ["KeyDrivenGroupedQuery"]


@MIXERS.register("key_driven_grouped_query")
class KeyDrivenGroupedQuery(AllottedQuery):
    r"""Grouped queries (KDGQA) where key heads of larger norm serve more query heads.

    .. math:: n_g = \sum_b \|K_{b,g}\|_F, \quad s = \frac{n - \min n}{\max n - \min n}, \quad
              a = \mathrm{round}\big(H s / \textstyle\sum_g s_g\big)

    While a sums to more than H, the first largest entry loses one; while to less, the first smallest gains one. Query
    heads in their order go to key heads in theirs: the first :math:`a_1` to key head 1, and so on. Options are those
    of `GroupedQuery`.

    Notes
    -----
    Khan et al., "Beyond Uniform Query Distribution: Key-Driven Grouped Query Attention" (arXiv 2408.08454). The sum
    over the batch, the rounding and the repair are those of the authors' code. Where all norms are equal, or not
    finite, the formula is 0/0 and the code never ends; here the allotment is then uniform. Tokens that are not real do
    not count.

    The weakest key head usually serves none, and its keys and values learn nothing. The allotment depends on the whole
    batch, later tokens included: outputs of a sample depend on its batch, and it cannot be causal. No gradient passes
    through it.

    Cost: FLOPs of `GroupedQuery`; keys and values are copied once for each query head.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("key_driven_grouped_query", dim=24, num_heads=6, num_kv_heads=3)
    >>> x = torch.randn(2, 5, 24)
    >>> mixer(x).shape, int(mixer.allotment(x).sum())
    (torch.Size([2, 5, 24]), 6)
    """

    name = "key_driven_grouped_query"

    def allotment(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Query heads that each key head serves in this batch, whole numbers ``(num_kv_heads,)``."""
        self._check_mask(x, mask)
        return self._allot(self.heads(x)[1], mask)

    def _allot(self, k: Tensor, mask: Tensor | None) -> Tensor:
        norms = key_norms(k, mask if mask is not None and mask.ndim == 2 else None)
        low, high = torch.aminmax(norms)
        return allot((norms - low) / (high - low), self.config.num_heads, squeeze_the_largest)
