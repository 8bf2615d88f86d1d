"""Whole screens: first line, panels, footer. ``render`` is a pure function of state and size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from hft.units import NS_PER_S
from tools.monitor import panels
from tools.monitor.keys import COMMANDS, KEYS, written
from tools.monitor.model import Snapshot
from tools.monitor.state import SCREENS, Panel, Screen, State, completions
from tools.monitor.style import (
    PLAIN,
    THEMES,
    Line,
    Row,
    Span,
    Style,
    Theme,
    fill,
    flat,
    line_width,
    restyle,
)
from tools.monitor.text import clean, clock, count, cut, duration, feed_age, fit
from tools.monitor.text import width as width_of

WIDTH_MIN: Final = 80
HEIGHT_MIN: Final = 24
NOTICE_NS: Final = 8 * NS_PER_S
REASON_WIDTH: Final = 56
"""Columns of the first line that the reason of a halt gets before figures do."""
RIGHT_SHARE: Final = 0.42
"""Part of the width that the right column has."""

_BADGES: Final = {"paper": Style.PAPER, "demo": Style.DEMO, "live": Style.LIVE}
_STATES: Final = {"ACTIVE": Style.GOOD, "REDUCING": Style.WARN, "HALTED": Style.BAD}


class Region(NamedTuple):
    """Where a panel stands: its title's line, and the columns and lines of its inside."""

    panel: Panel | None
    """None: the small latency panel."""
    row: int
    column: int
    columns: int
    lines: int


def render(state: State, width: int, height: int, theme: Theme | None = None) -> list[str]:
    """The screen: ``height`` strings, each ``width`` columns wide on the terminal."""
    theme = theme or THEMES.get(state.theme, PLAIN)
    return [theme.paint(flat(row)) for row in compose(state, width, height)]


def compose(state: State, width: int, height: int) -> list[Row]:
    """The same, before colours are put on; what did not change is the same object as before."""
    header = fill(first_line(state.snapshot, width, may_trade=state.may_trade), width)
    if width < WIDTH_MIN or height < HEIGHT_MIN:
        return _too_small(header, width, height)
    if state.is_help:
        inside = _help_box(state, width, height - 2)
    else:
        inside = _boxes(state, width, height - 2)
    if state.snapshot.lost is not None and not state.is_help:
        inside = _whole([restyle(flat(row), Style.DIM) for row in inside])  # it was true then
    if state.confirm is not None and state.confirm.details:
        box = _confirm_box(state.confirm.details)
        inside = _whole(_over([flat(row) for row in inside], box, width))
    return [((0, header),), *inside, ((0, fill(_footer(state, width), width)),)]


def _whole(lines: Sequence[Line]) -> list[Row]:
    """Lines as rows of one piece."""
    return [((0, line),) for line in lines]


def _too_small(header: Line, width: int, height: int) -> list[Row]:
    """The first line stays: it answers the question that one comes with."""
    text = f"The panels need {WIDTH_MIN}×{HEIGHT_MIN}; this terminal has {width}×{height}."
    lines = [header, fill([Span("")], width), fill([Span(text)], width)]
    lines += [fill([Span("Make it larger, or q to leave.")], width)]
    lines += [fill([], width)] * height
    return _whole(lines[:height])


# -- first line ----------------------------------------------------------------------------------


def first_line(snapshot: Snapshot, width: int, *, may_trade: bool = False) -> Line:
    """What it is, how it is, since when: as much as the width allows, the important first."""
    badge = Span(f" {snapshot.mode.upper()} ", _BADGES.get(snapshot.mode, Style.LIVE))
    armed = [Span(" TRADE ", Style.LIVE)] if may_trade else []
    left = [badge, *armed, Span(" "), Span(cut(clean(snapshot.name), 20), Style.BOLD), Span("  ")]
    if snapshot.lost is not None:
        left.append(Span(f"LOST {clock(snapshot.lost.since_wall_ns)}", Style.BAD))
        left.append(Span(f" {clean(snapshot.lost.why)}; waiting for its return"))
        parts = [_clock(snapshot)]
    else:
        state = snapshot.trading_state
        left.append(Span(state, _STATES.get(state, Style.BAD)))
        parts = [_clock(snapshot), _roles(snapshot), _feed(snapshot), _tick_to_trade(snapshot)]
        if snapshot.halt_reason:
            left.append(Span(f" {clean(snapshot.halt_reason)}"))
        elif state == "HALTED":
            left.append(Span(" not armed"))
    room = width - min(line_width(left), REASON_WIDTH) - 1
    right: Line = []
    for choices in parts:
        for part in choices:  # in full, else in short, else not at all
            if line_width(right) + line_width(part) + 2 <= room:
                right += [Span("  "), *part]
                break
    kept = fill(left, width - line_width(right) - 1)
    return [*kept, *right, Span(" ")]


