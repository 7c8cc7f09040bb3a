"""Where the time went."""

from __future__ import annotations

from typing import Any

from .. import fmt
from ..check import Arrays, Study

__all__ = ["view"]


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    steps = [
        (str(t.get("step")), s) for t in study.get("timings") or [] if (s := fmt.finite(t.get("seconds"))) is not None
    ]
    total = sum(s for _, s in steps)
    if total <= 0:
        return None
    longest_step, longest = max(steps, key=lambda pair: pair[1])
    where = f" on {study['device']}" if study.get("device") else ""
    share = fmt.percent(longest / total, 0)
    return {
        "rows": [{"step": step, "seconds": fmt.seconds(s), "width": round(100 * s / longest, 2)} for step, s in steps],
        "total": fmt.seconds(total),
        "reading": f"{fmt.seconds(total)} in all{where}; the longest step was “{longest_step}” ({share}).",
    }
