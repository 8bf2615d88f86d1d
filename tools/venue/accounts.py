"""Accounts: wallet, positions, margin, order and fill history. Exact integers in 1e-8.

One-way mode, cross margin, single-asset (USDT) margin. Products of price and quantity are kept in
1e-16, so that the cost of a position never loses a digit; what is printed is cut to 1e-8.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from hft.core.matching import Order
from hft.records import Side
from hft.units import E8
from tools.venue.algo_orders import AlgoOrder
from tools.venue.history import Amendment, Origin
from tools.venue.limits import OrderLimit
from tools.venue.market import SymbolMarket

RATE_UNIT: Final = 10**8
MARGIN_ASSET: Final = "USDT"


def cut(value: int, unit: int) -> int:
    """Division that cuts toward zero, as the venue cuts money to eight decimals."""
    return value // unit if value >= 0 else -(-value // unit)


@dataclass(slots=True, eq=False, kw_only=True)
class ClientOrder(Order):
    """An order with all that the venue remembers of it."""

    symbol: str
    client_order_id: str
    type: str
    tif_text: str
    stp_text: str
    price_match: str
    good_till_ms: int
    created_ms: int
    updated_ms: int
    limit_price_e8: int
    """Price as the client knows it: 0 for a market order."""
    status: str = "NEW"
    filled_e8: int = 0
    """Filled as far as it was reported; ``cum_qty_e8`` may be ahead while events are being told."""
    quote_e8: int = 0
    modify_id: str = ""
    amend_count: int = 0
    forced_expiry: str = ""
    """Reason the venue gives for ending it itself (``er`` of ORDER_TRADE_UPDATE)."""
    origin: Origin | None = None
    """The request that placed it; None: the venue itself."""
    cancel_origin: Origin | None = None
    """The request that cancelled it; None: none did."""
    amendments: list[Amendment] = field(default_factory=list)
    ended_ns: int = 0
    """When it became final, monotonic; 0: it is open."""

    @property
    def open_qty_e8(self) -> int:
        """Unfilled quantity as far as reported."""
        return self.qty_e8 - self.filled_e8


class Fill(NamedTuple):
    """One side of a trade, as userTrades and the truth tell it."""

    symbol: str
    trade_id: int
    order_id: int
    client_order_id: str
    side: Side
    price_e8: int
    qty_e8: int
    quote_e8: int
    realised_e8: int
    fee_e8: int
    is_maker: bool
    time_ms: int
    time_ns: int
    """Monotonic, of this host."""


class Income(NamedTuple):
    """One row of the income history."""

    symbol: str
    kind: str
    amount_e8: int
    time_ms: int
    transaction_id: int
    trade_id: str


@dataclass(slots=True)
class Position:
    """Signed quantity and the exact cost of what is open."""

    qty_e8: int = 0
    cost_e16: int = 0
    """Signed like the quantity: sum of price times quantity of what is open."""
    realised_e8: int = 0
    """Accumulated realised profit before fees."""
    open_fee_e8: int = 0
    updated_ms: int = 0

    def apply(self, side: Side, qty_e8: int, price_e8: int, fee_e8: int, now_ms: int) -> int:
        """Book a fill; the realised profit of the closed part is returned."""
        self.updated_ms = now_ms
        closed_e8 = min(qty_e8, max(0, -side * self.qty_e8))
        realised_e8 = 0
        if closed_e8:
            held_e8 = abs(self.qty_e8)
            closed_cost_e16 = self.cost_e16 * closed_e8 // held_e8
            realised_e8 = cut(-side * closed_e8 * price_e8 - closed_cost_e16, E8)
            self.open_fee_e8 -= self.open_fee_e8 * closed_e8 // held_e8
            self.cost_e16 -= closed_cost_e16
            self.qty_e8 += side * closed_e8
            self.realised_e8 += realised_e8
        opened_e8 = qty_e8 - closed_e8
        if opened_e8:
            self.qty_e8 += side * opened_e8
            self.cost_e16 += side * opened_e8 * price_e8
            self.open_fee_e8 += fee_e8 * opened_e8 // qty_e8
        return realised_e8

    def entry_e8(self, places: int) -> int:
        """Average entry price, rounded half up to ``places`` decimals; 0 when flat."""
        return self._per_unit(abs(self.cost_e16), places)

    def break_even_e8(self) -> int:
        """Entry price including the fees of opening; 0 when flat."""
        sign = 1 if self.qty_e8 > 0 else -1
        return self._per_unit(abs(self.cost_e16) + sign * self.open_fee_e8 * E8, 8)

    def unrealised_e8(self, mark_e8: int) -> int:
        """Open profit at the mark price, cut toward zero."""
        return cut(self.qty_e8 * mark_e8 - self.cost_e16, E8)

    def _per_unit(self, cost_e16: int, places: int) -> int:
        if not self.qty_e8:
            return 0
        unit: int = 10 ** (8 - places)
        held_e8 = abs(self.qty_e8)
        return (2 * cost_e16 + held_e8 * unit) // (2 * held_e8 * unit) * unit


class Rates(NamedTuple):
    """Fees in 1e-8 of the notional."""

    maker: int
    taker: int


@dataclass(slots=True, eq=False)
class Account:
    """One account: what several API keys may share."""

    account_id: int
    name: str
    wallet_e8: int
    rates: Rates
    leverage_default: int
    order_limit: OrderLimit
    positions: dict[str, Position] = field(default_factory=dict)
    leverages: dict[str, int] = field(default_factory=dict)
    isolated: set[str] = field(default_factory=set)
    open_orders: dict[str, dict[int, ClientOrder]] = field(default_factory=dict)
    open_client_ids: dict[str, ClientOrder] = field(default_factory=dict)
    orders: dict[int, ClientOrder] = field(default_factory=dict)
    last_by_client_id: dict[str, ClientOrder] = field(default_factory=dict)
    algo_orders: dict[int, AlgoOrder] = field(default_factory=dict)
    open_algo_orders: dict[int, AlgoOrder] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    incomes: list[Income] = field(default_factory=list)
    listen_key: str = ""
    listen_key_until_ms: int = 0
    is_multi_assets: bool = False
    is_hedged: bool = False
    deposited_e8: int = 0
    updated_ms: int = 0

    def position(self, symbol: str) -> Position:
        """The symbol's position, made flat when it is new."""
        return self.positions.setdefault(symbol, Position())

    def leverage(self, symbol: str) -> int:
        """The symbol's leverage."""
        return self.leverages.get(symbol, self.leverage_default)

    def opened(self, symbol: str) -> dict[int, ClientOrder]:
        """Open orders of a symbol by order id."""
        return self.open_orders.setdefault(symbol, {})

    def admit(self, order: ClientOrder) -> None:
        """Remember a new order as open."""
        self.orders[order.order_id] = order
        self.opened(order.symbol)[order.order_id] = order
        self.open_client_ids[order.client_order_id] = order
        self.last_by_client_id[order.client_order_id] = order

    def close(self, order: ClientOrder) -> None:
        """The order is final."""
        self.opened(order.symbol).pop(order.order_id, None)
        if self.open_client_ids.get(order.client_order_id) is order:
            del self.open_client_ids[order.client_order_id]

    def open_notional_e8(self, symbol: str) -> tuple[int, int]:
        """Notional of the open bids and asks of a symbol."""
        bids_e16 = asks_e16 = 0
        for order in self.opened(symbol).values():
            notional_e16 = order.open_qty_e8 * order.limit_price_e8
            if order.side > 0:
                bids_e16 += notional_e16
            else:
                asks_e16 += notional_e16
        return bids_e16 // E8, asks_e16 // E8