def _clock(snapshot: Snapshot) -> list[Line]:
    return [[Span(clock(snapshot.wall_ns))]]


def _feed(snapshot: Snapshot) -> list[Line]:
    age_ns = snapshot.feed_age_ns
    is_fresh = 0 <= age_ns < NS_PER_S
    return [[Span(f"feed {feed_age(age_ns):>5}", Style.PLAIN if is_fresh else Style.BAD)]]


def _tick_to_trade(snapshot: Snapshot) -> list[Line]:
    hop = snapshot.tick_to_trade
    if hop is None or not hop.total:
        return [[Span("t2t ―")]]
    is_recent = hop.recent_total > 0
    p50 = duration(hop.recent_p50_ns if is_recent else hop.p50_ns)
    p99 = duration(hop.recent_p99_ns if is_recent else hop.p99_ns)
    return [
        [Span(f"t2t p50 {p50} p99 {p99}")],
        [Span(f"t2t {p50} p99 {p99}")],
        [Span(f"t2t {p50}")],
    ]


def _roles(snapshot: Snapshot) -> list[Line]:
    well = sum(role.is_well for role in snapshot.roles)
    if well and well == len(snapshot.roles):
        return [[Span(f"{well} roles ✓", Style.GOOD)]]
    return [[Span(f"{well}/{len(snapshot.roles)} roles ✗", Style.BAD)]]


# -- footer --------------------------------------------------------------------------------------


def _footer(state: State, width: int) -> Line:
    if state.confirm is not None:
        tail = [Span("  y", Style.KEY), Span(" yes, other keys no")]
        question = [Span(" "), Span(clean(state.confirm.question), Style.BAD)]
        return [*fill(question, width - line_width(tail)), *tail]
    if state.prompt is not None:
        return _prompt_line(state)
    notice = state.notice
    if notice is not None and state.snapshot.wall_ns - notice.since_ns < NOTICE_NS:
        return [Span(" "), Span(clean(notice.text), Style.BAD if notice.is_bad else Style.GOOD)]
    return list(_hints(state.screen, state.may_trade, width))


def _prompt_line(state: State) -> Line:
    assert state.prompt is not None
    kind, text, stem, _ = state.prompt
    line = [Span(f" {kind}", Style.KEY), Span(clean(text)), Span(" ", Style.CURSOR)]
    if kind == "/":
        hint = "Enter keeps the filter, Esc drops it; !text: rows without it"
    else:
        found = completions(state, stem or text)
        hint = " ".join(one.partition(" ")[2] or one for one in found[:12])
    return [*line, Span(f"  {hint}", Style.DIM)]


@lru_cache(maxsize=64)
def _hints(shown: Screen, may_trade: bool, width: int) -> tuple[Span, ...]:
    """Screens on the left, keys after them, what may be done on the right."""
    left: Line = [Span(" ")]
    for screen in SCREENS:
        style = Style.CURSOR if screen is shown else Style.DIM
        left.append(Span(f" {screen.name.lower()} ", style))
    right = Span(" may trade", Style.WARN) if may_trade else Span(" read-only", Style.DIM)
    for key in KEYS:
        if not key.hint or (key.needs_trade and not may_trade):
            continue
        name = key.shown or key.keys[0]
        part = [Span("  "), Span(name, Style.KEY), Span(f" {key.hint}", Style.DIM)]
        if line_width(left) + line_width(part) + width_of(right.text) <= width:
            left += part
    return (*fill(left, width - width_of(right.text)), right)


# -- panels --------------------------------------------------------------------------------------


def regions(state: State, width: int, height: int) -> list[Region]:
    """Where the panels stand, from top to bottom and left to right; rows count from 0."""
    if state.is_zoomed or state.screen is not Screen.TRADING:
        return [Region(state.focus, 0, 1, width - 2, height - 2)]
    right = int((width - 3) * RIGHT_SHARE)
    left = width - 3 - right
    snapshot = state.snapshot
    found = _stack(_left_heights(snapshot, height), 1, left)
    return found + _stack(_right_heights(height), left + 2, right)


