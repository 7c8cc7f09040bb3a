"""Numbers as people read them: significant digits, per cent, durations. None and NaN read as an en dash."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

__all__ = [
    "MISSING",
    "THIN",
    "at_least",
    "at_most",
    "count",
    "date",
    "finite",
    "fixed",
    "percent",
    "percent_at_most",
    "points",
    "range_percent",
    "seconds",
    "short",
    "signed",
    "significant",
]

MISSING = "–"
MINUS = "−"
NO_BREAK = "\u00a0"
THIN = "\u202f"  # narrow no-break space, keeps the unit with its number
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def finite(value: Any) -> float | None:
    """``value`` as a finite float, None where it is missing, not a number or infinite."""
    if value is None or isinstance(value, (str, bytes)):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def significant(value: Any, digits: int = 3) -> str:
    """A number with ``digits`` significant digits; very small and very large ones as a power of ten.

    Examples
    --------
    >>> significant(0.012345), significant(0.0000042), significant(None)
    ('0.0123', '4.20×10⁻⁶', '–')
    """
    number = finite(value)
    if number is None:
        return MISSING
    if number == 0:
        return "0"
    mantissa, exponent = f"{number:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -4 <= power < 6:
        text = f"{float(f'{number:.{digits - 1}e}'):,.{max(0, digits - 1 - power)}f}"
    else:
        text = f"{mantissa}×10{str(power).translate(_SUPERSCRIPTS)}"
    return text.replace("-", MINUS)


def short(value: Any, digits: int = 3) -> str:
    """As `significant`, without trailing zeros: what a setting such as beta reads best as.

    Examples
    --------
    >>> short(0.2), short(0.00334), short(2e-6)
    ('0.2', '0.00334', '2×10⁻⁶')
    """
    head, times, power = significant(value, digits).partition("×")
    if "." in head:
        head = head.rstrip("0").rstrip(".")
    return head + times + power


def fixed(value: Any, decimals: int = 3) -> str:
    """A number with a fixed number of decimals, for columns that are compared."""
    number = finite(value)
    return MISSING if number is None else f"{number:.{decimals}f}".replace("-", MINUS)


def signed(value: Any, decimals: int = 2) -> str:
    """A number with its sign and a fixed number of decimals: ``+0.31``, ``−0.02``, ``0.00``."""
    number = finite(value)
    if number is None:
        return MISSING
    text = f"{number:+.{decimals}f}"
    if float(text) == 0:
        text = text[1:]
    return text.replace("-", MINUS)


def percent(value: Any, decimals: int = 1) -> str:
    """A fraction as per cent: 0.9722 is ``97.2 %``. Small fractions keep two significant digits."""
    number = finite(value)
    if number is None:
        return MISSING
    scaled = 100 * number
    if scaled != 0 and abs(scaled) < 0.5 * 10**-decimals:
        return f"{significant(scaled, 2)}{THIN}%"
    return f"{scaled:.{decimals}f}{THIN}%".replace("-", MINUS)


def at_most(value: Any, digits: int = 3) -> str:
    """As `significant`, rounded up: a proved upper bound must not be printed smaller than it is.

    Examples
    --------
    >>> at_most(0.00012301, 2), at_least(0.2141589, 4)
    ('0.00013', '0.2141')
    """
    return significant(_towards(value, digits, ROUND_CEILING), digits)


def at_least(value: Any, digits: int = 3) -> str:
    """As `significant`, rounded down, for proved lower bounds."""
    return significant(_towards(value, digits, ROUND_FLOOR), digits)


def percent_at_most(value: Any) -> str:
    """A fraction as per cent, rounded up to two significant digits: 0.000741 is ``0.075 %``."""
    number = finite(value)
    return MISSING if number is None else f"{at_most(100 * number, 2)}{THIN}%"


def _towards(value: Any, digits: int, how: str) -> float | None:
    number = finite(value)
    if not number:
        return number
    exact = Decimal(repr(number))
    return float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1), rounding=how))


def points(value: Any, decimals: int = 1) -> str:
    """A difference of fractions in percentage points, signed: 0.012 is ``+1.2``."""
    number = finite(value)
    return MISSING if number is None else signed(100 * number, decimals)


def range_percent(low: Any, high: Any) -> str:
    """An interval of fractions: ``95.1 to 97.8 %``."""
    if finite(low) is None or finite(high) is None:
        return MISSING
    return f"{percent(low).removesuffix(THIN + '%')} to {percent(high)}"


def count(value: Any) -> str:
    """An integer with thousands separators; from a million on, in millions with three digits."""
    number = finite(value)
    if number is None:
        return MISSING
    if abs(number) >= 1e6:
        return f"{significant(number / 1e6)}{THIN}M"
    return f"{round(number):,}".replace("-", MINUS)


def seconds(value: Any) -> str:
    """A duration: ``8 ms``, ``1.4 s``, ``23 s``, ``3 min 20 s``, ``2 h 05 min``."""
    number = finite(value)
    if number is None or number < 0:
        return MISSING
    if number < 0.0995:
        return f"{round(1000 * number)}{THIN}ms"
    if number < 9.95:
        return f"{number:.1f}{THIN}s"
    whole = round(number)
    if whole < 60:
        return f"{whole}{THIN}s"
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60:02d}{THIN}s"
    return f"{whole // 3600}{THIN}h {whole % 3600 // 60:02d}{THIN}min"


def date(text: Any) -> str:
    """An ISO date and time as ``21 November 2026, 04:46 UTC``, to be broken at the comma; anything else unchanged."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    zone = f"{NO_BREAK}{moment.tzname()}" if moment.tzname() else ""
    return f"{moment.day}{NO_BREAK}{moment:%B}{NO_BREAK}{moment:%Y}, {moment:%H:%M}{zone}"
