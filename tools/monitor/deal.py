"""What a person asks for by hand: from the typed line to the question that is asked back. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from hft.errors import UsageError
from hft.units import format_e8, parse_e8
from tools.monitor.model import Instrument, Order, Snapshot
from tools.monitor.text import decimal, money

DEALS: Final = ("buy", "sell", "cancel", "flatten")
"""Commands that act on orders; they are named as on the command line."""
BPS: Final = 10_000
SIDES: Final = {"buy": 1, "sell": -1}
E8: Final = 10**8


class Deal(NamedTuple):
    """An order, or the end of one."""

    what: str
    """buy, sell, cancel, flatten."""
    symbol: str = ""
    """Empty: of every symbol."""
    qty_e8: int = 0
    price_e8: int = 0
    """0: at the market."""
    order_id: int = 0


def parse_deal(what: str, argument: str, snapshot: Snapshot) -> Deal:
    """What was typed after the command's name.

    Raises:
        UsageError: it is not what the command takes.
    """
    words = argument.split()
    if what in SIDES:
        if len(words) not in (2, 3):
            raise UsageError(f"write :{what} SYMBOL QTY [PRICE]")
        qty_e8 = _positive(words[1], "quantity")
        price_e8 = _positive(words[2], "price") if len(words) == 3 else 0
        return Deal(what, _symbol(words[0], snapshot), qty_e8, price_e8)
    if len(words) != 1:
        raise UsageError(f"write :{what} {'ID, SYMBOL or all' if what == 'cancel' else 'SYMBOL'}")
    if what == "cancel" and words[0] == "all":
        return Deal(what)
    if what == "cancel" and (order := _order(words[0], snapshot)) is not None:
        return Deal(what, order_id=order.order_id)
    return Deal(what, _symbol(words[0], snapshot))


def question(deal: Deal, snapshot: Snapshot) -> tuple[str, ...]:
    """What would happen, line by line; the first says it in short.

    Raises:
        UsageError: there is nothing that it could be done to.
    """
    system = f"{snapshot.mode.upper()} {snapshot.name}"
    if deal.what in SIDES:
        return _about_order(deal, snapshot, system)
    if deal.what == "flatten":
        return _about_position(deal, snapshot, system)
    if deal.order_id:
        order = next(one for one in snapshot.orders if one.order_id == deal.order_id)
        return _about_cancel(order, snapshot, system)
    meant = [one for one in snapshot.orders if deal.symbol in ("", one.instrument.symbol)]
    ours = [one for one in meant if one.owner != "not ours"]
    if not ours:
        raise UsageError(f"no order of ours is open in {deal.symbol or system}")
    worth_e8 = sum(_worth_e8(one) for one in ours)
    what = f"Cancel {len(ours)} orders in {deal.symbol or 'every symbol'}"
    return (what, system, f"notional {money(worth_e8, signed=False)}",
            "a strategy that runs may place new ones")  # fmt: skip


def _about_order(deal: Deal, snapshot: Snapshot, system: str) -> tuple[str, ...]:
    instrument = _instrument(deal.symbol, snapshot)
    near_e8, name = _market(instrument, snapshot)
    price_e8 = deal.price_e8 or near_e8
    at = _price(price_e8, instrument) if deal.price_e8 else "the market"
    away = (
        _away(price_e8, near_e8, name) if deal.price_e8 else f"{name} {_price(near_e8, instrument)}"
    )
    worth_e8 = price_e8 * deal.qty_e8 // E8
    return (
        f"{deal.what.upper()} {format_e8(deal.qty_e8)} {deal.symbol} at {at}",
        system,
        f"notional {money(worth_e8, signed=False)}",
        away,
    )


def _about_position(deal: Deal, snapshot: Snapshot, system: str) -> tuple[str, ...]:
    held = next(
        (one for one in snapshot.positions
         if one.instrument.symbol == deal.symbol and one.mode == "live" and one.qty_e8),
        None,
    )  # fmt: skip
    if held is None:
        raise UsageError(f"there is no position in {deal.symbol}")
    near_e8, name = _market(held.instrument, snapshot)
    side = "SELL" if held.qty_e8 > 0 else "BUY"
    return (
        f"{side} {format_e8(abs(held.qty_e8))} {deal.symbol}: close the position",
        system,
        f"notional {money(abs(held.qty_e8) * near_e8 // E8, signed=False)}",
        f"takes what the market gives; {name} {_price(near_e8, held.instrument)}",
    )


def _about_cancel(order: Order, snapshot: Snapshot, system: str) -> tuple[str, ...]:
    instrument = order.instrument
    side = "buy" if order.side > 0 else "sell"
    left = format_e8(order.qty_e8 - order.filled_e8)
    near_e8, name = _market(instrument, snapshot)
    return (
        f"Cancel {side} {left} {instrument.symbol} at {_price(order.price_e8, instrument)}",
        f"{system}, placed by {order.owner}",
        f"notional {money(_worth_e8(order), signed=False)}",
        _away(order.price_e8, near_e8, name),
    )


def _market(instrument: Instrument, snapshot: Snapshot) -> tuple[int, str]:
    """A price nearby and what it is: the mid of the book that is shown, else the mark.

    Raises:
        UsageError: neither is known.
    """
    book = snapshot.book
    if book is not None and book.instrument == instrument and book.bids and book.asks:
        return (book.bids[0].price_e8 + book.asks[0].price_e8) // 2, "mid"
    for position in snapshot.positions:
        if position.instrument == instrument and position.mark_e8:
            return position.mark_e8, "mark"
    raise UsageError(f"no price of {instrument.symbol} is known: look at its book first, :sym")


def _away(price_e8: int, near_e8: int, name: str) -> str:
    bps = BPS * (price_e8 - near_e8) / near_e8
    if abs(bps) < 0.05:
        return f"at the {name}"
    return f"{abs(bps):,.1f} bps {'above' if bps > 0 else 'below'} the {name}"


def _worth_e8(order: Order) -> int:
    return (order.qty_e8 - order.filled_e8) * order.price_e8 // E8


def _price(price_e8: int, instrument: Instrument) -> str:
    """With the venue's decimals, or as many as were typed."""
    is_finer = price_e8 % 10 ** (8 - instrument.price_places)
    return format_e8(price_e8) if is_finer else decimal(price_e8, instrument.price_places)


def _positive(text: str, what: str) -> int:
    value_e8 = parse_e8(text)
    if value_e8 <= 0:
        raise UsageError(f"{text} is no {what}")
    return value_e8


def _symbol(text: str, snapshot: Snapshot) -> str:
    return _instrument(text, snapshot).symbol


def _instrument(text: str, snapshot: Snapshot) -> Instrument:
    for one in snapshot.instruments:
        if one.symbol.upper() == text.upper():
            return one
    known = ", ".join(one.symbol for one in snapshot.instruments)
    raise UsageError(f"{text} is not traded here: {known}")


def _order(text: str, snapshot: Snapshot) -> Order | None:
    """The open order of that id: h and 16 digits, 0x…, or decimal."""
    digits = "0x" + text[1:] if text[:1] == "h" else text
    try:
        order_id = int(digits, 0)
    except ValueError:
        return None
    for order in snapshot.orders:
        if order.order_id == order_id:
            if order.owner == "not ours":
                raise UsageError("that order is not ours: who placed it has to cancel it")
            return order
    raise UsageError(f"no order {text} is open")
