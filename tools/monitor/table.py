"""Rows under a heading: columns that fit, a cursor, a filter, an order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar

from tools.monitor.style import Line, Span, Style, fill, restyle
from tools.monitor.text import fit, width

Row = TypeVar("Row")
GAP: Final = 1
REST_MIN: Final = 12
"""Columns that are worth giving to text which is cut."""
_BETWEEN: Final = " " * GAP


class Column(NamedTuple, Generic[Row]):
    """One column; those of a low ``rank`` stay when there is little room."""

    title: str
    cell: Callable[[Row], Span]
    rank: int = 1
    width: int = 0
    """Fixed for what changes with every look; 0: as wide as its content."""
    align: str = "<"
    order: Callable[[Row], Any] | None = None
    """What to sort by; None: the text."""
    takes_rest: bool = False
    """Wants ``width``, is content with less, and takes all the room that is left."""


@dataclass(slots=True)
class View:
    """What a person has chosen for one table."""

    cursor: int = 0
    top: int = 0
    sort: int = -1
    """Number of the column to sort by; -1: as it comes."""
    is_reversed: bool = False
    filter: str = ""
    """Rows with this text; a ``!`` in front: rows without it."""
    drawn: _Drawn | None = field(default=None, init=False, repr=False, compare=False)
    """What it looked like last: nothing that did not change is made again."""


@dataclass(slots=True)
class _Kept:
    """A row, and what was made of it: what a fill looks like stays when another one comes."""

    row: Any
    cells: tuple[Span, ...]
    """Of the columns that may fit, in the order of their ranks."""
    widths: tuple[int, ...]
    """Columns of the screen that these want."""
    layout: tuple[_Place, ...] = ()
    """What ``line`` was made for."""
    line: Line = field(default_factory=list)


class _Place(NamedTuple):
    """Where a column of the table stands: its number, its place among those that may fit, width."""

    number: int
    place: int
    width: int


class _Drawn(NamedTuple):
    """Lines, and all that they follow from."""

    columns: Sequence[Column[Any]]
    rows: Sequence[Any]
    choice: tuple[object, ...]
    room: int
    candidates: tuple[_Candidate, ...]
    kept: dict[int, _Kept]
    """Rows that are shown, by identity."""
    layout: tuple[_Place, ...]
    heading: Line
    lines: list[Line]


def select(columns: Sequence[Column[Row]], rows: Sequence[Row], view: View) -> list[Row]:
    """The rows that the filter leaves, in the order chosen."""
    found = list(rows)
    if view.filter:
        is_inverse = view.filter.startswith("!")
        wanted = view.filter.lstrip("!").lower()
        found = [
            row
            for row in found
            if (wanted in " ".join(c.cell(row).text for c in columns).lower()) != is_inverse
        ]
    if 0 <= view.sort < len(columns):
        column = columns[view.sort]
        order = column.order or (lambda row: column.cell(row).text)
        found.sort(key=order, reverse=view.is_reversed)
    return found


def scroll(view: View, count: int, height: int) -> None:
    """Keep the cursor on a row, and the row in sight."""
    view.cursor = max(0, min(view.cursor, count - 1))
    view.top = max(0, min(view.top, count - height, view.cursor))
    if view.cursor >= view.top + height:
        view.top = view.cursor - height + 1


class _Candidate(NamedTuple):
    """A column that may fit."""

    number: int
    width: int
    """Columns of the screen that it takes when its cells take less: with its title and an arrow."""


def _candidates(columns: Sequence[Column[Any]], room: int) -> tuple[_Candidate, ...]:
    """The columns that fit as long as no cell is wide, by rank: cells are made only for these."""
    found: list[_Candidate] = []
    left = room + GAP
    for number in sorted(range(len(columns)), key=lambda number: columns[number].rank):
        column = columns[number]
        wide = column.width
        if column.title and not column.takes_rest:
            wide = max(wide, width(column.title) + 1)
        least = min(wide, room, REST_MIN if column.takes_rest else room)
        if least + GAP > left and found:
            break
        found.append(_Candidate(number, wide))
        left -= least + GAP
    return tuple(found)


def _keep(
    columns: Sequence[Column[Row]],
    candidates: Sequence[_Candidate],
    row: Row,
    before: dict[int, _Kept],
) -> _Kept:
    """What is known of the row."""
    known = before.get(id(row))
    if known is not None and known.row is row:
        return known
    cells, widths = [], []
    for number, _ in candidates:
        column = columns[number]
        cell = column.cell(row)
        cells.append(cell)
        widths.append(0 if column.takes_rest else width(cell.text))
    return _Kept(row, tuple(cells), tuple(widths))


def _fitting(
    columns: Sequence[Column[Any]],
    candidates: Sequence[_Candidate],
    rows: Sequence[_Kept],
    room: int,
) -> tuple[_Place, ...]:
    """The columns that fit, in their order."""
    least = tuple([one.width for one in candidates])
    widest = map(max, zip(least, *[one.widths for one in rows], strict=True)) if rows else least
    chosen: list[_Place] = []
    left = room + GAP
    for place, ((number, _), wide) in enumerate(zip(candidates, widest, strict=True)):
        if columns[number].takes_rest and left - GAP >= REST_MIN:
            wide = min(wide, left - GAP)
        wide = min(wide, room)
        if wide + GAP > left and chosen:
            break
        chosen.append(_Place(number, place, wide))
        left -= wide + GAP
    return tuple(
        one._replace(width=one.width + left) if left > 0 and columns[one.number].takes_rest else one
        for one in sorted(chosen)
    )


def table(
    columns: Sequence[Column[Row]],
    rows: Sequence[Row],
    view: View,
    size: tuple[int, int],
    *,
    has_focus: bool,
    nothing: str,
) -> list[Line]:
    """Heading and rows, ``size`` columns by lines."""
    room, height = size
    if height <= 0:
        return []
    drawn, choice = view.drawn, _choice(view, size, has_focus, nothing)
    if drawn is not None and (drawn.columns is not columns or drawn.room != room):
        drawn = None
    if drawn is not None and drawn.choice == choice and drawn.rows == rows:
        return drawn.lines
    found = select(columns, rows, view)
    scroll(view, len(found), height - 1)
    shown = found[view.top : view.top + height - 1]
    candidates = drawn.candidates if drawn is not None else _candidates(columns, room)
    before = drawn.kept if drawn is not None else {}
    kept = [_keep(columns, candidates, row, before) for row in shown]
    layout = _fitting(columns, candidates, kept, room)
    rest = Span(" " * (room + GAP - sum([one.width + GAP for one in layout])))
    choice = _choice(view, size, has_focus, nothing)  # scrolling may have moved the cursor
    if drawn is not None and drawn.layout == layout and drawn.choice == choice:
        heading = drawn.heading
    else:
        heading = [*_heading(columns, layout, view), rest]
    lines = [heading]
    for number, known in enumerate(kept, start=view.top):
        if known.layout != layout:
            known.layout, known.line = layout, _row_line(columns, layout, known.cells, rest)
        is_cursor = has_focus and number == view.cursor
        lines.append(restyle(known.line, Style.CURSOR) if is_cursor else known.line)
    if not shown and height > 1:
        text = f"nothing matches {view.filter}" if rows and view.filter else nothing
        lines.append(fill([Span(text, Style.DIM)], room))
    by_id = {id(known.row): known for known in kept}
    view.drawn = _Drawn(columns, rows, choice, room, candidates, by_id, layout, heading, lines)
    return lines


def _row_line(
    columns: Sequence[Column[Any]], layout: Sequence[_Place], cells: Sequence[Span], rest: Span
) -> Line:
    line: Line = []
    for number, place, wide in layout:
        text, style = cells[place]
        between = _BETWEEN if line else ""
        line.append(Span(between + fit(text, wide, columns[number].align), style))
    line.append(rest)
    return line


def _choice(view: View, *shape: object) -> tuple[object, ...]:
    return view.cursor, view.top, view.sort, view.is_reversed, view.filter, *shape


def _heading(columns: Sequence[Column[Row]], layout: Sequence[_Place], view: View) -> Line:
    line: Line = []
    for one in layout:
        column = columns[one.number]
        arrow = ("▼" if view.is_reversed else "▲") if one.number == view.sort else ""
        title = fit(column.title + arrow, one.width, column.align)
        line.append(Span((_BETWEEN if line else "") + title, Style.DIM))
    return line
