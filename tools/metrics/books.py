"""What a system trades: instruments, positions, wallets and orders, from the cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from hft.core.assets import ASSET_IDS
from hft.graph import ASSETS_MAX, ORDER_ROWS_MAX, POSITION_MODES, position_cell
from hft.records import FeedState, Mode, OrderState, Side
from hft.units import E8, NS_PER_S
from tools.metrics.watched import View

_POSITION: Final = ("symbol", "strategy", "mode")
_POSITION_GAUGES: Final = (
    ("position", "position_e8", "quantity held, buys positive"),
    ("average_price", "average_price_e8", "average entry price of what is open"),
    ("mark_price", "mark_e8", "mark price of the valuation"),
    ("realised_pnl", "realised_pnl_e8", "realised profit without fees and funding, quote asset"),
    ("unrealised_pnl", "unrealised_pnl_e8", "open profit at the mark price, quote asset"),
    ("fees", "fee_e8", "fees paid, quote asset"),
    ("funding", "funding_e8", "funding received, cost negative, quote asset"),
    ("venue_position", "venue_position_e8", "quantity at the venue at the last comparison"),
)
"""Metric, field of the cell, help."""
_BALANCE_GAUGES: Final = (
    ("wallet", "wallet_e8", "wallet from our own sums"),
    ("venue_wallet", "venue_wallet_e8", "the venue's wallet at the last comparison"),
    ("available", "available_e8", "what the venue lets new orders use"),
)
_ASSETS: Final = {number: asset for asset, number in ASSET_IDS.items()}
NO_STRATEGY: Final = ""
"""Label of an instrument that no strategy trades."""


def book_families(view: View, now_ns: int) -> Iterator[Metric]:
    """Everything from the cells."""
    yield from _market_families(view, now_ns)
    yield from _position_families(view)
    yield from _balance_families(view)
    yield from _order_families(view, now_ns)


def owners(view: View) -> dict[tuple[str, Mode], str]:
    """The strategy that trades each symbol in each mode: that of the mode, or else another."""
    strategies = view.plan.config.strategies
    return {
        (symbol, mode): one.name
        for mode in POSITION_MODES
        for one in sorted(strategies, key=lambda one: one.mode == mode.name.lower())
        for symbol in one.symbols
    }


def _market_families(view: View, now_ns: int) -> Iterator[Metric]:
    live = GaugeMetricFamily(
        "hft_feed_live", "1: the instrument's market data may be trusted", labels=("symbol",)
    )
    age = GaugeMetricFamily(
        "hft_book_age_seconds", "seconds since the book was last changed", labels=("symbol",)
    )
    bid = GaugeMetricFamily("hft_best_bid", "best bid price", labels=("symbol",))
    ask = GaugeMetricFamily("hft_best_ask", "best ask price", labels=("symbol",))
    book = view.attached.book
    for instrument in view.plan.instruments:
        symbol = (instrument.symbol,)
        if not view.attached.books.read(instrument.instrument_id):
            live.add_metric(symbol, 0)
            continue
        live.add_metric(symbol, float(book.feed_state == FeedState.LIVE))
        if book.as_of_ns:
            age.add_metric(symbol, max(0, now_ns - book.as_of_ns) / NS_PER_S)
        if book.bid_count and book.ask_count:
            bid.add_metric(symbol, book.bid_e8_at(0) / E8)
            ask.add_metric(symbol, book.ask_e8_at(0) / E8)
    yield from (live, age, bid, ask)


def _position_families(view: View) -> Iterator[Metric]:
    gauges = {
        field: GaugeMetricFamily(f"hft_{name}", text, labels=_POSITION)
        for name, field, text in _POSITION_GAUGES
    }
    notional = GaugeMetricFamily(
        "hft_position_notional", "size at the mark price, buys positive, quote asset",
        labels=_POSITION,
    )  # fmt: skip
    differs = GaugeMetricFamily(
        "hft_position_differs", "1: ours and the venue's are not equal", labels=_POSITION
    )
    fills = CounterMetricFamily("hft_position_fills", "fills in the position", labels=_POSITION)
    strategy_of = owners(view)
    row = view.attached.position
    for instrument in view.plan.instruments:
        for mode in POSITION_MODES:
            if not view.attached.positions.read(position_cell(mode, instrument.instrument_id)):
                continue
            symbol = instrument.symbol
            labels = (symbol, strategy_of.get((symbol, mode), NO_STRATEGY), mode.name.lower())
            for field, family in gauges.items():
                family.add_metric(labels, getattr(row, field) / E8)
            notional.add_metric(labels, row.position_e8 * row.mark_e8 / E8 / E8)
            differs.add_metric(labels, row.differs)
            fills.add_metric(labels, row.fills)
    yield from (*gauges.values(), notional, differs, fills)


def _balance_families(view: View) -> Iterator[Metric]:
    gauges = {
        field: GaugeMetricFamily(f"hft_{name}", text, labels=("asset",))
        for name, field, text in _BALANCE_GAUGES
    }
    differs = GaugeMetricFamily(
        "hft_wallet_differs", "1: ours and the venue's are not equal", labels=("asset",)
    )
    row = view.attached.balance
    for index in range(ASSETS_MAX):
        if view.attached.balances.read(index):
            asset = (_ASSETS.get(row.asset_id, str(row.asset_id)),)
            for field, family in gauges.items():
                family.add_metric(asset, getattr(row, field) / E8)
            differs.add_metric(asset, row.differs)
    yield from (*gauges.values(), differs)


def _order_families(view: View, now_ns: int) -> Iterator[Metric]:
    symbols = {one.instrument_id: one.symbol for one in view.plan.instruments}
    strategy_of = owners(view)
    counts: Counter[tuple[str, str, str]] = Counter()
    for symbol in symbols.values():
        for side in ("buy", "sell"):
            counts[symbol, strategy_of.get((symbol, Mode.LIVE), NO_STRATEGY), side] = 0
    unknown_since_ns = now_ns
    row = view.attached.order
    for index in range(ORDER_ROWS_MAX):
        if not view.attached.orders.read(index) or not row.order_id:
            continue
        symbol = symbols.get(row.instrument_id, str(row.instrument_id))
        side = "buy" if row.side == Side.BUY else "sell"
        counts[symbol, strategy_of.get((symbol, Mode.LIVE), NO_STRATEGY), side] += 1
        if row.order_state == OrderState.UNRESOLVED:
            unknown_since_ns = min(unknown_since_ns, row.request_ns or row.send_ns or now_ns)
    working = GaugeMetricFamily(
        "hft_working_orders", "orders in the books", labels=("symbol", "strategy", "side")
    )
    for labels, count in counts.items():
        working.add_metric(labels, count)
    yield working
    yield GaugeMetricFamily(
        "hft_unknown_order_age_seconds",
        "seconds since the request of the oldest unknown order; 0: none is unknown",
        value=(now_ns - unknown_since_ns) / NS_PER_S,
    )
