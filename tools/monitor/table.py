"""Rows under a heading: columns that fit, a cursor, a filter, an order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


def _fitting(columns: Sequence[Column[Row]], rows: Sequence[Row], room: int) -> list[_Shown]:
    """The columns that fit, in their order; a cell is made only for these."""
    chosen: list[_Shown] = []
    left = room + GAP
    for number in sorted(range(len(columns)), key=lambda number: columns[number].rank):
        column = columns[number]
        cells = [column.cell(row) for row in rows]
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
    found = select(columns, rows, view)
    scroll(view, len(found), height - 1)
    shown = found[view.top : view.top + height - 1]
    layout = _fitting(columns, shown, room)
    used = sum(one.width + GAP for one in layout) - GAP
    rest = Span(" " * (room - used))
    lines: list[Line] = [[*_heading(columns, layout, view), rest]]
    for number in range(len(shown)):
        line: Line = []
        for one in layout:
            text, style = one.cells[number]
            line.append(Span(fit(text, one.width, columns[one.number].align), style))
            line.append(_BETWEEN)
        line[-1] = rest
        is_cursor = has_focus and view.top + number == view.cursor
        lines.append(restyle(line, Style.CURSOR) if is_cursor else line)
    if not shown and height > 1:
        text = f"nothing matches {view.filter}" if rows and view.filter else nothing
        lines.append(fill([Span(text, Style.DIM)], room))
    return lines


def _heading(columns: Sequence[Column[Row]], layout: Sequence[_Shown], view: View) -> Line:
    line: Line = []
    for one in layout:
        column = columns[one.number]
        arrow = ("▼" if view.is_reversed else "▲") if one.number == view.sort else ""
        line.append(Span(fit(column.title + arrow, one.width, column.align), Style.DIM))
        line.append(_BETWEEN)
    return line[:-1]
