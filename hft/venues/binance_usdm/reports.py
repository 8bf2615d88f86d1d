"""What the venue says of orders, positions, balances and trades, in our units.

Parsed from REST bodies and WebSocket API results. All quantities, prices and money are integers
in 1e-8; all times are ns of the venue's wall clock. A price that the venue did not send is
``NO_PRICE_E8``, never 0: since 2026-07-14 order replies carry no prices of fills any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from hft.errors import PrecisionError, VenueError
from hft.records import OrderType, Side, Tif
from hft.units import NO_PRICE_E8
from hft.venues.binance_usdm.order_text import parse_client_order_id
from hft.venues.binance_usdm.wire import (
    ORDER_TYPES,
    POST_ONLY_TIF,
    SIDES,
    STATUSES,
    TIFS,
    OrderStatus,
    exact_e8,
    ns_of_ms,
    rounded_e8,
)


class OrderReport(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """State of one order, from a reply or a query."""

    symbol: str
    client_order_id: str
    order_id: int
    """Ours; 0: the client order id is not one of ours."""
    venue_order_id: int
    status: OrderStatus
    side: Side
    order_type: OrderType
    tif: Tif
    is_post_only: bool
    is_reduce_only: bool
    price_e8: int
    qty_e8: int
    cum_qty_e8: int
    average_price_e8: int = NO_PRICE_E8
    """Average price of the fills; only queries have it."""
    update_ns: int = 0
    created_ns: int = 0


class Refusal(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the venue said of one element of a batch that it did not carry out."""

    code: int
    text: str


