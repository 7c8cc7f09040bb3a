"""How a linear probe learns: forecast from the training samples, and as measured where the probe was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import fmt
from ..check import Arrays, Study
from ..figures.learning import learning_chart

__all__ = ["view"]

HARDLY = 0.03
"""Share of the error below which a change by twice the samples is called none."""

LIMITS = (
    "This is about linear probes under the squared error, trained by gradient descent; other heads, and accuracy, may "
    "fare differently."
)

Curve = Mapping[str, Any]


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    found = study.get("forecast")
    if not found:
        return None
    if found.get("refused"):
        return {"panels": [], "rows": [], "reading": f"No forecast was made: {found['refused']}."}
    curves = found["curves"]
    return {
        "panels": [_panel(curve) for curve in curves],
        "rows": [_row(curve) for curve in curves],
        "measured": any(curve.get("measured") for curve in curves),
        "reading": " ".join([*_modes(found), _samples(curves[0]), _agreement(curves), LIMITS]),
    }


def _panel(curve: Curve) -> Any:
    measured, best = curve.get("measured") or {}, curve["best"]
    stop = best["time"], best["error"]
    title = f"Error of a probe of {_layers(curve)}"
    return learning_chart(title, curve["times"], curve["held_out"], curve["training"], stop, measured.get("held_out"))


def _layers(curve: Curve) -> str:
    depth = curve["depth"]
    return {1: "one layer", 2: "two layers"}.get(depth, f"{depth} layers")


def _row(curve: Curve) -> dict[str, str]:
    measured = curve.get("measured") or {}
    seen = measured.get("best") or {}
    return {
        "name": _layers(curve),
        "time": fmt.significant(curve["best"]["time"]),
        "seen_time": fmt.significant(seen.get("time")),
        "error": fmt.fixed(curve["best"]["error"]),
        "seen_error": fmt.fixed(seen.get("error")),
        "doubled": fmt.fixed(curve["doubled"]["error"]),
        "r2": fmt.fixed(measured.get("r2")),
    }


def _modes(found: Mapping[str, Any]) -> list[str]:
    spectrum = found["spectrum"]
    seen, count, kept = spectrum["visible_modes"], len(spectrum["values"]), spectrum["directions"]
    given = f"With {fmt.count(spectrum['samples'])} training samples, and as features {found['features']}"
    if kept < spectrum["features"]:
        given += f" (the {fmt.count(kept)} directions of most variance)"
    if not seen and not spectrum["hidden_share"]:
        return [f"{given}, nothing learnable is visible: labels drawn at random would look the same."]
    if not seen:
        said = "no single mode of the labels stands above the noise, but together they hold a signal"
    elif count == 1:
        said = "the one mode of the labels stands above the noise"
    else:
        said = f"{seen} of {count} modes of the labels {'stands' if seen == 1 else 'stand'} above the noise"
    return [
        f"{given}, {said} (a mode is one way in which labels and features go together).",
        f"A linear probe sees {fmt.percent(spectrum['signal_share'], 0)} of the labels' variance as signal; to it the "
        "rest is noise. Errors are shares of that variance: 1 is the error of always giving the class frequencies.",
    ]


def _samples(curve: Curve) -> str:
    best, twice = curve["best"], curve["doubled"]["error"]
    if not best["time"]:
        return f"The probe of {_layers(curve)} is best not trained at all."
    said = (
        f"The probe of {_layers(curve)} is best stopped at time {fmt.short(best['time'])}, with an error of "
        f"{fmt.fixed(best['error'])} on unseen samples"
    )
    if twice > (1 - HARDLY) * best["error"]:
        return f"{said}; twice the samples of the same kind would change little ({fmt.fixed(twice)})."
    return f"{said}; with twice the samples of the same kind {fmt.fixed(twice)} is forecast."


def _agreement(curves: list[Curve]) -> str:
    seen = [curve for curve in curves if curve.get("measured")]
    if not seen:
        return "The probes themselves were not trained: that would have taken too long beside the rest."
    n = fmt.count(seen[0]["measured"]["samples"])
    said = f"Trained, and measured on the {n} validation samples, "
    each = [
        f"the probe of {_layers(c)} comes to {fmt.fixed(c['measured']['best']['error'])} at time "
        f"{fmt.short(c['measured']['best']['time'])}"
        for c in seen
    ]
    return f"{said}{' and '.join(each)}."
