"""Protocols and plain records that the rooms share. No logic lives here.

Words used throughout: tokens are ``(n, s, d)`` (samples, tokens, features); the first ``num_prefix`` tokens are prefix
tokens (class token, registers), the others patch tokens in row-major order of ``grid``; a mask is boolean and True
means "may be seen".
"""

from __future__ import annotations

from .attention import AttentionModel, Norm, QueryKey, Rotary, Windows
from .backbones import Backbone, EncodedText, Preprocessing, TextBackbone, TextPreprocessing
from .blocks import Block, FittedGates, GateFamily, GateKind, GateValues, PairGate, TokenTable
from .losses import Loss, Penalty, Rescaled, TargetKind
from .tokens import Progress, Tokens, TokenShape, TokenSource

__all__ = [
    "AttentionModel",
    "Backbone",
    "Block",
    "EncodedText",
    "FittedGates",
    "GateFamily",
    "GateKind",
    "GateValues",
    "Loss",
    "Norm",
    "PairGate",
    "Penalty",
    "Preprocessing",
    "Progress",
    "QueryKey",
    "Rescaled",
    "Rotary",
    "TargetKind",
    "TextBackbone",
    "TextPreprocessing",
    "TokenShape",
    "TokenSource",
    "TokenTable",
    "Tokens",
    "Windows",
]
