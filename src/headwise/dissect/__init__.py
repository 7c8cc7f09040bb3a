"""What every attention head of a backbone does: singular modes of its query-key interaction, with evidence."""

from .dissection import Dissection, dissect
from .evidence import Overlay, overlays
from .faithful import Faithful, check
from .metrics import chance_band, effective_rank, mode_cosines, permuted_weighted_cosine, weighted_cosine
from .modes import Modes, all_modes, modes

__all__ = [
    "Dissection",
    "Faithful",
    "Modes",
    "Overlay",
    "all_modes",
    "chance_band",
    "check",
    "dissect",
    "effective_rank",
    "mode_cosines",
    "modes",
    "overlays",
    "permuted_weighted_cosine",
    "weighted_cosine",
]
