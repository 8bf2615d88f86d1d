"""The venue's rules: rate limits, symbols and their filters (``GET /fapi/v1/exchangeInfo``).

Filters decide, not ``pricePrecision``: a price has to lie on the tick, and is written with the
tick's decimals. A filter that is not known here is kept by name, so that the operator can be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

import msgspec

from hft.config import RateLimits
from hft.core.generated.views import Instrument
from hft.errors import PrecisionError, UsageError, VenueError
from hft.records import InstrumentStatus
from hft.units import E8
from hft.venues.binance_usdm.reports import malformed
from hft.venues.binance_usdm.wire import exact_e8, rounded_e8

EXCHANGE_INFO_PATH: Final = "/fapi/v1/exchangeInfo"
CONTRACT_STREAM: Final = "!contractInfo"
"""Tells of every symbol's listing, halt and end (route ``/market``); silent while none happens."""

PERPETUAL_DELIVERY_MS: Final = 4_100_000_000_000
"""A delivery date beyond this is the constant that stands for "never"."""

STATUSES: Final = {
    "TRADING": InstrumentStatus.TRADING,
    "TRADING_CANCEL_ONLY": InstrumentStatus.CANCEL_ONLY,
    "TRADING_HALT": InstrumentStatus.HALTED,
    "PENDING_TRADING": InstrumentStatus.HALTED,
    "PRE_DELIVERING": InstrumentStatus.DELISTED,
    "DELIVERING": InstrumentStatus.DELISTED,
    "DELIVERED": InstrumentStatus.DELISTED,
    "PRE_SETTLE": InstrumentStatus.DELISTED,
    "SETTLING": InstrumentStatus.DELISTED,
    "CLOSE": InstrumentStatus.DELISTED,
}


class SymbolInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol with every filter; a rule the venue does not set is 0."""

    symbol: str
    pair: str
    base_asset: str
    quote_asset: str
    margin_asset: str
    contract_type: str
    status: InstrumentStatus
    status_text: str
    price_places: int
    """Decimals of a price on the wire: the tick's."""
    qty_places: int
    """Decimals of a quantity on the wire: the step's."""
    price_precision: int
    qty_precision: int
    tick_e8: int
    price_min_e8: int
    price_max_e8: int
    step_e8: int
    qty_min_e8: int
    qty_max_e8: int
    market_step_e8: int
    market_qty_min_e8: int
    market_qty_max_e8: int
    orders_max: int
    algo_orders_max: int
    notional_min_e8: int
    multiplier_up_e8: int
    multiplier_down_e8: int
    position_control: str
    market_take_bound_e8: int
    trigger_protect_e8: int
    liquidation_fee_e8: int
    delivery_ms: int
    order_types: tuple[str, ...]
    tifs: tuple[str, ...]
    unknown_filters: tuple[str, ...]

    @property
    def has_steps(self) -> bool:
        """Prices and quantities can be rounded: without that nothing can be ordered."""
        return self.tick_e8 > 0 and self.step_e8 > 0

    @property
    def is_perpetual(self) -> bool:
        """No delivery is announced."""
        return self.delivery_ms > PERPETUAL_DELIVERY_MS

    def fill_instrument(
        self, view: Instrument, instrument_id: int, version: int, *, quote_asset_id: int = 0
    ) -> None:
        """Write the row of the instrument table; header times and sequence are the writer's."""
        view.instrument_id = instrument_id
        view.instrument_version = version
        view.symbol = self.symbol.encode()
        view.base_asset = self.base_asset.encode()
        view.quote_asset = self.margin_asset.encode()
        view.tick_e8 = self.tick_e8
        view.step_e8 = self.step_e8
        view.price_min_e8 = self.price_min_e8
        view.price_max_e8 = self.price_max_e8
        view.qty_min_e8 = self.qty_min_e8
        view.qty_max_e8 = self.qty_max_e8
        view.market_qty_max_e8 = self.market_qty_max_e8
        view.notional_min_e8 = self.notional_min_e8
        view.multiplier_up_e8 = self.multiplier_up_e8
        view.multiplier_down_e8 = self.multiplier_down_e8
        view.orders_max = self.orders_max
        view.quote_asset_id = quote_asset_id
        view.status = int(self.status)
        view.price_places = self.price_places
        view.qty_places = self.qty_places


class ExchangeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's limits, and the symbols that were asked for."""

    limits: RateLimits
    symbols: dict[str, SymbolInfo]


class ContractChange(msgspec.Struct, frozen=True, kw_only=True):
    """A ``contractInfo`` event: something of a symbol has changed, possibly its status."""

    symbol: str
    status: InstrumentStatus


class _WireContract(msgspec.Struct):
    s: str
    cs: str = ""
    st: int = 1


class _WireContractFrame(msgspec.Struct):
    data: _WireContract


