"""What a person has chosen, and what a key changes of it. Pure: no terminal, no shared memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final, NamedTuple

from hft.errors import UsageError
from tools.monitor.deal import DEALS, Deal, parse_deal, question
from tools.monitor.keys import BY_KEY, BY_NAME, COMMANDS, Action, Command
from tools.monitor.model import Snapshot
from tools.monitor.style import THEMES
from tools.monitor.table import View
from tools.monitor.text import count, money

TEXT_MAX: Final = 200
"""Longest command or filter."""
HALF_PAGE: Final = 10
FAR: Final = 1_000_000
"""Beyond the last row of any table: the view brings it back."""


class Panel(IntEnum):
    """What keys can go to, by the number that chooses it."""

    POSITIONS = 1
    ORDERS = 2
    BOOK = 3
    FILLS = 4
    STRATEGIES = 5
    ALERTS = 6
    ROLES = 7
    RINGS = 8
    LATENCY = 9


class Screen(Enum):
    """What fills the terminal, and the panels on it."""

    TRADING = (
        Panel.POSITIONS,
        Panel.ORDERS,
        Panel.BOOK,
        Panel.FILLS,
        Panel.STRATEGIES,
        Panel.ALERTS,
    )
    ROLES = (Panel.ROLES,)
    RINGS = (Panel.RINGS,)
    LATENCY = (Panel.LATENCY,)


SCREENS: Final = tuple(Screen)


class Prompt(NamedTuple):
    """A line that is being typed."""

    kind: str
    """``:`` or ``/``."""
    text: str = ""
    stem: str = ""
    """What was typed before Tab filled in."""
    choice: int = -1
    """Number of the completion shown, -1: none."""


class Effect(NamedTuple):
    """Something to be done to the system: halt, reduce, arm, or a deal."""

    name: str
    reason: str
    deal: Deal | None = None
    """An order by hand, or the end of one."""


class Confirm(NamedTuple):
    """A question; only ``y`` says yes."""

    question: str
    effect: Effect
    details: tuple[str, ...] = ()
    """What to know before one says yes; it stands in a box."""


class Notice(NamedTuple):
    """An answer in the footer."""

    text: str
    is_bad: bool
    since_ns: int


@dataclass(slots=True)
class State:
    """Snapshot and choices: what a screen is made of."""

    snapshot: Snapshot
    theme: str = "dark"
    may_trade: bool = False
    screen: Screen = Screen.TRADING
    focus: Panel = Panel.POSITIONS
    is_zoomed: bool = False
    is_help: bool = False
    help_top: int = 0
    has_mouse: bool = False
    is_over: bool = False
    symbol: str = ""
    """Whose book is shown; empty: the first."""
    views: dict[Panel, View] = field(default_factory=lambda: {panel: View() for panel in Panel})
    prompt: Prompt | None = None
    confirm: Confirm | None = None
    notice: Notice | None = None
    row_orders: tuple[int, ...] = ()
    """Ids of the orders on the orders panel, as it is ordered and filtered on the screen."""
    column_counts: dict[Panel, int] = field(default_factory=dict)
    """Columns of each table, as the screen last had them: what there is to sort by."""
    row_symbols: dict[Panel, tuple[str, ...]] = field(default_factory=dict)
    """Symbol of each row of a table, as it is ordered and filtered on the screen."""

    @property
    def view(self) -> View:
        """That of the panel which keys go to."""
        return self.views[self.focus]

    def tell(self, text: str, *, is_bad: bool = False) -> None:
        """Answer in the footer."""
        self.notice = Notice(text, is_bad, self.snapshot.wall_ns)


def press(state: State, key: str) -> Effect | None:
    """A key was pressed; returns what is to be done to the system, if anything."""
    if state.confirm is not None:
        return _answer(state, key)
    if state.prompt is not None:
        return _type(state, state.prompt, key)
    binding = BY_KEY.get(key)
    if binding is None:
        return None  # an unknown key, or a terminal's late answer, does nothing
    state.notice = None
    match binding.action:
        case Action.HALT:
            _ask_halt(state)
        case Action.CANCEL_ROW:
            _ask_cancel_row(state)
        case Action.PANEL:
            _focus(state, Panel(int(key)))
        case Action.FILTER | Action.COMMAND:
            _open_prompt(state, key)
        case action:
            _ACTIONS[action](state)
    return None


def _answer(state: State, key: str) -> Effect | None:
    """Yes is ``y`` alone: Enter, a click or a stray key is no."""
    assert state.confirm is not None
    effect, state.confirm = state.confirm.effect, None
    if key == "y":
        state.tell(f"{effect.name}: asked for …")
        return effect
    state.tell(f"{effect.name}: not done")
    return None


# -- moving --------------------------------------------------------------------------------------


def _move(state: State, rows: int) -> None:
    if state.is_help:
        state.help_top = max(0, state.help_top + rows)
        return
    view = state.view
    view.cursor = max(0, min(FAR, view.cursor + rows))


def _focus(state: State, panel: Panel) -> None:
    state.focus = panel
    state.screen = next(screen for screen in SCREENS if panel in screen.value)
    state.is_help = False


def _step_panel(state: State, step: int) -> None:
    panels = tuple(Panel)
    _focus(state, panels[(panels.index(state.focus) + step) % len(panels)])


def _step_screen(state: State, step: int) -> None:
    screen = SCREENS[(SCREENS.index(state.screen) + step) % len(SCREENS)]
    _focus(state, screen.value[0])
    state.is_zoomed = False


# -- looking -------------------------------------------------------------------------------------


def _zoom(state: State) -> None:
    state.is_zoomed = not state.is_zoomed and state.screen is Screen.TRADING


def _sort(state: State) -> None:
    columns = state.column_counts.get(state.focus, 0)
    view = state.view
    view.sort = view.sort + 1 if view.sort + 1 < columns else -1


def _reverse(state: State) -> None:
    state.view.is_reversed = not state.view.is_reversed


def _back(state: State) -> None:
    """Close the innermost thing that is open."""
    if state.is_help:
        state.is_help = False
    elif state.view.filter:
        state.view.filter = ""
    elif state.is_zoomed:
        state.is_zoomed = False


def _book_of_row(state: State) -> None:
    symbols = state.row_symbols.get(state.focus, ())
    cursor = state.view.cursor
    if cursor < len(symbols) and symbols[cursor]:
        state.symbol = symbols[cursor]


def _step_symbol(state: State, step: int) -> None:
    symbols = [instrument.symbol for instrument in state.snapshot.instruments]
    if symbols:
        here = symbols.index(state.symbol) if state.symbol in symbols else 0
        state.symbol = symbols[(here + step) % len(symbols)]


def _toggle_help(state: State) -> None:
    state.is_help, state.help_top = not state.is_help, 0


def _toggle_mouse(state: State) -> None:
    state.has_mouse = not state.has_mouse
    state.tell("mouse on; the terminal's own selection needs Shift" if state.has_mouse
               else "mouse off")  # fmt: skip


def _leave(state: State) -> None:
    state.is_over = True


def _open_prompt(state: State, key: str) -> None:
    state.is_help = False
    state.prompt = Prompt(key)


_ACTIONS: Final[Mapping[Action, Callable[[State], None]]] = {
    Action.DOWN: lambda state: _move(state, 1),
    Action.UP: lambda state: _move(state, -1),
    Action.FIRST: lambda state: _move(state, -FAR),
    Action.LAST: lambda state: _move(state, FAR),
    Action.PAGE_DOWN: lambda state: _move(state, HALF_PAGE),
    Action.PAGE_UP: lambda state: _move(state, -HALF_PAGE),
    Action.NEXT_PANEL: lambda state: _step_panel(state, 1),
    Action.PREVIOUS_PANEL: lambda state: _step_panel(state, -1),
    Action.NEXT_SCREEN: lambda state: _step_screen(state, 1),
    Action.PREVIOUS_SCREEN: lambda state: _step_screen(state, -1),
    Action.ZOOM: _zoom,
    Action.SORT: _sort,
    Action.REVERSE: _reverse,
    Action.BOOK_OF_ROW: _book_of_row,
    Action.NEXT_SYMBOL: lambda state: _step_symbol(state, 1),
    Action.PREVIOUS_SYMBOL: lambda state: _step_symbol(state, -1),
    Action.MOUSE: _toggle_mouse,
    Action.HELP: _toggle_help,
    Action.BACK: _back,
    Action.QUIT: _leave,
}


# -- typing --------------------------------------------------------------------------------------


def _type(state: State, prompt: Prompt, key: str) -> Effect | None:
    """A key while a line is typed."""
    if key == "Enter":
        state.prompt = None
        if prompt.kind == ":":
            return _run(state, prompt.text)
        state.view.filter = prompt.text
        return None
    if key in ("Esc", "Ctrl-C") or (key == "Backspace" and not prompt.text):
        state.prompt = None
        if prompt.kind == "/":
            state.view.filter = ""
        return None
    if key in ("Tab", "Shift-Tab") and prompt.kind == ":":
        state.prompt = _complete(state, prompt, -1 if key == "Shift-Tab" else 1)
        return None
    text = prompt.text
    if key == "Backspace":
        text = text[:-1]
    elif key == "Ctrl-U":
        text = ""
    elif len(key) == 1 and key.isprintable():
        text = (text + key)[:TEXT_MAX]
    state.prompt = Prompt(prompt.kind, text)
    if prompt.kind == "/":
        state.view.filter = text
        state.view.cursor = 0
    return None


def completions(state: State, text: str) -> tuple[str, ...]:
    """What the text may become."""
    name, space, argument = text.partition(" ")
    if not space:
        return tuple(command.name for command in _allowed(state) if command.name.startswith(name))
    options: tuple[str, ...] = ()
    if name == "sym" or name in DEALS:
        options = tuple(instrument.symbol for instrument in state.snapshot.instruments)
    elif name == "theme":
        options = tuple(THEMES)
    wanted = argument.lower()
    return tuple(f"{name} {option}" for option in options if option.lower().startswith(wanted))


def _allowed(state: State) -> tuple[Command, ...]:
    return tuple(row for row in COMMANDS if state.may_trade or not row.needs_trade)


def _complete(state: State, prompt: Prompt, step: int) -> Prompt:
    stem = prompt.stem if prompt.choice >= 0 else prompt.text
    found = completions(state, stem)
    if not found:
        return prompt
    if len(found) == 1:
        takes_more = found[0] in BY_NAME and BY_NAME[found[0]].argument
        return Prompt(prompt.kind, found[0] + (" " if takes_more else ""))
    choice = (prompt.choice + step) % len(found) if prompt.choice >= 0 else 0
    return Prompt(prompt.kind, found[choice], stem, choice)


def _run(state: State, text: str) -> Effect | None:
    """Carry out a typed command; a name counts only when it is written whole."""
    name, _, argument = text.strip().partition(" ")
    argument = argument.strip()
    command = BY_NAME.get(name)
    if not name:
        return None
    if command is None:
        known = ", ".join(row.name for row in _allowed(state))
        state.tell(f"there is no :{name}. There are: {known}", is_bad=True)
        return None
    if command.argument and not command.argument.startswith("[") and not argument:
        state.tell(f"write :{command.name} {command.argument}", is_bad=True)
        return None
    if command.name in DEALS:
        _ask_deal(state, command.name, argument)
        return None
    if command.needs_trade:
        return _change_trading(state, command.name, argument)
    match command.name:
        case "sym":
            _choose_symbol(state, argument)
        case "theme":
            _choose_theme(state, argument)
        case "help":
            _toggle_help(state)
        case _:
            state.is_over = True
    return None


def _choose_symbol(state: State, symbol: str) -> None:
    known = {one.symbol.upper(): one.symbol for one in state.snapshot.instruments}
    found = known.get(symbol.upper())
    if found is None:
        state.tell(f"{symbol} is not traded here: {', '.join(known.values())}", is_bad=True)
    else:
        state.symbol = found


def _choose_theme(state: State, name: str) -> None:
    if name in THEMES:
        state.theme = name
    else:
        state.tell(f"there is no theme {name}: {', '.join(THEMES)}", is_bad=True)


# -- acting --------------------------------------------------------------------------------------


def _refused(state: State, name: str) -> bool:
    """Whether the person may only look, or there is nothing to act upon; says so."""
    system = state.snapshot.name
    if not state.may_trade:
        rest = "" if name in ("halt", *DEALS) else ' --reason "…"'
        command = f"hft {'order ' if name in DEALS else ''}{name} --name {system}{rest}"
        state.tell(f"read-only. Run `{command}`, or start with --trade",
                   is_bad=True)  # fmt: skip
        return True
    if state.snapshot.lost is not None:
        state.tell(f"{system} is not there: {state.snapshot.lost.why}", is_bad=True)
        return True
    return False


def _change_trading(state: State, name: str, reason: str) -> Effect | None:
    if _refused(state, name):
        return None
    if name == "halt":  # who typed the whole word means it
        state.tell("halt: asked for …")
        return Effect("halt", reason or "by hand, in the monitor")
    state.confirm = Confirm(_question(state, name), Effect(name, reason))
    return None


def _ask_deal(state: State, name: str, argument: str) -> None:
    """Orders by hand always ask: what is typed in haste is read before it is sent."""
    if _refused(state, name):
        return
    try:
        deal = parse_deal(name, argument, state.snapshot)
        first, *rest = question(deal, state.snapshot)
    except UsageError as error:
        state.tell(error.message, is_bad=True)
        return
    state.is_help = False
    state.confirm = Confirm(f"{first}?", Effect(name, "", deal), (first, *rest))


def _ask_cancel_row(state: State) -> None:
    if state.focus is not Panel.ORDERS:
        state.tell("x cancels the order of the row on the orders panel: 2", is_bad=True)
    elif _refused(state, "cancel"):
        return
    elif state.view.cursor >= len(state.row_orders):
        state.tell("no order is open", is_bad=True)
    else:
        _ask_deal(state, "cancel", str(state.row_orders[state.view.cursor]))


def _ask_halt(state: State) -> None:
    if not _refused(state, "halt"):
        state.confirm = Confirm(_question(state, "halt"), Effect("halt", "by hand, in the monitor"))


def _question(state: State, name: str) -> str:
    """What would happen, to what, in words."""
    snapshot = state.snapshot
    held_e8 = sum(position.notional_e8 for position in snapshot.positions)
    what = {
        "halt": "Halt and cancel",
        "reduce": "Only shrink positions of",
        "arm": "Let trade",
    }[name]
    return (
        f"{what} {snapshot.mode.upper()} {snapshot.name}"
        f" ({count(len(snapshot.orders))} orders,"
        f" positions {money(held_e8, signed=False)})?"
    )