class AlgoOrderReport(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One open conditional order: they live in a store of their own until they trigger."""

    symbol: str
    client_algo_id: str
    algo_id: int
    kind: str
    """The venue's word, such as STOP_MARKET."""
    status: str
    side: Side
    qty_e8: int
    trigger_price_e8: int
    is_reduce_only: bool
    is_close_position: bool


class PositionReport(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One position; ``position_side`` is BOTH in one-way mode."""

    symbol: str
    position_side: str
    position_e8: int
    entry_price_e8: int
    break_even_e8: int
    mark_e8: int
    unrealised_pnl_e8: int
    notional_e8: int
    isolated_margin_e8: int
    margin_asset: str
    maintenance_margin_e8: int
    liquidation_e8: int
    """Price at which the venue closes it; 0: none, or the reply does not say."""
    update_ns: int


class BalanceReport(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Wallet of one asset."""

    asset: str
    wallet_e8: int
    cross_wallet_e8: int
    unrealised_pnl_e8: int
    available_e8: int
    update_ns: int


class TradeReport(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One fill of one of the account's orders."""

    symbol: str
    trade_id: int
    venue_order_id: int
    side: Side
    price_e8: int
    qty_e8: int
    realised_pnl_e8: int
    fee_e8: int
    """Cost positive, rebate negative, in ``fee_asset``."""
    fee_asset: str
    is_maker: bool
    position_side: str
    venue_ns: int


class AccountReport(msgspec.Struct, frozen=True, kw_only=True):
    """The account as one answer: sums, wallets, active positions."""

    wallet_e8: int
    unrealised_pnl_e8: int
    margin_e8: int
    initial_margin_e8: int
    maintenance_margin_e8: int
    available_e8: int
    balances: tuple[BalanceReport, ...]
    positions: tuple[PositionReport, ...]


class AccountConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Rights and modes of the account."""

    can_trade: bool
    is_hedge_mode: bool
    is_multi_assets: bool
    fee_tier: int


class SymbolConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Leverage and margin type of one symbol."""

    symbol: str
    leverage: int
    is_isolated: bool
    notional_max_e8: int


class CommissionRate(msgspec.Struct, frozen=True, kw_only=True):
    """Fee rates of one symbol, in 1e-8 of the notional."""

    symbol: str
    maker_rate_e8: int
    taker_rate_e8: int


class IncomeReport(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One line of the income history: funding, commission, transfer and so on."""

    symbol: str
    kind: str
    income_e8: int
    asset: str
    transaction_id: int
    trade_id: str
    venue_ns: int


class WireOrder(msgspec.Struct, rename="camel", gc=False):
    """Order object as sent; every key optional, so that a missing one is no error."""

    order_id: int = 0
    symbol: str = ""
    status: str = ""
    client_order_id: str = ""
    price: str = "0"
    orig_qty: str = "0"
    executed_qty: str = "0"
    avg_price: str | None = None
    time_in_force: str = ""
    type: str = ""
    reduce_only: bool = False
    side: str = ""
    update_time: int = 0
    time: int = 0


class _WireBatchElement(WireOrder, rename="camel", gc=False):
    code: int | str = 200
    msg: str = ""


class _WireAlgoOrder(msgspec.Struct, rename="camel", gc=False):
    symbol: str
    algo_id: int
    client_algo_id: str = ""
    order_type: str = ""
    algo_status: str = ""
    side: str = ""
    quantity: str = "0"
    trigger_price: str = "0"
    reduce_only: bool = False
    close_position: bool = False


class _WirePosition(msgspec.Struct, rename="camel", gc=False):
    symbol: str
    position_amt: str
    position_side: str = "BOTH"
    entry_price: str = "0"
    break_even_price: str = "0"
    mark_price: str = "0"
    un_realized_profit: str = "0"
    unrealized_profit: str = "0"
    notional: str = "0"
    isolated_margin: str = "0"
    margin_asset: str = ""
    maint_margin: str = "0"
    liquidation_price: str = "0"
    update_time: int = 0


class _WireBalance(msgspec.Struct, rename="camel", gc=False):
    asset: str
    balance: str = ""
    wallet_balance: str = ""
    cross_wallet_balance: str = "0"
    cross_un_pnl: str = "0"
    available_balance: str = "0"
    update_time: int = 0


class _WireAccount(msgspec.Struct, rename="camel", gc=False):
    total_wallet_balance: str = "0"
    total_unrealized_profit: str = "0"
    total_margin_balance: str = "0"
    total_initial_margin: str = "0"
    total_maint_margin: str = "0"
    available_balance: str = "0"
    assets: list[_WireBalance] = []
    positions: list[_WirePosition] = []


class _WireTrade(msgspec.Struct, rename="camel", gc=False):
    symbol: str
    id: int
    order_id: int
    price: str
    qty: str
    side: str = ""
    realized_pnl: str = "0"
    commission: str = "0"
    commission_asset: str = ""
    time: int = 0
    position_side: str = "BOTH"
    buyer: bool = False
    maker: bool = False


class _WireAccountConfig(msgspec.Struct, rename="camel", gc=False):
    can_trade: bool = False
    dual_side_position: bool = False
    multi_assets_margin: bool = False
    fee_tier: int = 0


class _WireSymbolConfig(msgspec.Struct, rename="camel", gc=False):
    symbol: str
    leverage: int
    margin_type: str = ""
    max_notional_value: str = "0"


class _WireCommission(msgspec.Struct, rename="camel", gc=False):
    symbol: str
    maker_commission_rate: str
    taker_commission_rate: str


class _WireIncome(msgspec.Struct, rename="camel", gc=False):
    income_type: str
    income: str
    asset: str
    symbol: str = ""
    time: int = 0
    tran_id: int = 0
    trade_id: str | int = ""


_ORDER: Final = msgspec.json.Decoder(WireOrder)
_ORDERS: Final = msgspec.json.Decoder(list[WireOrder])
_BATCH: Final = msgspec.json.Decoder(list[_WireBatchElement])
_ALGO_ORDERS: Final = msgspec.json.Decoder(list[_WireAlgoOrder])
_POSITIONS: Final = msgspec.json.Decoder(list[_WirePosition])
_BALANCES: Final = msgspec.json.Decoder(list[_WireBalance])
_ACCOUNT: Final = msgspec.json.Decoder(_WireAccount)
_TRADES: Final = msgspec.json.Decoder(list[_WireTrade])
_ACCOUNT_CONFIG: Final = msgspec.json.Decoder(_WireAccountConfig)
_SYMBOL_CONFIGS: Final = msgspec.json.Decoder(list[_WireSymbolConfig])
_COMMISSION: Final = msgspec.json.Decoder(_WireCommission)
_INCOMES: Final = msgspec.json.Decoder(list[_WireIncome])

_Wire = TypeVar("_Wire")
_Report = TypeVar("_Report")


def order_report(wire: WireOrder) -> OrderReport:
    """An order object in our units.

    Raises:
        PrecisionError: a price or quantity is not an exact decimal.
    """
    average = wire.avg_price
    return OrderReport(
        symbol=wire.symbol,
        client_order_id=wire.client_order_id,
        order_id=parse_client_order_id(wire.client_order_id) or 0,
        venue_order_id=wire.order_id,
        status=STATUSES.get(wire.status, OrderStatus.UNKNOWN),
        side=SIDES.get(wire.side, Side.NONE),
        order_type=ORDER_TYPES.get(wire.type, OrderType.UNKNOWN),
        tif=TIFS.get(wire.time_in_force, Tif.UNKNOWN),
        is_post_only=wire.time_in_force == POST_ONLY_TIF,
        is_reduce_only=wire.reduce_only,
        price_e8=exact_e8(wire.price),
        qty_e8=exact_e8(wire.orig_qty),
        cum_qty_e8=exact_e8(wire.executed_qty),
        average_price_e8=NO_PRICE_E8 if average is None else rounded_e8(average),
        update_ns=ns_of_ms(wire.update_time),
        created_ns=ns_of_ms(wire.time),
    )


def parse_order(body: bytes) -> OrderReport:
    """``GET``, ``POST``, ``PUT`` or ``DELETE`` of one order."""
    return _parse(_ORDER.decode, order_report, body)


def parse_orders(body: bytes) -> list[OrderReport]:
    """Open or all orders."""
    return _parse(_ORDERS.decode, lambda rows: [order_report(row) for row in rows], body)


def parse_batch(body: bytes) -> list[OrderReport | Refusal]:
    """Answers to a batch, one for each element in its place: some may be refused."""
    return _parse(_BATCH.decode, lambda rows: [_batch_element(row) for row in rows], body)


def parse_algo_orders(body: bytes) -> list[AlgoOrderReport]:
    """Open conditional orders."""
    return _parse(_ALGO_ORDERS.decode, lambda rows: [_algo_order(row) for row in rows], body)


def parse_positions(body: bytes) -> list[PositionReport]:
    """Position risk, version 3 or 2."""
    return _parse(_POSITIONS.decode, lambda rows: [_position(row) for row in rows], body)


def parse_balances(body: bytes) -> list[BalanceReport]:
    """Balances, one row for each asset."""
    return _parse(_BALANCES.decode, lambda rows: [_balance(row) for row in rows], body)


def parse_account(body: bytes) -> AccountReport:
    """Account information, version 3."""
    return _parse(_ACCOUNT.decode, _account, body)


def parse_trades(body: bytes) -> list[TradeReport]:
    """The account's trades, oldest first."""
    return _parse(_TRADES.decode, lambda rows: [_trade(row) for row in rows], body)


def parse_account_config(body: bytes) -> AccountConfig:
    """Account configuration."""
    return _parse(
        _ACCOUNT_CONFIG.decode,
        lambda wire: AccountConfig(
            can_trade=wire.can_trade,
            is_hedge_mode=wire.dual_side_position,
            is_multi_assets=wire.multi_assets_margin,
            fee_tier=wire.fee_tier,
        ),
        body,
    )


def parse_symbol_configs(body: bytes) -> list[SymbolConfig]:
    """Leverage and margin type of symbols."""
    return _parse(_SYMBOL_CONFIGS.decode, lambda rows: [_symbol_config(r) for r in rows], body)


def parse_commission_rate(body: bytes) -> CommissionRate:
    """Fee rates."""
    return _parse(
        _COMMISSION.decode,
        lambda wire: CommissionRate(
            symbol=wire.symbol,
            maker_rate_e8=rounded_e8(wire.maker_commission_rate),
            taker_rate_e8=rounded_e8(wire.taker_commission_rate),
        ),
        body,
    )


def parse_incomes(body: bytes) -> list[IncomeReport]:
    """Income history."""
    return _parse(_INCOMES.decode, lambda rows: [_income(row) for row in rows], body)


def malformed(body: bytes, why: object) -> VenueError:
    """The error for a body that is not what the documentation says."""
    return VenueError(
        code=0,
        text=f"{body[:120].decode(errors='replace')}…: {why}" if body else f"empty body: {why}",
        remedy="check that the URLs in [venue] lead to the Binance USD-M API or a simulator of it",
    )


def _parse(
    decode: Callable[[bytes], _Wire], convert: Callable[[_Wire], _Report], body: bytes
) -> _Report:
    try:
        return convert(decode(body))
    except (msgspec.DecodeError, PrecisionError, ValueError) as error:
        raise malformed(body, error) from None


def _batch_element(wire: _WireBatchElement) -> OrderReport | Refusal:
    if wire.order_id:
        return order_report(wire)
    return Refusal(code=int(wire.code), text=wire.msg)


def _algo_order(wire: _WireAlgoOrder) -> AlgoOrderReport:
    return AlgoOrderReport(
        symbol=wire.symbol,
        client_algo_id=wire.client_algo_id,
        algo_id=wire.algo_id,
        kind=wire.order_type,
        status=wire.algo_status,
        side=SIDES.get(wire.side, Side.NONE),
        qty_e8=rounded_e8(wire.quantity),
        trigger_price_e8=rounded_e8(wire.trigger_price),
        is_reduce_only=wire.reduce_only,
        is_close_position=wire.close_position,
    )


def _position(wire: _WirePosition) -> PositionReport:
    # Two spellings of the same figure, one for each endpoint.
    unrealised = wire.un_realized_profit if wire.un_realized_profit != "0" else None
    return PositionReport(
        symbol=wire.symbol,
        position_side=wire.position_side,
        position_e8=exact_e8(wire.position_amt),
        entry_price_e8=rounded_e8(wire.entry_price),
        break_even_e8=rounded_e8(wire.break_even_price),
        mark_e8=rounded_e8(wire.mark_price),
        unrealised_pnl_e8=rounded_e8(unrealised or wire.unrealized_profit),
        notional_e8=rounded_e8(wire.notional),
        isolated_margin_e8=rounded_e8(wire.isolated_margin),
        margin_asset=wire.margin_asset,
        maintenance_margin_e8=rounded_e8(wire.maint_margin),
        liquidation_e8=max(0, rounded_e8(wire.liquidation_price)),
        update_ns=ns_of_ms(wire.update_time),
    )


def _balance(wire: _WireBalance) -> BalanceReport:
    return BalanceReport(
        asset=wire.asset,
        wallet_e8=rounded_e8(wire.balance or wire.wallet_balance),
        cross_wallet_e8=rounded_e8(wire.cross_wallet_balance),
        unrealised_pnl_e8=rounded_e8(wire.cross_un_pnl),
        available_e8=rounded_e8(wire.available_balance),
        update_ns=ns_of_ms(wire.update_time),
    )


def _account(wire: _WireAccount) -> AccountReport:
    return AccountReport(
        wallet_e8=rounded_e8(wire.total_wallet_balance),
        unrealised_pnl_e8=rounded_e8(wire.total_unrealized_profit),
        margin_e8=rounded_e8(wire.total_margin_balance),
        initial_margin_e8=rounded_e8(wire.total_initial_margin),
        maintenance_margin_e8=rounded_e8(wire.total_maint_margin),
        available_e8=rounded_e8(wire.available_balance),
        balances=tuple(_balance(row) for row in wire.assets),
        positions=tuple(_position(row) for row in wire.positions),
    )


def _trade(wire: _WireTrade) -> TradeReport:
    side = Side.BUY if wire.buyer else Side.SELL
    return TradeReport(
        symbol=wire.symbol,
        trade_id=wire.id,
        venue_order_id=wire.order_id,
        side=SIDES.get(wire.side, side),
        price_e8=exact_e8(wire.price),
        qty_e8=exact_e8(wire.qty),
        realised_pnl_e8=rounded_e8(wire.realized_pnl),
        fee_e8=rounded_e8(wire.commission),
        fee_asset=wire.commission_asset,
        is_maker=wire.maker,
        position_side=wire.position_side,
        venue_ns=ns_of_ms(wire.time),
    )


def _symbol_config(wire: _WireSymbolConfig) -> SymbolConfig:
    return SymbolConfig(
        symbol=wire.symbol,
        leverage=wire.leverage,
        is_isolated=wire.margin_type.upper().startswith("ISOLATED"),
        notional_max_e8=rounded_e8(wire.max_notional_value),
    )


def _income(wire: _WireIncome) -> IncomeReport:
    return IncomeReport(
        symbol=wire.symbol,
        kind=wire.income_type,
        income_e8=rounded_e8(wire.income),
        asset=wire.asset,
        transaction_id=wire.tran_id,
        trade_id=str(wire.trade_id),
        venue_ns=ns_of_ms(wire.time),
    )