class _WireFilter(msgspec.Struct, rename="camel", gc=False):
    filter_type: str
    min_price: str = "0"
    max_price: str = "0"
    tick_size: str = "0"
    min_qty: str = "0"
    max_qty: str = "0"
    step_size: str = "0"
    limit: int = 0
    notional: str = "0"
    multiplier_up: str = "0"
    multiplier_down: str = "0"
    position_control_side: str = "NONE"


class _WireSymbol(msgspec.Struct, rename="camel"):
    symbol: str
    status: str = ""
    pair: str = ""
    base_asset: str = ""
    quote_asset: str = ""
    margin_asset: str = ""
    contract_type: str = ""
    price_precision: int = 8
    quantity_precision: int = 8
    delivery_date: int = 0
    market_take_bound: str = "0"
    trigger_protect: str = "0"
    liquidation_fee: str = "0"
    filters: list[msgspec.Raw] = []
    order_types: tuple[str, ...] = ()
    time_in_force: tuple[str, ...] = ()


class _WireLimit(msgspec.Struct, rename="camel"):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class _WireInfo(msgspec.Struct, rename="camel"):
    rate_limits: list[_WireLimit]
    symbols: list[msgspec.Raw]


class _WireSymbolName(msgspec.Struct):
    symbol: str


class _WireFilterName(msgspec.Struct, rename="camel"):
    filter_type: str


_INFO: Final = msgspec.json.Decoder(_WireInfo)
_SYMBOL: Final = msgspec.json.Decoder(_WireSymbol)
_CONTRACT: Final = msgspec.json.Decoder(_WireContractFrame)
_USD_MARGINED: Final = 1
"""``st`` of contractInfo: coin-margined contracts arrive on the same stream."""
_SYMBOL_NAME: Final = msgspec.json.Decoder(_WireSymbolName)
_FILTER: Final = msgspec.json.Decoder(_WireFilter)
_FILTER_NAME: Final = msgspec.json.Decoder(_WireFilterName)
_NO_FILTER: Final = _WireFilter(filter_type="")
_KNOWN_FILTERS: Final = frozenset(
    (
        "PRICE_FILTER",
        "LOT_SIZE",
        "MARKET_LOT_SIZE",
        "MAX_NUM_ORDERS",
        "MAX_NUM_ALGO_ORDERS",
        "MIN_NOTIONAL",
        "PERCENT_PRICE",
        "POSITION_RISK_CONTROL",
    )
)


def parse_exchange_info(body: bytes, symbols: Sequence[str] | None = None) -> ExchangeInfo:
    """Limits, and the named symbols (None: all).

    Raises:
        UsageError: a symbol does not exist; near matches are named.
        VenueError: the body is not an exchangeInfo, or lacks a limit.
    """
    try:
        wire = _INFO.decode(body)
        # Only what is wanted is read: an oddity of some other symbol is nobody's business.
        rows = {_SYMBOL_NAME.decode(row).symbol: row for row in wire.symbols}
        wanted = list(rows) if symbols is None else list(symbols)
        unknown = [symbol for symbol in wanted if symbol not in rows]
        if unknown:
            raise _unknown_symbols(unknown, list(rows))
        parsed = {symbol: _symbol_info(_SYMBOL.decode(rows[symbol])) for symbol in wanted}
    except (msgspec.DecodeError, PrecisionError) as error:
        raise malformed(body, error) from None
    return ExchangeInfo(limits=_limits(wire.rate_limits), symbols=parsed)


def parse_symbols(body: bytes, symbols: Sequence[str]) -> dict[str, SymbolInfo | None]:
    """Those of the named symbols that the venue lists; None: what it says cannot be used.

    For a refresh, where a symbol that has gone or makes no sense must not hide the others.

    Raises:
        VenueError: the body is not an exchangeInfo.
    """
    found: dict[str, SymbolInfo | None] = {}
    wanted = frozenset(symbols)
    try:
        for row in _INFO.decode(body).symbols:
            symbol = _SYMBOL_NAME.decode(row).symbol
            if symbol in wanted:
                found[symbol] = _usable_symbol(row)
    except msgspec.DecodeError as error:
        raise malformed(body, error) from None
    return found


def _usable_symbol(row: msgspec.Raw) -> SymbolInfo | None:
    try:
        info = _symbol_info(_SYMBOL.decode(row))
    except (msgspec.DecodeError, PrecisionError):
        return None
    return info if info.has_steps else None


def parse_contract_change(frame: bytes | memoryview) -> ContractChange | None:
    """A frame of ``!contractInfo`` in its envelope; None: not of a contract of this venue."""
    try:
        wire = _CONTRACT.decode(frame).data
    except msgspec.DecodeError:
        return None
    if wire.st != _USD_MARGINED:
        return None
    status = STATUSES.get(wire.cs, InstrumentStatus.UNKNOWN)
    return ContractChange(symbol=wire.s, status=status)


