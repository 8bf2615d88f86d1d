"""Styles and themes. A colour never carries a meaning alone: sign or word stands beside it.

Colours are of Okabe and Ito's set, which people with any colour vision tell apart: blue for what
is well or bought, orange for what is wrong or sold. There are ladders down: 256 colours, sixteen,
and none, where bold, reverse and underline remain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from tools.monitor.text import cut, width


class Style(IntEnum):
    """What a piece of text means."""

    PLAIN = 0
    DIM = 1
    BOLD = 2
    TITLE = 3
    """Name of a panel."""
    FOCUS = 4
    """Name and frame of the panel that keys go to."""
    FRAME = 5
    CURSOR = 6
    GOOD = 7
    BAD = 8
    WARN = 9
    BUY = 10
    SELL = 11
    OURS = 12
    PAPER = 13
    DEMO = 14
    LIVE = 15
    KEY = 16
    """A key that does something."""


class Span(NamedTuple):
    """A piece of text in one style."""

    text: str
    style: Style = Style.PLAIN


Line = list[Span]
Row = tuple[tuple[int, Line], ...]
"""A line of the screen in pieces, each with the column it starts at; together they fill it."""


class Theme:
    """What each style looks like: SGR parameters; without any: plain text."""

    def __init__(self, name: str, codes: Mapping[Style, str] | None) -> None:
        self.name = name
        self.is_plain = codes is None
        self._codes = [(codes or {}).get(style, "") for style in Style]
        self._shows_blanks = [_marks_blanks(code) for code in self._codes]

    def paint(self, line: Iterable[Span]) -> str:
        """The line as a terminal wants it."""
        if self.is_plain:
            return "".join([span.text for span in line])
        parts: list[str] = []
        codes, shows_blanks = self._codes, self._shows_blanks
        current = int(Style.PLAIN)
        for text, style in line:
            code = codes[style]
            # Blanks look the same in most styles: no need to change it for them.
            if code != codes[current] and (
                not text.isspace() or shows_blanks[style] or shows_blanks[current]
            ):
                parts.append(f"\x1b[0;{code}m" if code else "\x1b[0m")
                current = style
            parts.append(text)
        if codes[current]:
            parts.append("\x1b[0m")
        return "".join(parts)


def _marks_blanks(code: str) -> bool:
    """Whether a blank in this style looks other than a plain one."""
    words = code.split(";")
    return "7" in words or "4" in words or "48" in words


_ATTRIBUTES: Final = {
    Style.DIM: "2",
    Style.BOLD: "1",
    Style.TITLE: "1",
    Style.FOCUS: "1",
    Style.CURSOR: "7",
    Style.BAD: "1",
    Style.WARN: "1",
    Style.OURS: "1",
    Style.PAPER: "7",
    Style.DEMO: "7",
    Style.LIVE: "1;7",
    Style.KEY: "1",
}
MONO: Final = Theme("mono", {**_ATTRIBUTES, Style.FOCUS: "1;4"})
SIXTEEN: Final = Theme(
    "sixteen",
    {
        **_ATTRIBUTES,
        Style.FOCUS: "1;36",
        Style.FRAME: "90",
        Style.DIM: "90",
        Style.GOOD: "36",
        Style.BAD: "1;33",
        Style.WARN: "33",
        Style.BUY: "36",
        Style.SELL: "33",
        Style.OURS: "1;35",
        Style.PAPER: "1;30;46",
        Style.DEMO: "1;30;45",
        Style.LIVE: "1;30;43",
        Style.KEY: "1;36",
    },
)
_SKY, _ORANGE, _VERMILION, _YELLOW, _PURPLE = (
    "38;5;74",
    "38;5;214",
    "38;5;208",
    "38;5;227",
    "38;5;175",
)
DARK: Final = Theme(
    "dark",
    {
        **_ATTRIBUTES,
        Style.TITLE: "1;38;5;252",
        Style.FOCUS: f"1;{_SKY}",
        Style.FRAME: "38;5;240",
        Style.DIM: "38;5;245",
        Style.GOOD: _SKY,
        Style.BAD: f"1;{_VERMILION}",
        Style.WARN: _YELLOW,
        Style.BUY: _SKY,
        Style.SELL: _ORANGE,
        Style.OURS: f"1;{_PURPLE}",
        Style.PAPER: "1;38;5;16;48;5;74",
        Style.DEMO: "1;38;5;16;48;5;175",
        Style.LIVE: "1;38;5;16;48;5;208",
        Style.KEY: f"1;{_SKY}",
    },
)
_BLUE, _BROWN = "38;5;25", "38;5;130"
LIGHT: Final = Theme(
    "light",
    {
        **_ATTRIBUTES,
        Style.FOCUS: f"1;{_BLUE}",
        Style.FRAME: "38;5;248",
        Style.DIM: "38;5;242",
        Style.GOOD: _BLUE,
        Style.BAD: f"1;{_BROWN}",
        Style.WARN: _BROWN,
        Style.BUY: _BLUE,
        Style.SELL: _BROWN,
        Style.OURS: "1;38;5;90",
        Style.PAPER: "1;38;5;231;48;5;25",
        Style.DEMO: "1;38;5;231;48;5;90",
        Style.LIVE: "1;38;5;231;48;5;130",
        Style.KEY: f"1;{_BLUE}",
    },
)
PLAIN: Final = Theme("plain", None)
"""For pipes and tests: no escape sequence at all."""
THEMES: Final = {theme.name: theme for theme in (DARK, LIGHT, SIXTEEN, MONO)}
"""What ``:theme`` offers."""

_ASCII: Final = str.maketrans(
    {
        **dict.fromkeys("┌┬┐├┼┤└┴┘", "+"),
        **dict.fromkeys("─―", "-"),
        "│": "|", "█": "#", "▒": "=", "←": "<", "·": ".", "…": "~", "µ": "u", "✓": "+", "✗": "x",
        "×": "x", "▏": "|", "▸": ">", "▼": "v", "▲": "^", "✎": "*",
        **dict(zip("▁▂▃▄▅▆▇", "__..--=", strict=True)),
    }
)  # fmt: skip


def to_ascii(text: str) -> str:
    """For a terminal that shows no more than ASCII: column by column the same."""
    return text.translate(_ASCII).encode("ascii", "replace").decode()


def theme_for(colours: int, *, no_colour: bool) -> Theme:
    """The richest theme that a terminal shows."""
    if no_colour or colours < 8:
        return MONO
    return DARK if colours >= 256 else SIXTEEN


def line_width(line: Line) -> int:
    """Columns that a line takes."""
    return sum([width(span.text) for span in line])


def fill(line: Line, columns: int) -> Line:
    """The line at exactly that many columns."""
    used, kept = 0, []
    for span in line:
        room = columns - used
        size = width(span.text)
        if size > room:
            if room > 0:
                text = cut(span.text, room)
                kept.append(Span(text, span.style))
                used += width(text)
            break
        kept.append(span)
        used += size
    if used < columns:
        kept.append(Span(" " * (columns - used)))
    return kept


def flat(row: Row) -> Line:
    """The pieces as one line."""
    return [span for _, line in row for span in line]


def restyle(line: Line, style: Style) -> Line:
    """The same text, all in one style."""
    return [Span("".join(span.text for span in line), style)]