class Margin(NamedTuple):
    """Margin figures of one symbol or, summed, of an account."""

    notional_e8: int
    unrealised_e8: int
    position_e8: int
    """Initial margin of the position."""
    orders_e8: int
    """Further initial margin of the open orders."""
    maintenance_e8: int

    @property
    def initial_e8(self) -> int:
        """Initial margin of position and orders together."""
        return self.position_e8 + self.orders_e8


MAINTENANCE_RATE_E8: Final = 400_000


def symbol_margin(
    account: Account, market: SymbolMarket, *, more_bids_e8: int = 0, more_asks_e8: int = 0
) -> Margin:
    """Margin of one symbol, as it would be with further bids and asks of that notional."""
    symbol = market.rules.symbol
    position = account.positions.get(symbol) or Position()
    notional_e8 = position.qty_e8 * market.mark_e8 // E8
    bids_e8, asks_e8 = account.open_notional_e8(symbol)
    bids_e8 += more_bids_e8
    asks_e8 += more_asks_e8
    worst_e8 = max(abs(notional_e8 + bids_e8), abs(notional_e8 - asks_e8), abs(notional_e8))
    leverage = account.leverage(symbol)
    position_e8 = abs(notional_e8) // leverage
    return Margin(
        notional_e8,
        position.unrealised_e8(market.mark_e8),
        position_e8,
        worst_e8 // leverage - position_e8,
        abs(notional_e8) * MAINTENANCE_RATE_E8 // RATE_UNIT,
    )


def account_margin(account: Account, markets: Iterable[SymbolMarket]) -> Margin:
    """The sums over all symbols."""
    margins = [
        symbol_margin(account, market)
        for market in markets
        if market.rules.symbol in account.positions or account.open_orders.get(market.rules.symbol)
    ]
    return Margin(
        sum(abs(m.notional_e8) for m in margins),
        sum(m.unrealised_e8 for m in margins),
        sum(m.position_e8 for m in margins),
        sum(m.orders_e8 for m in margins),
        sum(m.maintenance_e8 for m in margins),
    )


def available_e8(account: Account, margin: Margin) -> int:
    """What new orders may use."""
    return max(0, account.wallet_e8 + margin.unrealised_e8 - margin.initial_e8)


def liquidation_price_e8(
    account: Account, market: SymbolMarket, markets: Iterable[SymbolMarket]
) -> int:
    """The mark at which the margin balance is down to the maintenance margin; 0: there is none.

    Every other market stays where it is: the wallet is shared, as in cross margin.
    """
    position = account.positions.get(market.rules.symbol)
    if position is None or not position.qty_e8:
        return 0
    margin, own = account_margin(account, markets), symbol_margin(account, market)
    spare_e8 = account.wallet_e8 + margin.unrealised_e8 - margin.maintenance_e8
    # Each unit that the mark moves against the position costs it, less the maintenance it frees.
    side = 1 if position.qty_e8 > 0 else -1
    rate_e8 = RATE_UNIT - side * MAINTENANCE_RATE_E8
    size_e8 = abs(own.notional_e8)
    if not size_e8:
        return 0
    away_e8 = spare_e8 * RATE_UNIT * market.mark_e8 // (size_e8 * rate_e8)
    return max(0, market.mark_e8 - side * away_e8)
