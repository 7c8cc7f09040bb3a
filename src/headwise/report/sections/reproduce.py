"""Command, seed, settings and versions."""

from __future__ import annotations

import json
from typing import Any

from .. import fmt
from ..check import Arrays, Study

__all__ = ["view"]

SPELLED = {"n_components": "components"}
"""Settings that the command line spells in another way."""


def view(study: Study, arrays: Arrays) -> dict[str, Any]:
    backbone = study.get("backbone") or {}
    settings = [
        (f"--{SPELLED.get(k, k.replace('_', '-'))}", v if isinstance(v, str) else json.dumps(v, ensure_ascii=False))
        for k, v in (study.get("settings") or {}).items()
    ]
    return {
        "command": study.get("command"),
        "seed": study.get("seed"),
        "settings": settings,
        "versions": [(str(k), str(v)) for k, v in (study.get("versions") or {}).items()],
        "backbone": (study.get("head") or {}).get("backbone"),  # of an explanation; a study has it among its data
        "hash": backbone.get("weights_hash"),
        "created": fmt.date(study["created"]) if study.get("created") else None,
    }
