"""Orders as the text that leaves: WebSocket API requests and REST parameters.

One encoder for each instrument. Everything that does not change between two orders is prepared
at start, prices and quantities are written with exactly the instrument's decimals, and nothing is
kept from one call to the next, so that the path can be rehearsed as often as one likes.

What is always said, because the venue's defaults differ between entry points: the self-trade
prevention mode (``EXPIRE_MAKER``; batches and the WebSocket API would take none) and the response
type. ACK for orders that may rest: it comes as
soon as the order is accepted. RESULT for orders that end at once (IOC, FOK, MARKET): it tells the
final state and the executed quantity even while the user stream is silent. Prices of fills are in
neither since 2026-07-14 (Binance USD-M API, new order and WebSocket API order.place).
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from hft.core.decimals import format_e8_bytes
from hft.core.orders import kind_of
from hft.errors import PrecisionError
from hft.records import OrderType, Reason, Side, Tif
from hft.units import format_e8
from hft.venues.binance_usdm.order_template import PlaceTexts, Template, no_such_order
from hft.venues.binance_usdm.signing import Credentials

Parameters = tuple[tuple[str, str], ...]
SELF_TRADE_PREVENTION: Final = "EXPIRE_MAKER"
E8_PLACES: Final = 8

_CLIENT_ORDER_ID: Final = re.compile(r"h[0-9a-f]{16}")
_SIDES: Final[dict[int, str]] = {Side.BUY: "BUY", Side.SELL: "SELL"}
_KINDS: Final = (
    (OrderType.MARKET, Tif.UNKNOWN, False),
    (OrderType.MARKET, Tif.GTC, False),
    (OrderType.LIMIT, Tif.GTC, False),
    (OrderType.LIMIT, Tif.GTC, True),
    (OrderType.LIMIT, Tif.IOC, False),
    (OrderType.LIMIT, Tif.FOK, False),
    (OrderType.LIMIT, Tif.GTD, False),
)
"""Type, time in force, post-only: the orders that can be written. A market order says no time."""

# Marks of the changing values in a template.
_ID: Final = "{order}"
_PRICE: Final = "{price}"
_QTY: Final = "{qty}"
_DATE: Final = "{date}"
_NO_PLACES: Final = -1
_NUMBERS: Final = ("recvWindow", "timestamp")


def client_order_id(order_id: int) -> str:
    """Our order id as the venue's client order id: ``h`` and 16 hexadecimal digits."""
    return f"h{order_id:016x}"


def parse_client_order_id(text: str) -> int | None:
    """Our order id from a client order id; None: somebody else's order."""
    return int(text[1:], 16) if _CLIENT_ORDER_ID.fullmatch(text) else None


class Precision(Protocol):
    """What the encoder needs of an instrument: the record's view and ``SymbolInfo`` both do."""

    @property
    def symbol(self) -> bytes | str:
        """The venue's symbol."""
        ...

    @property
    def price_places(self) -> int:
        """Decimals of a price on the wire."""
        ...

    @property
    def qty_places(self) -> int:
        """Decimals of a quantity on the wire."""
        ...


def _decimal(value_e8: int, places: int) -> bytes:
    """A positive value with exactly ``places`` decimals."""
    if value_e8 <= 0:
        raise PrecisionError(text=format_e8(value_e8), why="is not above zero")
    return format_e8_bytes(value_e8, places)


