"""User data events: bytes of the private stream → typed events in our units.

Numbers come padded or with trailing zeros stripped; both are exact here. Unknown keys are ignored,
an unknown execution type or status becomes ``UNKNOWN``, an unknown event its own object, garbage a
``MalformedEvent`` to be counted. Nothing raises (Binance USD-M API, user data streams).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from hft.errors import PrecisionError
from hft.records import OrderType, Reason, Side, Tif
from hft.venues.binance_usdm.order_text import parse_client_order_id
from hft.venues.binance_usdm.user_wire import (
    WireAccountUpdate,
    WireAlgoUpdate,
    WireConfigUpdate,
    WireExpired,
    WireMarginCall,
    WireOrderTradeUpdate,
    WireTradeLite,
)
from hft.venues.binance_usdm.wire import (
    EXEC_TYPES,
    ORDER_TYPES,
    POST_ONLY_TIF,
    SIDES,
    STATUSES,
    TIFS,
    ExecType,
    OrderStatus,
    exact_e8,
    ns_of_ms,
    rounded_e8,
)


class OrderUpdate(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """ORDER_TRADE_UPDATE: anything that happened to an order."""

    symbol: str
    client_order_id: str
    """As sent; ``autoclose-``, ``adl_autoclose``, ``settlement_autoclose-`` begin system ids."""
    order_id: int
    """Ours; 0: the client order id is not one of ours."""
    venue_order_id: int
    side: Side
    order_type: OrderType
    tif: Tif
    is_post_only: bool
    is_reduce_only: bool
    exec_type: ExecType
    status: OrderStatus
    """After the event."""
    price_e8: int
    qty_e8: int
    cum_qty_e8: int
    average_price_e8: int
    last_price_e8: int
    last_qty_e8: int
    trade_id: int
    """0: not a trade."""
    is_maker: bool
    fee_e8: int
    """Cost positive, rebate negative, in ``fee_asset``."""
    fee_asset: str
    realised_pnl_e8: int
    """Of this trade, before the fee."""
    position_side: str
    reason: Reason
    """Why it expired, as far as it concerns us."""
    expiry_code: str
    """The venue's ``er``: 1 self-trade prevention, 2 IOC remainder, … 9 market remainder."""
    transaction_ns: int
    event_ns: int