def _stack(heights: Sequence[tuple[Panel | None, int]], column: int, columns: int) -> list[Region]:
    found, row = [], 0
    for panel, lines in heights:
        found.append(Region(panel, row, column, columns, lines))
        row += lines + 1
    return found


def _left_heights(snapshot: Snapshot, height: int) -> list[tuple[Panel | None, int]]:
    room = height - 5
    share = room // 4
    positions = max(2, min(len(snapshot.positions) + 1, share))
    desks = max(2, min(len(snapshot.desks) + 1, share))
    rest = room - positions - desks
    orders = rest // 2 + rest % 2
    return [
        (Panel.POSITIONS, positions),
        (Panel.ORDERS, orders),
        (Panel.FILLS, rest - orders),
        (Panel.STRATEGIES, desks),
    ]


def _right_heights(height: int) -> list[tuple[Panel | None, int]]:
    room = height - 4
    latency = max(3, min(7, room // 4))
    alerts = max(3, room // 6)
    book = min(room - latency - alerts, 41)
    book -= 1 - book % 2  # as many asks as bids, and the spread
    return [(Panel.BOOK, book), (Panel.ALERTS, room - latency - book), (None, latency)]


def _boxes(state: State, width: int, height: int) -> list[Row]:
    """Panels in frames that share their borders."""
    found = regions(state, width, height)
    if len(found) == 1:
        only = found[0]
        assert only.panel is not None
        rule = _rule(panels.title(state, only.panel), only.columns, is_focus=True)
        rows = panels.body(state, only.panel, only.columns, only.lines)
        return _frame([(rule, True), *_filled(rows, only)], [], only.columns, 0)
    middle = next(region.column for region in found if region.column > 1)
    left = [region for region in found if region.column < middle]
    right = [region for region in found if region.column == middle]
    return _frame(_column(state, left), _column(state, right), left[0].columns, right[0].columns)


def _column(state: State, found: Sequence[Region]) -> list[tuple[Line, bool]]:
    """Lines of the panels above each other, and whether each is a title."""
    lines: list[tuple[Line, bool]] = []
    for region in found:
        if region.panel is None:
            title = [Span("Latency", Style.TITLE)]
            rows = panels.latency_brief(state.snapshot.hops, region.columns, region.lines)
        else:
            title = panels.title(state, region.panel)
            rows = panels.body(state, region.panel, region.columns, region.lines)
        is_focus = region.panel is state.focus
        lines.append((_rule(title, region.columns, is_focus=is_focus), True))
        lines += _filled(rows, region)
    return lines


def _filled(rows: Sequence[Line], region: Region) -> list[tuple[Line, bool]]:
    missing = region.lines - len(rows)
    return [(row, False) for row in rows] + [(_blank(region.columns), False)] * missing


@lru_cache(maxsize=64)
def _blank(columns: int) -> Line:
    return [Span(" " * columns)]


def _rule(title: Line, columns: int, *, is_focus: bool) -> Line:
    """A panel's upper border with its title in it."""
    size = min(line_width(title), columns - 4)
    frame = Style.FOCUS if is_focus else Style.FRAME
    rest = "─" * (columns - size - 3)
    return [Span("─ ", frame), *fill(title, size), Span(f" {rest}", frame)]


def _frame(
    left: Sequence[tuple[Line, bool]],
    right: Sequence[tuple[Line, bool]],
    left_columns: int,
    right_columns: int,
) -> list[Row]:
    """Borders around one or two columns of lines."""
    found: list[Row] = []
    middle, end = left_columns + 1, left_columns + right_columns + 2
    for number, (line, is_rule) in enumerate(left):
        first = number == 0
        outer = "┌" if first else "├" if is_rule else "│"
        if not right:
            last = "┐" if first else "│"
            found.append(((0, _EDGES[outer]), (1, line), (middle, _EDGES[last])))
            continue
        other, is_other_rule = right[number]
        joint = "┬" if first else _JOINTS[is_rule, is_other_rule]
        last = "┐" if first else "┤" if is_other_rule else "│"
        found.append((
            (0, _EDGES[outer]), (1, line), (middle, _EDGES[joint]), (middle + 1, other),
            (end, _EDGES[last]),
        ))  # fmt: skip
    if right:
        bottom = "└" + "─" * left_columns + "┴" + "─" * right_columns + "┘"
    else:
        bottom = "└" + "─" * left_columns + "┘"
    return [*found, ((0, [Span(bottom, Style.FRAME)]),)]


_EDGES: Final = {glyph: [Span(glyph, Style.FRAME)] for glyph in "┌┬┐├┼┤│"}
_JOINTS: Final = {(True, True): "┼", (True, False): "┤", (False, True): "├", (False, False): "│"}
"""By whether the lines on the left and on the right of it are titles."""


# -- the question --------------------------------------------------------------------------------


def _confirm_box(details: Sequence[str]) -> list[Line]:
    """What to know before one says yes, in a frame."""
    rows: list[Line] = [[Span(clean(details[0]), Style.BOLD)]]
    rows += [[Span(clean(text))] for text in details[1:]]
    answers = [Span("y", Style.KEY), Span(" yes    "), Span("any other key", Style.KEY),
               Span(" no")]  # fmt: skip
    rows += [[], answers]
    columns = min(max(line_width(row) for row in rows), WIDTH_MIN - 8)
    top = [Span("┌─ ", Style.FOCUS), Span("Sure?", Style.FOCUS),
           Span(" " + "─" * (columns - 6) + "┐", Style.FOCUS)]  # fmt: skip
    inside = [_framed(fill(row, columns)) for row in rows]
    return [top, *inside, [Span("└" + "─" * (columns + 2) + "┘", Style.FOCUS)]]


def _framed(row: Line) -> Line:
    return [Span("│ ", Style.FOCUS), *row, Span(" │", Style.FOCUS)]


def _over(lines: Sequence[Line], box: Sequence[Line], width: int) -> list[Line]:
    """The box in the middle of the lines."""
    columns = line_width(box[0])
    left, top = (width - columns) // 2, max(0, (len(lines) - len(box)) // 2)
    found = list(lines)
    for number, row in enumerate(box, start=top):
        under = found[number]
        found[number] = [*fill(under, left), *row, *_from(under, left + columns)]
    return found


def _from(line: Line, column: int) -> Line:
    """What of a line stands from that column on."""
    found: Line = []
    at = 0
    for text, style in line:
        kept = ""
        for character in text:
            start, at = at, at + width_of(character)
            if start >= column:
                kept += character
            elif at > column:  # half of a wide character is covered
                kept += " " * (at - column)
        if kept:
            found.append(Span(kept, style))
    return found


# -- help ----------------------------------------------------------------------------------------


def help_lines(*, may_trade: bool) -> list[Line]:
    """The keys and commands, from their tables."""
    found: list[Line] = []
    for group in dict.fromkeys(key.group for key in KEYS):
        found.append([Span(group, Style.TITLE)])
        for key in KEYS:
            if key.group == group and (may_trade or not key.needs_trade):
                found.append([Span(f"  {fit(written(key), 16)}", Style.KEY), Span(key.help)])
        found.append([])
    found.append([Span("Commands", Style.TITLE)])
    for command in COMMANDS:
        if may_trade or not command.needs_trade:
            text = f":{command.name} {command.argument}".strip()
            found.append([Span(f"  {fit(text, 16)}", Style.KEY), Span(command.help)])
    if not may_trade:
        found += [[], [Span("Started with --trade, it can also trade, halt, reduce and arm.",
                            Style.DIM)]]  # fmt: skip
    return found


def _help_box(state: State, width: int, height: int) -> list[Row]:
    lines = help_lines(may_trade=state.may_trade)
    room, columns = height - 2, width - 2
    state.help_top = max(0, min(state.help_top, len(lines) - room))
    shown = lines[state.help_top : state.help_top + room]
    more = len(lines) - state.help_top - len(shown)
    title = [Span("Help", Style.FOCUS), Span(" · j k move, Esc closes")]
    if more:
        title.append(Span(f" · {count(more)} more lines below", Style.WARN))
    rows = [fill([Span(" "), *line], columns) for line in shown]
    region = Region(None, 0, 1, columns, room)
    return _frame([(_rule(title, columns, is_focus=True), True), *_filled(rows, region)], [],
                  columns, 0)  # fmt: skip


def hit(state: State, width: int, height: int, column: int, row: int) -> Panel | None:
    """The panel at a cell of the screen, counted from 0; None: there is none to go to."""
    if state.is_help or width < WIDTH_MIN or height < HEIGHT_MIN:
        return None
    for region in regions(state, width, height - 2):
        is_beside = region.column <= column < region.column + region.columns
        if is_beside and region.row < row <= region.row + region.lines + 1:
            return region.panel
    return None