class OrderTextEncoder(PlaceTexts):
    """Order requests of one instrument.

    With HMAC keys every request carries the API key and a signature; with Ed25519 keys the
    connection is logged on once and requests carry neither.
    """

    __slots__ = (
        "_amends",
        "_api_key",
        "_cancel",
        "_is_signed",
        "_price_places",
        "_qty_places",
        "_query",
        "_recv_window_ms",
        "_sign",
        "symbol",
    )

    def __init__(
        self, instrument: Precision, credentials: Credentials, recv_window_ms: int
    ) -> None:
        symbol = instrument.symbol
        self.symbol: Final = symbol.decode() if isinstance(symbol, bytes) else symbol
        self._api_key = credentials.api_key
        self._sign = credentials.signer.sign
        self._is_signed = credentials.key_type == "hmac"
        self._recv_window_ms = recv_window_ms
        self._price_places = instrument.price_places
        self._qty_places = instrument.qty_places
        places = {
            kind_of(side, order_type, tif, post_only, reduce_only, tif is Tif.GTD): self._prepare(
                "order.place",
                {
                    **dict(_static_fields(side, order_type, tif, post_only, reduce_only)),
                    "newClientOrderId": _ID,
                    **({"price": _PRICE} if order_type is OrderType.LIMIT else {}),
                    "quantity": _QTY,
                },
            )
            for side in _SIDES
            for order_type, tif, post_only in _KINDS
            for reduce_only in (False, True)
        }
        super().__init__(places)
        self._amends = {
            side: self._prepare(
                "order.modify",
                {"side": word, "origClientOrderId": _ID, "price": _PRICE, "quantity": _QTY},
            )
            for side, word in _SIDES.items()
        }
        self._cancel = self._prepare("order.cancel", {"origClientOrderId": _ID})
        self._query = self._prepare("order.status", {"origClientOrderId": _ID})

    def place(
        self,
        request_id: int,
        order_id: int,
        *,
        side: int,
        order_type: int,
        tif: int,
        is_post_only: int,
        is_reduce_only: int,
        price_e8: int,
        qty_e8: int,
        timestamp_ms: int,
        good_till_s: int = 0,
    ) -> bytes:
        """``order.place``. The price of a market order is ignored.

        Args:
            request_id: echoed in the reply.
            order_id: ours; becomes the client order id.
            side: ``Side``.
            order_type: ``OrderType``.
            tif: ``Tif``; that of a market order is ignored.
            is_post_only: reject rather than take; good-till-cancelled orders only.
            is_reduce_only: may only shrink the position.
            price_e8: limit price, 1e-8.
            qty_e8: quantity, 1e-8.
            timestamp_ms: wall clock of the venue.
            good_till_s: end of a good-till-date order, seconds of the venue's wall clock.

        Raises:
            UsageError: no such kind of order; good-till-date without a date, or the reverse.
            PrecisionError: price or quantity has more decimals than the instrument.
        """
        kind = kind_of(side, order_type, tif, is_post_only, is_reduce_only, good_till_s != 0)
        template = self._places.get(kind)
        if template is None:
            raise no_such_order(side, order_type, tif, is_post_only)
        return template.text(
            request_id, order_id, price_e8, qty_e8, timestamp_ms, _good_till_ms(good_till_s)
        )

    def amend(
        self,
        request_id: int,
        order_id: int,
        *,
        side: int,
        price_e8: int,
        qty_e8: int,
        timestamp_ms: int,
    ) -> bytes:
        """``order.modify``: new price and new *total* quantity. Raises as ``place``."""
        template = self._amends.get(side)
        if template is None:
            raise no_such_order(side, OrderType.LIMIT, Tif.GTC, False)
        return template.text(request_id, order_id, price_e8, qty_e8, timestamp_ms)

    def cancel(self, request_id: int, order_id: int, *, timestamp_ms: int) -> bytes:
        """``order.cancel`` by client order id."""
        return self._cancel.text(request_id, order_id, 0, 0, timestamp_ms)

    def query(self, request_id: int, order_id: int, *, timestamp_ms: int) -> bytes:
        """``order.status`` by client order id."""
        return self._query.text(request_id, order_id, 0, 0, timestamp_ms)

    def place_parameters(
        self,
        order_id: int,
        *,
        side: int,
        order_type: int,
        tif: int,
        is_post_only: int,
        is_reduce_only: int,
        price_e8: int,
        qty_e8: int,
        good_till_s: int = 0,
    ) -> Parameters:
        """Parameters of ``POST /fapi/v1/order``, time and signature excepted. As ``place``."""
        kind = kind_of(side, order_type, tif, is_post_only, is_reduce_only, good_till_s != 0)
        if kind not in self._places:
            raise no_such_order(side, order_type, tif, is_post_only)
        is_limit = order_type == OrderType.LIMIT
        price = (("price", _decimal(price_e8, self._price_places).decode()),) if is_limit else ()
        words = _static_fields(side, order_type, tif, bool(is_post_only), bool(is_reduce_only))
        if good_till_s:
            date = str(_good_till_ms(good_till_s))
            words = tuple((name, date if word == _DATE else word) for name, word in words)
        return (
            ("symbol", self.symbol),
            *words,
            ("newClientOrderId", client_order_id(order_id)),
            ("quantity", _decimal(qty_e8, self._qty_places).decode()),
            *price,
        )

    def amend_parameters(
        self, order_id: int, *, side: int, price_e8: int, qty_e8: int
    ) -> Parameters:
        """Parameters of ``PUT /fapi/v1/order``, time and signature excepted. As ``amend``."""
        word = _SIDES.get(side)
        if word is None:
            raise no_such_order(side, OrderType.LIMIT, Tif.GTC, False)
        return (
            ("symbol", self.symbol),
            ("side", word),
            ("origClientOrderId", client_order_id(order_id)),
            ("quantity", _decimal(qty_e8, self._qty_places).decode()),
            ("price", _decimal(price_e8, self._price_places).decode()),
        )

    def objection(self, price_e8: int, qty_e8: int) -> Reason:
        """Why a price or quantity cannot be written with this instrument's decimals."""
        if price_e8 <= 0 or price_e8 % 10 ** (E8_PLACES - self._price_places):
            return Reason.PRICE_OFF_TICK
        if qty_e8 <= 0 or qty_e8 % 10 ** (E8_PLACES - self._qty_places):
            return Reason.QTY_OFF_STEP
        return Reason.MALFORMED

    def _prepare(self, method: str, fields: dict[str, str]) -> Template:
        """``fields`` in the order in which they are written, with marks for those that change."""
        words = {"symbol": self.symbol}
        if self._is_signed:
            words["apiKey"] = self._api_key
        words |= fields
        words |= {"recvWindow": str(self._recv_window_ms), "timestamp": "{time}"}
        text = ",".join(
            f'"{name}":{word}' if name in _NUMBERS else f'"{name}":"{word}"'
            for name, word in words.items()
        )
        signature = ',"signature":"{signature}"' if self._is_signed else ""
        has_price, has_qty = _PRICE in fields.values(), _QTY in fields.values()
        return Template(
            f'{{"id":{{request}},"method":"{method}","params":{{{text}{signature}}}}}'.encode(),
            # Sorted by name, as the WebSocket API wants it.
            "&".join(f"{name}={words[name]}" for name in sorted(words)).encode(),
            self._price_places if has_price else _NO_PLACES,
            self._qty_places if has_qty else _NO_PLACES,
            self._sign if self._is_signed else None,
        )


def _static_fields(
    side: int, order_type: int, tif: int, is_post_only: bool, is_reduce_only: bool
) -> Parameters:
    """The words of an order that are the same for every order of its kind."""
    is_limit = order_type == OrderType.LIMIT
    may_rest = is_limit and tif in (Tif.GTC, Tif.GTD)
    tif_word = "GTX" if is_post_only else Tif(tif).name
    return (
        ("side", _SIDES[side]),
        ("type", OrderType(order_type).name),
        *((("timeInForce", tif_word),) if is_limit else ()),
        *((("goodTillDate", _DATE),) if is_limit and tif == Tif.GTD else ()),
        *((("reduceOnly", "true"),) if is_reduce_only else ()),
        ("newOrderRespType", "ACK" if may_rest else "RESULT"),
        ("selfTradePreventionMode", SELF_TRADE_PREVENTION),
    )


def _good_till_ms(good_till_s: int) -> int:
    """The date as the venue takes it: ms, of which it looks at whole seconds only."""
    return good_till_s * 1_000
