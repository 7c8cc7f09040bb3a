"""headwise: certified heads on frozen transformers, and what the attention heads of the backbone do.

Names are imported when first used, so that ``import headwise`` is quick.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .backbones import list_backbones, load_backbone
    from .dissect import Dissection, dissect
    from .errors import ClaimError, HeadwiseError, InputError
    from .forecast import Forecast, forecast
    from .gates.attention_maps import AttentionMaps
    from .heads import (
        Atom,
        Atoms,
        BetaPath,
        Conditioner,
        GateClusters,
        Head,
        HeadClassifier,
        HeadClassifierCV,
        HeadRegressor,
        HeadRegressorCV,
        ImageModel,
        Measure,
        PartSpec,
        PathPoint,
        ReluHead,
        ShrinkageRegressor,
        Verification,
        evaluate,
        paired_difference,
        reliability,
        relu,
        verify,
    )
    from .solvers import Certificate, Status
    from .study import Explanation, Exploration, Study, explain, explore, predict, study
    from .tokens import Augmentation, TokenStore, extract, open_data

_HOMES = {
    "backbones": ("list_backbones", "load_backbone"),
    "dissect": ("Dissection", "dissect"),
    "errors": ("ClaimError", "HeadwiseError", "InputError"),
    "forecast": ("Forecast", "forecast"),
    "gates.attention_maps": ("AttentionMaps",),
    "heads": (
        "Atom",
        "Atoms",
        "BetaPath",
        "Conditioner",
        "GateClusters",
        "Head",
        "HeadClassifier",
        "HeadClassifierCV",
        "HeadRegressor",
        "HeadRegressorCV",
        "ImageModel",
        "Measure",
        "PartSpec",
        "PathPoint",
        "ReluHead",
        "ShrinkageRegressor",
        "Verification",
        "evaluate",
        "paired_difference",
        "relu",
        "reliability",
        "verify",
    ),
    "solvers": ("Certificate", "Status"),
    "study": ("Explanation", "Exploration", "Study", "explain", "explore", "predict", "study"),
    "tokens": ("Augmentation", "TokenStore", "extract", "open_data"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Atom",
    "Atoms",
    "AttentionMaps",
    "Augmentation",
    "BetaPath",
    "Certificate",
    "ClaimError",
    "Conditioner",
    "Dissection",
    "Explanation",
    "Exploration",
    "Forecast",
    "GateClusters",
    "Head",
    "HeadClassifier",
    "HeadClassifierCV",
    "HeadRegressor",
    "HeadRegressorCV",
    "HeadwiseError",
    "ImageModel",
    "InputError",
    "Measure",
    "PartSpec",
    "PathPoint",
    "ReluHead",
    "ShrinkageRegressor",
    "Status",
    "Study",
    "TokenStore",
    "Verification",
    "__version__",
    "dissect",
    "evaluate",
    "explain",
    "explore",
    "extract",
    "forecast",
    "list_backbones",
    "load_backbone",
    "open_data",
    "paired_difference",
    "predict",
    "reliability",
    "relu",
    "study",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)
    if name in _rooms():
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'headwise' has no attribute {name!r}")


def _rooms() -> list[str]:
    """Sub-packages and modules: ``headwise.tokens`` is there without an import of its own."""
    return [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_rooms()})


class _Package(ModuleType):
    """Lets ``headwise.study``, ``.dissect`` and ``.forecast`` be the functions although modules have the same names.

    Importing a submodule binds it in its package; for these three the function of the same name is bound instead.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in __all__:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
