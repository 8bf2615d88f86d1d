"""``hft order``: says what would be done, asks, does it, says what became of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import click

from hft.errors import UsageError
from hft.records import Side
from hft.units import parse_e8
from tools.system.journal import parse_order
from tools.system.manual import ManualDesk
from tools.system.manual_order import Outcome, Ticket


class Wish(NamedTuple):
    """An order as it was typed."""

    symbol: str
    qty: str
    price: str | None
    market: bool
    is_post_only: bool
    is_reduce_only: bool
    yes: bool


def ticket_of(wish: Wish, side: int) -> Ticket:
    """The order that was meant.

    Raises:
        UsageError: it is neither a limit nor a market order, or a number is none.
    """
    if wish.market == (wish.price is not None):
        raise UsageError(
            "an order has a price, or is one at the market: one of the two.",
            remedy="Give --price P or --market.",
        )
    return Ticket(
        symbol=wish.symbol.upper(),
        side=Side(side),
        qty_e8=parse_e8(wish.qty),
        price_e8=0 if wish.price is None else parse_e8(wish.price),
        is_post_only=wish.is_post_only,
        is_reduce_only=wish.is_reduce_only,
    )


def place(run_dir: Path, side: int, wish: Wish) -> None:
    """Buy or sell.

    Raises:
        CheckFailedError: risk, execution or the venue refused it.
    """
    ticket = ticket_of(wish, side)
    with ManualDesk(run_dir) as desk:
        if _agreed(desk.describe(ticket), yes=wish.yes):
            _tell(desk.place(ticket))


def cancel(
    run_dir: Path, order_id: str | None, symbol: str | None, *, is_all: bool, yes: bool
) -> None:
    """Cancel one order, those of a symbol, or all.

    Raises:
        CheckFailedError: it was refused.
    """
    if sum((order_id is not None, symbol is not None, is_all)) != 1:
        raise UsageError("which orders?", remedy="Give one ID, or --symbol SYMBOL, or --all.")
    with ManualDesk(run_dir) as desk:
        if order_id is not None:
            number = parse_order(order_id)
            if _agreed(desk.describe_cancel([number]), yes=yes):
                _tell(desk.cancel(number))
            return
        where = (symbol or "").upper()
        meant = desk.open_orders(where)
        if not meant or _agreed(desk.describe_cancel(meant), yes=yes):
            _tell(desk.cancel_all(where))


def flatten(run_dir: Path, symbol: str, *, yes: bool) -> None:
    """Close a position.

    Raises:
        CheckFailedError: it is still open, or part of it.
    """
    with ManualDesk(run_dir) as desk:
        if _agreed(desk.describe_flatten(symbol.upper()), yes=yes):
            _tell(desk.flatten(symbol.upper()))


def _agreed(question: str, *, yes: bool) -> bool:
    """Whether the person wants it; only a clear yes counts."""
    if yes:
        click.echo(question)
        return True
    if not sys.stdin.isatty():
        raise UsageError(
            f"{question}: nobody can be asked here.", remedy="--yes, when it is meant."
        )
    if click.confirm(f"{question}?", default=False):
        return True
    click.echo("not done")
    return False


def _tell(outcome: Outcome) -> None:
    click.echo(outcome.require().text)
