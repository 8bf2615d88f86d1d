"""The faults the venue can be told to make: names, meanings, and what is drawn for each.

What the protocol reference of Binance USD-M documents decides what a fault looks like: texts, codes
and HTTP statuses, the order of user events, what a halted or restarted venue tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import Final, NamedTuple, TypeAlias

from hft.errors import PrecisionError, UsageError
from hft.units import parse_e8

Range: TypeAlias = tuple[float, float]
ONCE: Final = (1, 1)
COUNT_MAX: Final = 1_000
SECONDS_MAX: Final = 86_400.0


class Kind(NamedTuple):
    """One kind of fault, and the ranges from which its numbers are drawn."""

    text: str
    seconds: Range = (0.0, 0.0)
    """How long it lasts, or how long it waits for something to hit; (0, 0): it acts at once."""
    milliseconds: Range = (0.0, 0.0)
    hits: tuple[int, int] = ONCE
    """Frames, requests or connections it hits; 0: all within ``seconds``."""
    takes_symbol: bool = False


_WAIT: Final = (2.0, 2.0)
"""Seconds in which a fault for a single frame or request looks for one."""
_ALL: Final = (0, 0)

KINDS: Final[Mapping[str, Kind]] = {
    # Connections.
    "drop_market": Kind("a market connection ends, with or without close frame"),
    "drop_user": Kind("a user-data connection ends, with or without close frame"),
    "drop_api": Kind("a WebSocket API connection ends, with or without close frame"),
    "half_open_market": Kind("nothing is written to a market connection any more; it stays up"),
    "half_open_user": Kind("nothing is written to a user-data connection any more; it stays up"),
    "half_open_api": Kind("nothing is written to a WebSocket API connection any more; requests "
                          "that come are executed, unless is_deaf"),
    # Frames.
    "delay_market": Kind("market frames come late", (0.2, 1.0), (20, 300), _ALL, True),
    "delay_user": Kind("user events come late", (0.2, 1.0), (20, 500), _ALL),
    "delay_api": Kind("WebSocket API replies come late", (0.2, 1.0), (20, 500), _ALL),
    "delay_reply": Kind("REST replies come late", (0.2, 1.0), (20, 500), _ALL),
    "freeze_market": Kind("the streams of a symbol fall silent", (0.5, 3.0), (0, 0), _ALL, True),
    "skip_depth": Kind("a depth frame is missing: the next pu breaks", _WAIT, takes_symbol=True),
    "duplicate_depth": Kind("a depth frame comes twice", _WAIT, takes_symbol=True),
    "reorder_depth": Kind("two depth frames change places", _WAIT, takes_symbol=True),
    "lose_user": Kind("user events are lost on each user connection", _WAIT),
    "duplicate_user": Kind("user events come twice", _WAIT, (0, 0), (1, 5)),
    "repeat_filled": Kind("an order's FILLED comes again later", (1.0, 5.0), (50, 1000), _ALL),
    "reorder_user": Kind("user events change places across types; within a type their order stays",
                         (0.5, 2.0), (5, 50), _ALL),
    # Requests.
    "lost_ack": Kind("no reply; executed or not", _WAIT, takes_symbol=True),
    "unknown_error": Kind("503 'Unknown error…'; executed or not", _WAIT, takes_symbol=True),
    "unavailable": Kind("503 'Service Unavailable.': certainly not executed", _WAIT,
                        takes_symbol=True),
    "internal_error": Kind("503 -1001 'Internal error…': certainly not executed", _WAIT,
                           takes_symbol=True),
    "timeout": Kind("408 -1007; executed late, up to the end of recvWindow, or never", _WAIT,
                    takes_symbol=True),
    "http_408": Kind("408 from the gateway, not JSON over REST; executed or not", _WAIT,
                     takes_symbol=True),
    "overload": Kind("503 -1008 for what opens or enlarges a position", (0.2, 2.0), (0, 0), _ALL,
                     True),
    "stale_snapshot": Kind(
        "depth queries answer with the book as it was", (0.3, 1.0), (0, 0), _ALL, True
    ),
    "bad_timestamp": Kind("-1021 whatever the timestamp", _WAIT, takes_symbol=True),
    "fill_before_ack": Kind("a new order fills before its reply leaves", (5.0, 5.0),
                            takes_symbol=True),
    "fill_before_cancel": Kind("an order fills before its cancel is looked at: -2011", (5.0, 5.0),
                               takes_symbol=True),
    "fill_before_amend": Kind("an order fills before its amendment is looked at: -2013", (5.0, 5.0),
                              takes_symbol=True),
    "rate_limit": Kind("429 with Retry-After for every request", (1.0, 3.0)),
    "ban": Kind("418 for every request; those that come after it was told are violations",
                (2.0, 5.0)),
    # The venue itself.
    "expire_listen_key": Kind("the listen key ends and the event tells it"),
    "expire_listen_key_silently": Kind("the listen key ends and nothing tells it"),
    "restart": Kind("all connections end, nothing answers for a while; orders stay", (0.5, 2.0)),
    "restart_resetting_ids": Kind("as restart, and update ids begin again", (0.5, 2.0)),
    "restart_losing_orders": Kind("as restart, and the open orders are gone", (0.5, 2.0)),
    "halt": Kind("a symbol does not trade", (0.5, 3.0), takes_symbol=True),
    "tick_size": Kind("a symbol's tick grows tenfold, or goes back", takes_symbol=True),
    "clock_offset": Kind("the venue's clock steps by milliseconds, and back", (1.0, 5.0),
                         (-2_000, 2_000)),
    # The account.
    "partial_fill": Kind("a resting order fills in part", (5.0, 5.0), takes_symbol=True),
    "liquidation": Kind("a position is liquidated", (5.0, 5.0), takes_symbol=True),
    "auto_deleveraging": Kind("auto-deleveraging closes a position", (5.0, 5.0), takes_symbol=True),
    "foreign_order": Kind("somebody else places a resting order on the account, and cancels it in "
                          "the end", (5.0, 30.0), takes_symbol=True),
    "foreign_algo_order": Kind("somebody else places a conditional order on the account, and "
                               "cancels it in the end", (5.0, 30.0), takes_symbol=True),
    "foreign_trade": Kind("somebody else trades on the account", (5.0, 5.0), takes_symbol=True),
    "funding": Kind("funding is paid now"),
    "transfer": Kind("money comes into the wallet, or leaves it"),
}  # fmt: skip


class Scope(NamedTuple):
    """Which requests a fault may hit."""

    text: str
    names: frozenset[str]
    """Empty: all."""


_PLACES: Final = (
    "POST /fapi/v1/order",
    "POST /fapi/v1/batchOrders",
    "POST /fapi/v1/algoOrder",
    "order.place",
    "algoOrder.place",
)
_CANCELS: Final = (
    "DELETE /fapi/v1/order",
    "DELETE /fapi/v1/batchOrders",
    "DELETE /fapi/v1/allOpenOrders",
    "DELETE /fapi/v1/algoOrder",
    "DELETE /fapi/v1/algoOpenOrders",
    "order.cancel",
    "algoOrder.cancel",
)
_AMENDS: Final = ("PUT /fapi/v1/order", "PUT /fapi/v1/batchOrders", "order.modify")
SCOPES: Final[Mapping[str, Scope]] = {
    "orders": Scope("new orders, amendments and cancels", frozenset(_PLACES + _AMENDS + _CANCELS)),
    "new": Scope("new orders", frozenset(_PLACES)),
    "amend": Scope("amendments", frozenset(_AMENDS)),
    "cancel": Scope("cancels", frozenset(_CANCELS)),
    "depth": Scope("depth queries", frozenset(("GET /fapi/v1/depth", "depth"))),
    "all": Scope("every request", frozenset()),
}


@dataclass(slots=True, kw_only=True)
class Choice:
    """What is decided about one fault when it begins. Drawn, unless it was given."""

    symbol: str
    """Empty: any."""
    account: str
    seconds: float
    milliseconds: int
    count: int
    executes: bool
    """Whether a request whose outcome stays unknown was executed; whether a race fills all."""
    closes: bool
    """Whether a dropped connection gets a close frame."""
    is_deaf: bool
    """Whether a half-open connection is not read from either."""
    scope: str
    amount: str
    """Of a transfer: decimal text in USDT, negative to take out; empty: drawn when it is made."""


def choose(
    kind: str,
    random: Random,
    given: Mapping[str, str],
    *,
    symbols: Sequence[str],
    accounts: Sequence[str],
) -> Choice:
    """Decide about a fault. The draws are the same whatever is given.

    Raises:
        UsageError: an unknown kind or option, or a value that does not fit.
    """
    definition = KINDS.get(kind)
    if definition is None:
        raise UsageError(f"there is no fault {kind!r}", remedy="GET /sim/faults lists the kinds")
    drawn = Choice(
        symbol=random.choice(symbols) if definition.takes_symbol else "",
        account=accounts[0],
        seconds=round(random.uniform(*definition.seconds), 3),
        milliseconds=round(random.uniform(*definition.milliseconds)),
        count=random.randint(*definition.hits),
        executes=random.random() < 0.5,
        closes=random.random() < 0.5,
        is_deaf=random.random() < 0.5,
        scope="orders",
        amount="",
    )
    names = [field.name for field in fields(Choice)]
    for name, text in given.items():
        if name not in names:
            raise UsageError(
                f"a fault has no option {name!r}", remedy=f"options are {', '.join(names)}"
            )
        setattr(drawn, name, _value(name, text, drawn))
    if drawn.symbol and drawn.symbol not in symbols:
        raise UsageError(f"there is no symbol {drawn.symbol!r}", remedy="choose a listed one")
    if drawn.account not in accounts:
        raise UsageError(f"there is no account {drawn.account!r}", remedy="choose a configured one")
    if drawn.scope not in SCOPES:
        raise UsageError(
            f"there is no scope {drawn.scope!r}", remedy=f"scopes are {', '.join(SCOPES)}"
        )
    return drawn


def _value(name: str, text: str, drawn: Choice) -> object:
    """The value of an option from its text."""
    old = getattr(drawn, name)
    try:
        match old:
            case bool():
                return {"true": True, "false": False}[text.lower()]
            case int():
                value = int(text)
                if name == "count" and not 0 <= value <= COUNT_MAX:
                    raise ValueError
                return value
            case float():
                seconds = float(text)
                if not 0 <= seconds <= SECONDS_MAX:
                    raise ValueError
                return seconds
        if name == "amount":
            parse_e8(text)
    except (KeyError, ValueError, PrecisionError):
        raise UsageError(
            f"option {name} cannot be {text!r}",
            remedy="booleans are true or false, counts 0 to 1000, seconds 0 to 86400, amounts "
            "decimals of up to eight places",
        ) from None
    return text
