"""Numbers, times and widths as a person reads them. Pure."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from hft.units import E8, NS_PER_MS, NS_PER_S, NS_PER_US

NOTHING: Final = "―"
"""Stands where there is no value."""
SPARKS: Final = "▁▂▃▄▅▆▇█"


def width(text: str) -> int:
    """Columns that the text takes on a screen: an ideograph takes two."""
    return len(text) if text.isascii() else _wide(text)


@lru_cache(maxsize=4_096)
def _wide(text: str) -> int:
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def clean(text: str) -> str:
    """Text of somebody else's without what would move the cursor."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "·" for c in text)


def cut(text: str, columns: int) -> str:
    """At most that many columns; the last one says that something is missing."""
    if width(text) <= columns:
        return text
    if columns <= 0:
        return ""
    kept, room = [], columns - 1
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + "…"


def fit(text: str, columns: int, align: str = "<") -> str:
    """Exactly that many columns, cut or filled."""
    if text.isascii() and len(text) <= columns:
        return text.rjust(columns) if align == ">" else text.ljust(columns)
    missing = columns - width(text)
    if missing < 0:
        text = cut(text, columns)
        missing = columns - width(text)
    return " " * missing + text if align == ">" else text + " " * missing


@lru_cache(maxsize=2_048)
def decimal(value_e8: int, places: int, *, signed: bool = False) -> str:
    """An integer in 1e-8, rounded half up to ``places``, thousands apart."""
    unit = 10 ** (8 - places)
    scaled = (abs(value_e8) + unit // 2) // unit
    whole, fraction = divmod(scaled, 10**places)
    sign = "-" if value_e8 < 0 and scaled else "+" if signed and scaled else ""
    return f"{sign}{whole:,}.{fraction:0{places}d}" if places else f"{sign}{whole:,}"


def money(value_e8: int, *, signed: bool = True) -> str:
    """Money of the quote asset: two decimals, four for less than one."""
    return decimal(value_e8, 2 if abs(value_e8) >= E8 or not value_e8 else 4, signed=signed)


def duration(ns: int) -> str:
    """A time span in the unit that gives it two or three digits; ``NOTHING`` when negative."""
    if ns < 0:
        return NOTHING
    if ns < NS_PER_MS:
        return f"{ns / NS_PER_US:.1f} µs" if ns < 9_950 else f"{ns / NS_PER_US:.0f} µs"
    if ns < NS_PER_S:
        return f"{ns / NS_PER_MS:.1f} ms" if ns < 9_950_000 else f"{ns / NS_PER_MS:.0f} ms"
    return f"{ns / NS_PER_S:.1f} s" if ns < 99_950_000_000 else age(ns)


def age(ns: int) -> str:
    """How long ago, for a person: whole seconds at most, so that a screen stays calm."""
    if ns < 0:
        return NOTHING
    seconds = ns // NS_PER_S
    if seconds < 100:
        return f"{seconds} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_940 else f"{seconds / 3_600:.1f} h"


def feed_age(ns: int) -> str:
    """Age of the market data: whole milliseconds, as it is another one at every look."""
    if ns < 0:
        return "none"
    return f"{ns / NS_PER_MS:.0f} ms" if ns < NS_PER_S else age(ns)


def clock(wall_ns: int) -> str:
    """Time of day, local."""
    return _clock(wall_ns // NS_PER_S)


@lru_cache(maxsize=1_024)
def _clock(wall_s: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(wall_s))


def count(value: float) -> str:
    """A number of things, thousands apart."""
    return f"{value:,.0f}"


def sparkline(values: Sequence[int], columns: int) -> str:
    """The last values as little bars from nothing to the largest; blank where nothing happened."""
    shown = values[-columns:] if columns > 0 else ()
    most = max(shown, default=0)
    if not most:
        return " " * max(columns, 0)
    bars = (
        SPARKS[min(len(SPARKS) - 1, value * len(SPARKS) // (most + 1))] if value else " "
        for value in shown
    )
    return "".join(bars).rjust(columns)


def bar(value: int, most: int, columns: int) -> str:
    """A horizontal bar, at least one column for what is more than nothing."""
    if value <= 0 or most <= 0 or columns <= 0:
        return ""
    return "▒" * max(1, min(columns, value * columns // most))
