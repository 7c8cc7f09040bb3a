"""What every attention head of a backbone does: singular modes of its query-key interaction, with evidence."""

from .cause import Effect, LayerEffect, effect
from .compare import Comparison, LayerComparison, compare
from .dissection import Dissection, Evidence, dissect
from .editing import edited
from .evidence import Overlay, overlays
from .example_pass import top_examples
from .examples import Example, Examples, load_examples, save_examples
from .faithful import Faithful, check
from .matching import MatchedHeads
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
from .odd_drawing import odd_images
from .odd_images import OddImage, OddImages, read_odd_images
from .odd_one_out import OddOneOut, odd_one_out
from .projections import mode_maps
from .search import ExampleSearch
from .shares import variance_shares
from .sinks import Served, Sinks, high_norm_tokens
from .texts import Quotation, Quote, Vocabulary, quotations, vocabulary

__all__ = [
    "Comparison",
    "Dissection",
    "Effect",
    "Evidence",
    "Example",
    "ExampleSearch",
    "Examples",
    "Faithful",
    "LayerComparison",
    "LayerEffect",
    "MatchedHeads",
    "Modes",
    "OddImage",
    "OddImages",
    "OddOneOut",
    "Overlay",
    "Quotation",
    "Quote",
    "Served",
    "Sinks",
    "Vocabulary",
    "all_modes",
    "chance_band",
    "check",
    "compare",
    "dissect",
    "edited",
    "effect",
    "effective_rank",
    "high_norm_tokens",
    "load_examples",
    "mode_cosines",
    "mode_maps",
    "modes",
    "odd_images",
    "odd_one_out",
    "overlays",
    "permuted_weighted_cosine",
    "quotations",
    "read_odd_images",
    "save_examples",
    "subspace_cosines",
    "subspaces",
    "symmetric_share",
    "top_examples",
    "variance_shares",
    "vocabulary",
    "weighted_cosine",
    "weighted_cosine_band",
]
