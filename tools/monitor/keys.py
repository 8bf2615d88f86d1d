"""The keys and the commands: one table for dispatch, help, footer and the README."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

from tools.monitor.style import THEMES


class Action(Enum):
    """What a key does."""

    DOWN = auto()
    UP = auto()
    FIRST = auto()
    LAST = auto()
    PAGE_DOWN = auto()
    PAGE_UP = auto()
    NEXT_PANEL = auto()
    PREVIOUS_PANEL = auto()
    PANEL = auto()
    NEXT_SCREEN = auto()
    PREVIOUS_SCREEN = auto()
    ZOOM = auto()
    SORT = auto()
    REVERSE = auto()
    FILTER = auto()
    BOOK_OF_ROW = auto()
    NEXT_SYMBOL = auto()
    PREVIOUS_SYMBOL = auto()
    COMMAND = auto()
    HALT = auto()
    CANCEL_ROW = auto()
    MOUSE = auto()
    HELP = auto()
    BACK = auto()
    QUIT = auto()


class Key(NamedTuple):
    """Keys that do the same, where help puts them, and what they do in words."""

    keys: tuple[str, ...]
    action: Action
    group: str
    help: str
    hint: str = ""
    """Word in the footer, empty: not there."""
    shown: str = ""
    """How the keys are written, empty: one after the other."""
    needs_trade: bool = False


KEYS: Final = (
    Key(("?",), Action.HELP, "Look", "this help", "help"),
    Key(("/",), Action.FILTER, "Look", "only rows with a text; /!text: rows without it", "filter"),
    Key((":",), Action.COMMAND, "Act", "command; Tab completes it", "command"),
    Key(("q", "Ctrl-C"), Action.QUIT, "Act", "leave; the system goes on", "quit"),
    Key(tuple("123456789"), Action.PANEL, "Move", "panel of that number", "panel", "1-9"),
    Key(("Tab",), Action.NEXT_SCREEN, "Move", "next screen: trading, roles, rings, latency",
        "screen"),
    Key(("Shift-Tab",), Action.PREVIOUS_SCREEN, "Move", "previous screen"),
    Key(("z",), Action.ZOOM, "Look", "zoom the panel: all columns, all rows; again: back", "zoom"),
    Key(("j", "Down"), Action.DOWN, "Move", "next row"),
    Key(("k", "Up"), Action.UP, "Move", "previous row"),
    Key(("h", "Left"), Action.PREVIOUS_PANEL, "Move", "previous panel"),
    Key(("l", "Right"), Action.NEXT_PANEL, "Move", "next panel"),
    Key(("g", "Home"), Action.FIRST, "Move", "first row"),
    Key(("G", "End"), Action.LAST, "Move", "last row"),
    Key(("Ctrl-D", "PageDown"), Action.PAGE_DOWN, "Move", "half a page down"),
    Key(("Ctrl-U", "PageUp"), Action.PAGE_UP, "Move", "half a page up"),
    Key(("s",), Action.SORT, "Look", "sort by the next column"),
    Key(("S",), Action.REVERSE, "Look", "sort the other way round"),
    Key(("Enter",), Action.BOOK_OF_ROW, "Look", "order book of the row's symbol"),
    Key(("]",), Action.NEXT_SYMBOL, "Look", "order book of the next symbol"),
    Key(("[",), Action.PREVIOUS_SYMBOL, "Look", "order book of the previous symbol"),
    Key(("H",), Action.HALT, "Act", "halt: no new orders, all open ones cancelled; asks once",
        needs_trade=True),
    Key(("x",), Action.CANCEL_ROW, "Act", "cancel the order of the row, on the orders panel; asks",
        "cancel", needs_trade=True),
    Key(("m",), Action.MOUSE, "Look", "mouse on or off: click a panel, wheel for rows"),
    Key(("Esc",), Action.BACK, "Look", "close what is open: prompt, help, filter, zoom"),
)  # fmt: skip
BY_KEY: Final = {key: row for row in KEYS for key in row.keys}


class Command(NamedTuple):
    """What may be typed after ``:``."""

    name: str
    argument: str
    """Its argument; in brackets: may be left out."""
    help: str
    needs_trade: bool = False
    aliases: tuple[str, ...] = ()


COMMANDS: Final = (
    Command("sym", "SYMBOL", "order book of that symbol"),
    Command("theme", "NAME", f"colours: {', '.join(THEMES)}"),
    Command("buy", "SYMBOL QTY [PRICE]", "buy, without a price at the market; asks", True),
    Command("sell", "SYMBOL QTY [PRICE]", "sell, without a price at the market; asks", True),
    Command("cancel", "ID|SYMBOL|all", "cancel one order of ours, or many; asks", True),
    Command("flatten", "SYMBOL", "close the position at what the market gives; asks", True),
    Command("halt", "[REASON]", "no new orders, all open ones cancelled; never asks", True),
    Command("reduce", "REASON", "only orders that shrink a position; asks", True),
    Command("arm", "REASON", "take a halt back and trade; asks", True),
    Command("help", "", "the keys and these commands"),
    Command("q", "", "leave; the system goes on", aliases=("quit",)),
)
BY_NAME: Final = {name: row for row in COMMANDS for name in (row.name, *row.aliases)}


def written(key: Key) -> str:
    """The keys as a person reads them."""
    return key.shown or " ".join(key.keys)


def markdown() -> str:
    """The key and command tables of the README."""
    lines = ["| Key | What it does |", "| --- | --- |"]
    lines += [f"| `{written(key)}` | {_note(key.help, key.needs_trade)} |" for key in KEYS]
    lines += ["", "| Command | What it does |", "| --- | --- |"]
    for command in COMMANDS:
        text = f":{command.name} {command.argument}".strip()
        lines.append(f"| `{text}` | {_note(command.help, command.needs_trade)} |")
    return "\n".join(lines)


def _note(text: str, needs_trade: bool) -> str:
    return f"{text} (with `--trade`)" if needs_trade else text