class TradeLite(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """TRADE_LITE: the fastest notice of a fill; the same trade follows as an ``OrderUpdate``."""

    symbol: str
    client_order_id: str
    order_id: int
    venue_order_id: int
    side: Side
    price_e8: int
    """Of the order."""
    qty_e8: int
    last_price_e8: int
    last_qty_e8: int
    trade_id: int
    is_maker: bool
    transaction_ns: int
    event_ns: int


class BalanceChange(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Wallet of one asset after the event."""

    asset: str
    wallet_e8: int
    cross_wallet_e8: int
    change_e8: int
    """Of the wallet, without profit and fees; for FUNDING_FEE the amount itself."""


class PositionChange(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One position after the event."""

    symbol: str
    position_side: str
    position_e8: int
    entry_price_e8: int
    break_even_e8: int
    realised_pnl_e8: int
    """Cumulative, before fees."""
    unrealised_pnl_e8: int
    is_isolated: bool
    isolated_wallet_e8: int


class AccountUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """ACCOUNT_UPDATE: what changed, nothing else; one for each fill, before its order update."""

    cause: str
    """ORDER, FUNDING_FEE, DEPOSIT, INSURANCE_CLEAR, …"""
    symbol: str
    """Of a FUNDING_FEE, when the venue says it."""
    balances: tuple[BalanceChange, ...]
    positions: tuple[PositionChange, ...]
    transaction_ns: int
    event_ns: int


class AccountConfigUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """ACCOUNT_CONFIG_UPDATE: leverage of a symbol, or the multi-assets mode."""

    symbol: str
    """Empty: the multi-assets mode changed."""
    leverage: int
    is_multi_assets: bool | None
    transaction_ns: int
    event_ns: int


class MarginCall(msgspec.Struct, frozen=True, kw_only=True):
    """MARGIN_CALL: positions at risk; a liquidation may already be happening."""

    symbols: tuple[str, ...]
    event_ns: int


class AlgoUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """ALGO_UPDATE: a conditional order; the order it triggers has the same client order id."""

    symbol: str
    client_order_id: str
    algo_id: int
    status_text: str
    venue_order_id: int
    """Of the triggered order; 0: not triggered."""
    failure: str
    transaction_ns: int
    event_ns: int


class ListenKeyExpired(msgspec.Struct, frozen=True, kw_only=True):
    """The listen key is gone: the socket stays open and silent."""

    listen_key: str
    """Empty when the venue did not say."""


class UnknownEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a kind that nothing here depends on."""

    name: str


class MalformedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that are no event, or an event that lacks what it must have: to be counted."""

    text: str
    """Its beginning."""
    why: str


UserEvent = (
    OrderUpdate
    | TradeLite
    | AccountUpdate
    | AccountConfigUpdate
    | MarginCall
    | AlgoUpdate
    | ListenKeyExpired
    | UnknownEvent
    | MalformedEvent
)

TEXT_MAX: Final = 200

EXPIRY_REASONS: Final = {
    "1": Reason.VENUE_SELF_TRADE,
    "3": Reason.VENUE_SELF_TRADE,
    "4": Reason.VENUE_REDUCE_ONLY,
    "5": Reason.VENUE_MARGIN,
    "7": Reason.INSTRUMENT_NOT_TRADING,
}


class _Envelope(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw()
    e: str = ""


_EVENT: Final = msgspec.json.Decoder(
    WireOrderTradeUpdate
    | WireTradeLite
    | WireAccountUpdate
    | WireConfigUpdate
    | WireMarginCall
    | WireAlgoUpdate
    | WireExpired
)
_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_KNOWN: Final = frozenset(
    (
        "ORDER_TRADE_UPDATE",
        "TRADE_LITE",
        "ACCOUNT_UPDATE",
        "ACCOUNT_CONFIG_UPDATE",
        "MARGIN_CALL",
        "ALGO_UPDATE",
        "listenKeyExpired",
    )
)


def decode_user_event(payload: bytes | memoryview) -> UserEvent:
    """One event of the private stream, bare or in the combined envelope. Never raises."""
    try:
        wire = _EVENT.decode(payload)
    except msgspec.DecodeError as error:
        return _decode_odd(payload, error)
    return _converted(wire, payload)


def _converted(wire: Any, payload: bytes | memoryview | msgspec.Raw) -> UserEvent:
    try:
        return _CONVERT[type(wire)](wire)
    except PrecisionError as error:
        return _malformed(payload, error)


def _decode_odd(payload: bytes | memoryview, error: msgspec.DecodeError) -> UserEvent:
    """An envelope, an event of another kind, or garbage."""
    try:
        envelope = _ENVELOPE.decode(payload)
    except msgspec.DecodeError:
        return _malformed(payload, error)
    if bytes(envelope.data):
        try:
            return _converted(_EVENT.decode(envelope.data), envelope.data)
        except msgspec.DecodeError as inner:
            error = inner
        try:
            envelope = _ENVELOPE.decode(envelope.data)
        except msgspec.DecodeError:
            return _malformed(payload, error)
    if envelope.e and envelope.e not in _KNOWN:
        return UnknownEvent(name=envelope.e)
    return _malformed(payload, error)


def _malformed(payload: bytes | memoryview | msgspec.Raw, error: Exception) -> MalformedEvent:
    text = bytes(memoryview(payload)[:TEXT_MAX]).decode(errors="replace")
    return MalformedEvent(text=text, why=str(error))


def _order_update(wire: WireOrderTradeUpdate) -> OrderUpdate:
    body = wire.o
    exec_type = EXEC_TYPES.get(body.x, ExecType.UNKNOWN)
    cum_qty_e8 = exact_e8(body.z)
    expiry_code = str(body.er)
    return OrderUpdate(
        symbol=body.s,
        client_order_id=body.c,
        order_id=parse_client_order_id(body.c) or 0,
        venue_order_id=body.i,
        side=SIDES.get(body.S, Side.NONE),
        order_type=ORDER_TYPES.get(body.o, OrderType.UNKNOWN),
        tif=TIFS.get(body.f, Tif.UNKNOWN),
        is_post_only=body.f == POST_ONLY_TIF,
        is_reduce_only=body.R,
        exec_type=exec_type,
        status=STATUSES.get(body.X, OrderStatus.UNKNOWN),
        price_e8=exact_e8(body.p),
        qty_e8=exact_e8(body.q),
        cum_qty_e8=cum_qty_e8,
        average_price_e8=rounded_e8(body.ap),
        last_price_e8=exact_e8(body.L),
        last_qty_e8=exact_e8(body.l),
        trade_id=body.t,
        is_maker=body.m,
        fee_e8=rounded_e8(body.n or ""),
        fee_asset=body.N or "",
        realised_pnl_e8=rounded_e8(body.rp),
        position_side=body.ps,
        reason=_expiry_reason(exec_type, body.f, expiry_code, cum_qty_e8),
        expiry_code=expiry_code,
        transaction_ns=ns_of_ms(body.T or wire.T),
        event_ns=ns_of_ms(wire.E),
    )


def _expiry_reason(exec_type: ExecType, tif: str, code: str, cum_qty_e8: int) -> Reason:
    if exec_type is not ExecType.EXPIRED:
        return Reason.NONE
    known = EXPIRY_REASONS.get(code)
    if known is not None:
        return known
    # Some paths accept a crossing post-only order and expire it at once.
    return Reason.VENUE_POST_ONLY if tif == POST_ONLY_TIF and not cum_qty_e8 else Reason.NONE


def _trade_lite(wire: WireTradeLite) -> TradeLite:
    return TradeLite(
        symbol=wire.s,
        client_order_id=wire.c,
        order_id=parse_client_order_id(wire.c) or 0,
        venue_order_id=wire.i,
        side=SIDES.get(wire.S, Side.NONE),
        price_e8=exact_e8(wire.p),
        qty_e8=exact_e8(wire.q),
        last_price_e8=exact_e8(wire.L),
        last_qty_e8=exact_e8(wire.l),
        trade_id=wire.t,
        is_maker=wire.m,
        transaction_ns=ns_of_ms(wire.T),
        event_ns=ns_of_ms(wire.E),
    )


def _account_update(wire: WireAccountUpdate) -> AccountUpdate:
    body = wire.a
    return AccountUpdate(
        cause=body.m,
        symbol=body.S,
        balances=tuple(
            BalanceChange(
                asset=row.a,
                wallet_e8=rounded_e8(row.wb),
                cross_wallet_e8=rounded_e8(row.cw),
                change_e8=rounded_e8(row.bc),
            )
            for row in body.B
        ),
        positions=tuple(
            PositionChange(
                symbol=row.s,
                position_side=row.ps,
                position_e8=exact_e8(row.pa),
                entry_price_e8=rounded_e8(row.ep),
                break_even_e8=rounded_e8(row.bep),
                realised_pnl_e8=rounded_e8(row.cr),
                unrealised_pnl_e8=rounded_e8(row.up),
                is_isolated=row.mt.lower() == "isolated",
                isolated_wallet_e8=rounded_e8(row.iw),
            )
            for row in body.P
        ),
        transaction_ns=ns_of_ms(wire.T),
        event_ns=ns_of_ms(wire.E),
    )


def _config_update(wire: WireConfigUpdate) -> AccountConfigUpdate:
    return AccountConfigUpdate(
        symbol=wire.ac.s if wire.ac is not None else "",
        leverage=wire.ac.l if wire.ac is not None else 0,
        is_multi_assets=wire.ai.j if wire.ai is not None else None,
        transaction_ns=ns_of_ms(wire.T),
        event_ns=ns_of_ms(wire.E),
    )


def _margin_call(wire: WireMarginCall) -> MarginCall:
    return MarginCall(symbols=tuple(row.s for row in wire.p), event_ns=ns_of_ms(wire.E))


def _algo_update(wire: WireAlgoUpdate) -> AlgoUpdate:
    body = wire.o
    return AlgoUpdate(
        symbol=body.s,
        client_order_id=body.caid,
        algo_id=body.aid,
        status_text=body.X,
        venue_order_id=int(body.ai) if body.ai.isdigit() else 0,
        failure=body.rm,
        transaction_ns=ns_of_ms(wire.T),
        event_ns=ns_of_ms(wire.E),
    )


def _expired(wire: WireExpired) -> ListenKeyExpired:
    return ListenKeyExpired(listen_key=wire.listenKey or "")


_CONVERT: Final[dict[type, Callable[[Any], UserEvent]]] = {
    WireOrderTradeUpdate: _order_update,
    WireTradeLite: _trade_lite,
    WireAccountUpdate: _account_update,
    WireConfigUpdate: _config_update,
    WireMarginCall: _margin_call,
    WireAlgoUpdate: _algo_update,
    WireExpired: _expired,
}