def _unknown_symbols(unknown: list[str], known: list[str]) -> UsageError:
    sentences = []
    for symbol in unknown:
        near = get_close_matches(symbol.upper(), known, n=3, cutoff=0.6)
        hint = f" (did you mean {', '.join(near)}?)" if near else ""
        sentences.append(f"symbol {symbol!r} does not exist at the venue{hint}")
    return UsageError("; ".join(sentences), remedy="correct the symbols in the configuration")


def _limits(rows: list[_WireLimit]) -> RateLimits:
    """Limits of one minute and ten seconds, whatever windows the venue states them in."""
    found = {(row.rate_limit_type, row.interval, row.interval_num): row.limit for row in rows}
    weight_1m = found.get(("REQUEST_WEIGHT", "MINUTE", 1), 0)
    orders_10s = found.get(("ORDERS", "SECOND", 10), 0)
    orders_1m = found.get(("ORDERS", "MINUTE", 1), 0)
    if min(weight_1m, orders_10s, orders_1m) <= 0:
        raise VenueError(
            code=0,
            text=f"exchangeInfo lacks a rate limit: {sorted(found)}",
            remedy="limits are read, never assumed: check the venue's change log",
        )
    return RateLimits(weight_1m=weight_1m, orders_10s=orders_10s, orders_1m=orders_1m)


def _symbol_info(wire: _WireSymbol) -> SymbolInfo:
    named = {_FILTER_NAME.decode(row).filter_type: row for row in wire.filters}
    filters = {name: _FILTER.decode(row) for name, row in named.items() if name in _KNOWN_FILTERS}
    price = filters.get("PRICE_FILTER", _NO_FILTER)
    lot = filters.get("LOT_SIZE", _NO_FILTER)
    market_lot = filters.get("MARKET_LOT_SIZE", lot)
    percent = filters.get("PERCENT_PRICE", _NO_FILTER)
    tick_e8, step_e8 = exact_e8(price.tick_size), exact_e8(lot.step_size)
    price_min_e8, qty_min_e8 = exact_e8(price.min_price), exact_e8(lot.min_qty)
    return SymbolInfo(
        symbol=wire.symbol,
        pair=wire.pair,
        base_asset=wire.base_asset,
        quote_asset=wire.quote_asset,
        margin_asset=wire.margin_asset or wire.quote_asset,
        contract_type=wire.contract_type,
        status=STATUSES.get(wire.status, InstrumentStatus.UNKNOWN),
        status_text=wire.status,
        price_places=_places(tick_e8, price_min_e8, wire.price_precision),
        qty_places=_places(step_e8, qty_min_e8, wire.quantity_precision),
        price_precision=wire.price_precision,
        qty_precision=wire.quantity_precision,
        tick_e8=tick_e8,
        price_min_e8=price_min_e8,
        price_max_e8=exact_e8(price.max_price),
        step_e8=step_e8,
        qty_min_e8=qty_min_e8,
        qty_max_e8=exact_e8(lot.max_qty),
        market_step_e8=exact_e8(market_lot.step_size),
        market_qty_min_e8=exact_e8(market_lot.min_qty),
        market_qty_max_e8=exact_e8(market_lot.max_qty),
        orders_max=filters.get("MAX_NUM_ORDERS", _NO_FILTER).limit,
        algo_orders_max=filters.get("MAX_NUM_ALGO_ORDERS", _NO_FILTER).limit,
        notional_min_e8=exact_e8(filters.get("MIN_NOTIONAL", _NO_FILTER).notional),
        multiplier_up_e8=exact_e8(percent.multiplier_up),
        multiplier_down_e8=exact_e8(percent.multiplier_down),
        position_control=filters.get("POSITION_RISK_CONTROL", _NO_FILTER).position_control_side,
        market_take_bound_e8=rounded_e8(wire.market_take_bound),
        trigger_protect_e8=rounded_e8(wire.trigger_protect),
        liquidation_fee_e8=rounded_e8(wire.liquidation_fee),
        delivery_ms=wire.delivery_date,
        order_types=wire.order_types,
        tifs=wire.time_in_force,
        unknown_filters=tuple(name for name in named if name not in _KNOWN_FILTERS),
    )


def _places(step_e8: int, min_e8: int, precision: int) -> int:
    """Decimals that write every multiple of the step above the minimum, within the precision."""
    if step_e8 == 0:
        return min(precision, 8)
    return min(precision, max(_decimals(step_e8), _decimals(min_e8)))


def _decimals(value_e8: int) -> int:
    """Fewest decimals that write the value exactly."""
    places = 8
    while places and value_e8 % 10 == 0 and value_e8:
        value_e8 //= 10
        places -= 1
    return places if value_e8 % E8 or places else 0
