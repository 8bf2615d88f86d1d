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
_BETWEEN: Final = Span(" " * GAP)


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
    """What it looked like last: a table that did not change is not made again."""
    kept: dict[int, _Kept] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Rows shown last by identity: what a fill looks like does not change when another comes."""


@dataclass(slots=True)
class _Kept:
    """A row, and what was made of it."""

    row: Any
    cells: dict[int, Span] = field(default_factory=dict)
    widths: tuple[object, ...] = ()
    line: Line = field(default_factory=list)


class _Drawn(NamedTuple):
    """Lines, and all that they follow from."""

    columns: Sequence[Column[Any]]
    rows: Sequence[Any]
    choice: tuple[object, ...]
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


class _Shown(NamedTuple):
    """A column that fits: its width and its cells, one for each row shown."""

    number: int
    width: int
    cells: list[Span]


def _keep(view: View, columns: Sequence[Column[Row]], rows: Sequence[Row]) -> list[_Kept]:
    """What is known of the rows; others are forgotten."""
    is_same = view.drawn is not None and view.drawn.columns is columns
    before = view.kept if is_same else {}
    kept = []
    for row in rows:
        known = before.get(id(row))
        kept.append(known if known is not None and known.row is row else _Kept(row))
    view.kept = {id(one.row): one for one in kept}
    return kept


def _cells(column: Column[Any], number: int, rows: Sequence[_Kept]) -> list[Span]:
    found = []
    for one in rows:
        cell = one.cells.get(number)
        if cell is None:
            cell = one.cells[number] = column.cell(one.row)
        found.append(cell)
    return found


def _fitting(columns: Sequence[Column[Any]], rows: Sequence[_Kept], room: int) -> list[_Shown]:
    """The columns that fit, in their order; a cell is made only for these."""
    chosen: list[_Shown] = []
    left = room + GAP
    for number in sorted(range(len(columns)), key=lambda number: columns[number].rank):
        column = columns[number]
        cells = _cells(column, number, rows)
        wide = column.width
        if not column.takes_rest:
            title = width(column.title) + 1 if column.title else 0
            wide = max(wide, title, max((width(cell.text) for cell in cells), default=0))
        elif left - GAP >= REST_MIN:
            wide = min(wide, left - GAP)
        wide = min(wide, room)
        if wide + GAP > left and chosen:
            break
        chosen.append(_Shown(number, wide, cells))
        left -= wide + GAP
    return [
        shown._replace(width=shown.width + left)
        if columns[shown.number].takes_rest and left > 0
        else shown
        for shown in sorted(chosen)
    ]


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
    is_same = drawn is not None and drawn.columns is columns and drawn.choice == choice
    if drawn is not None and is_same and drawn.rows == rows:
        return drawn.lines
    found = select(columns, rows, view)
    scroll(view, len(found), height - 1)
    shown = found[view.top : view.top + height - 1]
    kept = _keep(view, columns, shown)
    layout = _fitting(columns, kept, room)
    widths = (room, *((one.number, one.width) for one in layout))
    used = sum(one.width + GAP for one in layout) - GAP
    rest = Span(" " * (room - used))
    lines: list[Line] = [[*_heading(columns, layout, view), rest]]
    for number, known in enumerate(kept):
        if known.widths != widths:
            known.widths, known.line = widths, _row_line(columns, layout, number, rest)
        line = known.line
        is_cursor = has_focus and view.top + number == view.cursor
        lines.append(restyle(line, Style.CURSOR) if is_cursor else line)
    if not shown and height > 1:
        text = f"nothing matches {view.filter}" if rows and view.filter else nothing
        lines.append(fill([Span(text, Style.DIM)], room))
    choice = _choice(view, size, has_focus, nothing)  # scrolling may have moved the cursor
    view.drawn = _Drawn(columns, rows, choice, lines)
    return lines


def _row_line(
    columns: Sequence[Column[Any]], layout: Sequence[_Shown], number: int, rest: Span
) -> Line:
    line: Line = []
    for one in layout:
        text, style = one.cells[number]
        line.append(Span(fit(text, one.width, columns[one.number].align), style))
        line.append(_BETWEEN)
    line[-1] = rest
    return line


def _choice(view: View, *shape: object) -> tuple[object, ...]:
    return view.cursor, view.top, view.sort, view.is_reversed, view.filter, *shape


def _heading(columns: Sequence[Column[Row]], layout: Sequence[_Shown], view: View) -> Line:
    line: Line = []
    for one in layout:
        column = columns[one.number]
        arrow = ("▼" if view.is_reversed else "▲") if one.number == view.sort else ""
        line.append(Span(fit(column.title + arrow, one.width, column.align), Style.DIM))
        line.append(_BETWEEN)
    return line[:-1]
