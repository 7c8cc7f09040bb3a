"""What every attention head of a backbone does: singular modes of its query-key interaction, with evidence."""

from .dissection import Dissection, Evidence, dissect
from .evidence import Overlay, overlays
from .faithful import Faithful, check
from .metrics import (
    chance_band,
    effective_rank,
    mode_cosines,
    permuted_weighted_cosine,
    subspace_cosines,
    subspaces,
    symmetric_share,
    weighted_cosine,
    weighted_cosine_band,
)
from .modes import Modes, all_modes, modes
from .shares import variance_shares
from .sinks import Served, Sinks, high_norm_tokens

__all__ = [
    "Dissection",
    "Evidence",
    "Faithful",
    "Modes",
    "Overlay",
    "Served",
    "Sinks",
    "all_modes",
    "chance_band",
    "check",
    "dissect",
    "effective_rank",
    "high_norm_tokens",
    "mode_cosines",
    "modes",
    "overlays",
    "permuted_weighted_cosine",
    "subspace_cosines",
    "subspaces",
    "symmetric_share",
    "variance_shares",
    "weighted_cosine",
    "weighted_cosine_band",
]
