"""What every attention head of a backbone does: singular modes of its query-key interaction, with evidence."""

from .capture import check_logits
from .dissection import Dissection, dissect
from .evidence import Overlay, overlays
from .metrics import chance_band, effective_rank, mode_cosines, permuted_weighted_cosine, weighted_cosine
from .modes import Modes, all_modes, modes

__all__ = [
    "Dissection",
    "Modes",
    "Overlay",
    "all_modes",
    "chance_band",
    "check_logits",
    "dissect",
    "effective_rank",
    "mode_cosines",
    "modes",
    "overlays",
    "permuted_weighted_cosine",
    "weighted_cosine",
]
