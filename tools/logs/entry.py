"""One entry of the log: what stands in it, and how a person sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from hft.units import NS_PER_S, NS_PER_US
from tools.terminal import paint

LEVELS: Final = {"info": 20, "warning": 30, "error": 40}
"""Rising; a critical line counts as an error."""
_COLOURS: Final = {"warning": "yellow", "error": "red"}
_SHOWN_FIRST: Final = ("time", "level", "source", "event", "text")
_SECRET: Final = re.compile(
    r"(?i)(\b(?:signature|listenkey|api[-_]?key|x-mbx-apikey|secret|password|private[-_]?key)"
    r"[\"']?\s*[=:]\s*[\"']?)[^\s&\"',;]+"
)
_SECRET_NAMES: Final = re.compile(r"(?i)signature|listenkey|api_?key|secret|password|private_?key")
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END[^-]*-----|\Z)", re.S
)
HIDDEN: Final = "***"


def timestamp(wall_ns: int) -> str:
    """Wall clock, UTC, as in the file: ``2026-01-31T12:00:00.123Z``."""
    seconds, rest_ns = divmod(wall_ns, NS_PER_S)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // NS_PER_US)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def redact(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry without what looks like a key, a signature or a password."""
    return {
        name: HIDDEN if _SECRET_NAMES.search(name) else _redact_value(value)
        for name, value in entry.items()
    }


def _redact_value(value: Any) -> Any:
    if isinstance(value, str):
        return _PRIVATE_KEY.sub(HIDDEN, _SECRET.sub(rf"\g<1>{HIDDEN}", value))
    if isinstance(value, Mapping):
        return redact(value)
    if isinstance(value, list | tuple):
        return [_redact_value(one) for one in value]
    return value


def render(entry: Mapping[str, Any]) -> str:
    """One line for a person: when, how bad, who, what, and the facts."""
    level = str(entry.get("level", ""))
    shown = level.upper()
    facts = [
        f"{name}={_fact(value)}"
        for name, value in entry.items()
        if name not in _SHOWN_FIRST and value not in ("", None)
    ]
    text = str(entry.get("text", "")).replace("\n", " ⏎ ")
    parts = [
        str(entry.get("time", "")).replace("T", " "),
        paint(f"{shown:<7}", _COLOURS[level]) if level in _COLOURS else f"{shown:<7}",
        f"{entry.get('source', '')!s:<10}",
        f"{entry.get('event', '')!s}" + (f": {text}" if text else ""),
        *facts,
    ]
    return " ".join(parts)


def _fact(value: Any) -> str:
    text = str(value)
    return repr(text) if not text or re.search(r"\s", text) else text
