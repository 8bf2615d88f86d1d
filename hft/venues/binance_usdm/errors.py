"""What the venue's error codes mean, and the errors its clients raise.

Two questions matter for an order: *was the request certainly not executed* (``is_definite``), and
*does the venue say that it does not know the order* (``is_order_unknown``). Everything else is
prose for people. Codes decide, never texts: texts are localised and reworded. The one exception
is a 503 without a telling code, where only the text separates "failed" from "may have happened"
(Binance USD-M API, general info, HTTP return codes).

::

    HftError
    ├── VenueError            (hft.errors) the venue refused, definitely
    │   ├── RateLimitedError  429: stop until ``retry_after_s`` has passed
    │   └── BannedError       418: the address is banned until ``until_ns``
    ├── UnknownOutcomeError   sent, and nobody knows whether it was executed
    └── SessionDownError      not sent: there is no usable connection
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from hft.errors import EXIT_UNREACHABLE, HftError, VenueError
from hft.records import Reason

NO_CODE: Final = 0
"""Stands for an answer without an error code: HTML of a gateway, an empty body."""


class UnknownOutcomeError(HftError):
    """A request left and its outcome is not known: timeout, 408, 503 "unknown", lost socket.

    Never a reason to send again: ask for the order by its client id first.
    """

    exit_code = EXIT_UNREACHABLE

    def __init__(self, message: str, *, code: int = NO_CODE, status: int = 0) -> None:
        super().__init__(
            message, remedy="query the order by its client id before anything is sent again"
        )
        self.code = code
        self.status = status


class RateLimitedError(VenueError):
    """The venue, or our own guard in front of it, refuses for now (429)."""

    def __init__(self, *, code: int, text: str, status: int, retry_after_s: float) -> None:
        super().__init__(
            code=code,
            text=text,
            status=status,
            remedy=f"nothing may be sent for {retry_after_s:.1f} s",
        )
        self.retry_after_s = retry_after_s


class BannedError(VenueError):
    """The address is banned (418): nothing at all may be sent before ``until_ns``."""

    def __init__(self, *, code: int, text: str, until_ns: int) -> None:
        super().__init__(
            code=code,
            text=text,
            status=418,
            remedy="stop everything that talks to the venue from this address until the ban ends",
        )
        self.until_ns = until_ns
        """Venue wall clock."""


class SessionDownError(HftError):
    """Not sent: the session has no connection that may carry a request now."""

    exit_code = EXIT_UNREACHABLE


class Fault(NamedTuple):
    """Meaning of one error answer."""

    meaning: str
    reason: Reason
    is_definite: bool = True
    """The request was certainly not executed."""
    is_order_unknown: bool = False
    """The venue does not know the order, or not any more: filled, cancelled, or never there."""
    is_satisfied: bool = False
    """What was asked for already holds: to be treated as done."""


_REJECTED: Final = Reason.VENUE_REJECTED
_FILTER: Final = Reason.VENUE_FILTER
_MARGIN: Final = Reason.VENUE_MARGIN
_RATE: Final = Reason.VENUE_RATE_LIMIT
_OVERLOAD: Final = Reason.VENUE_OVERLOAD
_TIMESTAMP: Final = Reason.VENUE_TIMESTAMP
_REDUCE: Final = Reason.VENUE_REDUCE_ONLY
_POST_ONLY: Final = Reason.VENUE_POST_ONLY
_UNKNOWN_ORDER: Final = Reason.VENUE_UNKNOWN_ORDER
_NOT_TRADING: Final = Reason.INSTRUMENT_NOT_TRADING

FAULTS: Final[dict[int, Fault]] = {
    -1000: Fault("unknown error at the venue", _OVERLOAD, is_definite=False),
    -1001: Fault("internal error at the venue", _OVERLOAD, is_definite=False),
    -1002: Fault("not authorised", _REJECTED),
    -1003: Fault("request weight exceeded, or address banned", _RATE),
    -1006: Fault("unexpected response, execution status unknown", _OVERLOAD, is_definite=False),
    -1007: Fault("backend timeout, execution status unknown", _OVERLOAD, is_definite=False),
    -1008: Fault("overload: only cancels and reduce-only orders pass", _OVERLOAD),
    -1010: Fault("error message received", _OVERLOAD, is_definite=False),
    -1011: Fault("address not on the key's list", _REJECTED),
    -1013: Fault("invalid message", _REJECTED),
    -1014: Fault("unsupported order combination", _REJECTED),
    -1015: Fault("order count limit", _RATE),
    -1016: Fault("service shutting down", _OVERLOAD),
    -1020: Fault("unsupported operation", _REJECTED),
    -1021: Fault("timestamp outside the receive window", _TIMESTAMP),
    -1022: Fault("invalid signature", _REJECTED),
    -1099: Fault("not found or not authorised", _REJECTED),
    -1100: Fault("illegal characters in a parameter", Reason.MALFORMED),
    -1101: Fault("too many parameters", Reason.MALFORMED),
    -1102: Fault("parameter missing or malformed", Reason.MALFORMED),
    -1103: Fault("unknown parameter", Reason.MALFORMED),
    -1104: Fault("unread parameters", Reason.MALFORMED),
    -1105: Fault("parameter empty", Reason.MALFORMED),
    -1106: Fault("parameter sent when not required", Reason.MALFORMED),
    -1111: Fault("too many decimals", _FILTER),
    -1115: Fault("invalid time in force", Reason.MALFORMED),
    -1116: Fault("invalid order type", Reason.MALFORMED),
    -1117: Fault("invalid side", Reason.MALFORMED),
    -1121: Fault("invalid symbol", Reason.INSTRUMENT_UNKNOWN),
    -1122: Fault("symbol has an invalid status", _NOT_TRADING),
    -1125: Fault("the listen key does not exist", _REJECTED),
    -1131: Fault("receive window too long", Reason.MALFORMED),
    -2010: Fault("new order rejected", _REJECTED),
    -2011: Fault("cancel rejected: no such open order", _UNKNOWN_ORDER, is_order_unknown=True),
    -2012: Fault("cancel-all failed", _REJECTED, is_definite=False),
    -2013: Fault("order does not exist", _UNKNOWN_ORDER, is_order_unknown=True),
    -2014: Fault("API key has a bad format", _REJECTED),
    -2015: Fault("API key, address or permissions not accepted", _REJECTED),
    -2017: Fault("API keys are locked", _REJECTED),
    -2018: Fault("balance insufficient", _MARGIN),
    -2019: Fault("margin insufficient", _MARGIN),
    -2020: Fault("unable to fill", _REJECTED),
    -2021: Fault("order would trigger immediately", _REJECTED),
    -2022: Fault("reduce-only order rejected", _REDUCE),
    -2023: Fault("account in liquidation", _MARGIN),
    -2024: Fault("position not sufficient", _REDUCE),
    -2025: Fault("too many open orders", Reason.OPEN_ORDERS_MAX),
    -2027: Fault("position limit at this leverage", _MARGIN),
    -2028: Fault("leverage too low for the margin", _MARGIN),
    -4001: Fault("price below zero", _FILTER),
    -4002: Fault("price above the maximum", _FILTER),
    -4003: Fault("quantity not above zero", _FILTER),
    -4004: Fault("quantity below the minimum", _FILTER),
    -4005: Fault("quantity above the maximum", _FILTER),
    -4013: Fault("price below the minimum", _FILTER),
    -4014: Fault("price not on a tick", _FILTER),
    -4015: Fault("client order id too long", Reason.MALFORMED),
    -4016: Fault("price above the mark multiplier", _FILTER),
    -4023: Fault("quantity not on a step", _FILTER),
    -4024: Fault("price below the mark multiplier", _FILTER),
    -4030: Fault("too many decimals for the step", _FILTER),
    -4046: Fault("margin type already so", Reason.NONE, is_satisfied=True),
    -4047: Fault("margin type change blocked by open orders", _REJECTED),
    -4048: Fault("margin type change blocked by a position", _REJECTED),
    -4059: Fault("position mode already so", Reason.NONE, is_satisfied=True),
    -4061: Fault("position side does not match the position mode", _REJECTED),
    -4062: Fault("reduce-only conflicts with the position mode", _REDUCE),
    -4067: Fault("position mode change blocked by open orders", _REJECTED),
    -4068: Fault("position mode change blocked by a position", _REJECTED),
    -4087: Fault("only reduce-only orders allowed", _REDUCE),
    -4088: Fault("no permission to place orders", _REJECTED),
    -4105: Fault("symbol allows only reduce-only orders", _REDUCE),
    -4106: Fault("symbol allows only reduce-only buys", _REDUCE),
    -4107: Fault("symbol allows only reduce-only sells", _REDUCE),
    -4109: Fault("account inactive", _REJECTED),
    # Somebody's order with this id is open: if it is ours, the earlier request did arrive.
    -4116: Fault("an open order has this client id", Reason.ORDER_ID_REUSED, is_definite=False),
    -4118: Fault("reduce-only margin check failed", _REDUCE),
    -4120: Fault("stop orders belong to the algo service", _REJECTED),
    -4131: Fault("market order beyond the price limit", _FILTER),
    -4140: Fault("symbol not open for new positions", _NOT_TRADING),
    -4141: Fault("symbol closed", _NOT_TRADING),
    -4164: Fault("notional below the minimum", _FILTER),
    -4171: Fault("multi-assets mode already so", Reason.NONE, is_satisfied=True),
    -4189: Fault("account restricted", _REDUCE),
    -4192: Fault("cooling-off period", _REDUCE),
    -4400: Fault("trading quantitative rules: reduce-only", _REDUCE),
    -4401: Fault("large position: reduce-only", _REDUCE),
    -5000: Fault("no such path or method", _REJECTED),
    -5021: Fault("fill-or-kill order could not be filled", _REJECTED),
    -5022: Fault("post-only order would have taken", _POST_ONLY),
    -5024: Fault("amend refused: symbol not trading", _NOT_TRADING),
    -5025: Fault("only limit orders can be amended", _REJECTED),
    -5026: Fault("order amended too often", _REJECTED),
    -5027: Fault("amend changes nothing", Reason.NONE, is_satisfied=True),
    -5028: Fault("too old at the matching engine", _TIMESTAMP),
    -5029: Fault("notional below the minimum after the amend", _FILTER),
    -5039: Fault("invalid self-trade prevention mode", Reason.MALFORMED),
    -5043: Fault("another amend is pending", _REJECTED),
    -5047: Fault("the original order is not reduce-only", _REDUCE),
}

_TEXT_UNKNOWN: Final = "unknown error"
_TEXT_FAILED: Final = "service unavailable"
_BANNED_UNTIL: Final = re.compile(r"banned until (\d{10,16})")


def classify(code: int, http_status: int, text: str = "") -> Fault:
    """What an error answer means.

    Args:
        code: the venue's code, ``NO_CODE`` when the answer had none.
        http_status: HTTP status, or ``status`` of a WebSocket API reply; 0: not known.
        text: the venue's text; looked at only for a 5xx.
    """
    if http_status >= 500:
        return _classify_5xx(code, text)
    if http_status == 408:
        return Fault("backend timeout, execution status unknown", _OVERLOAD, is_definite=False)
    if http_status in (418, 429):
        known = FAULTS.get(code)
        return Fault(known.meaning if known else "request limit of the venue", _RATE)
    known = FAULTS.get(code)
    if known is not None:
        return known
    if http_status == 403:
        return Fault("blocked by the venue's firewall", _RATE)
    return Fault(f"refused with code {code}", _REJECTED)


def _classify_5xx(code: int, text: str) -> Fault:
    """Only a telling code or text proves that nothing happened; anything else may have."""
    known = FAULTS.get(code)
    if known is not None and known.is_definite:
        return known
    lowered = text.lower()
    if _TEXT_FAILED in lowered and _TEXT_UNKNOWN not in lowered:
        return Fault("service unavailable", _OVERLOAD)
    meaning = known.meaning if known is not None else "server error, execution status unknown"
    return Fault(meaning, _OVERLOAD, is_definite=False)


def banned_until_ms(text: str) -> int:
    """End of a ban in ms of the venue's wall clock, from the text of a -1003; 0: not in it."""
    found = _BANNED_UNTIL.search(text)
    return int(found.group(1)) if found else 0
