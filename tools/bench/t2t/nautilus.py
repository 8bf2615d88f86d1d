"""nautilus_trader as its users run it: a live node with one strategy, on its Binance adapter.

Only the addresses are changed, and it logs errors only. Its adapter enters orders by REST, each
signed with an HMAC secret.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from importlib import import_module
from typing import Any, Final

from tools.bench.t2t.places import HMAC_API_KEY, HMAC_SECRET, QTY, SYMBOL, Place

NAME: Final = "BINANCE"
INSTRUMENT: Final = f"{SYMBOL}-PERP.{NAME}"


def nautilus(place: Place, ready: Callable[[], None]) -> None:
    """An immediate-or-cancel limit order for each change of the best bid in its quote ticks."""
    adapter = "nautilus_trader.adapters.binance"
    settings = import_module("nautilus_trader.config")
    clients = import_module(f"{adapter}.config")
    factories = import_module(f"{adapter}.factories")
    identifiers = import_module("nautilus_trader.model.identifiers")
    instrument_id = identifiers.InstrumentId.from_str(INSTRUMENT)
    usual = {
        "api_key": HMAC_API_KEY,
        "api_secret": HMAC_SECRET,
        "account_type": import_module(f"{adapter}.common.enums").BinanceAccountType.USDT_FUTURES,
        "base_url_http": place.rest_url,
        "base_url_ws": place.streams_url,
        "instrument_provider": settings.InstrumentProviderConfig(
            load_ids=frozenset([instrument_id])
        ),
    }
    node = import_module("nautilus_trader.live.node").TradingNode(
        settings.TradingNodeConfig(
            trader_id=identifiers.TraderId("BENCH-001"),
            logging=settings.LoggingConfig(log_level="ERROR"),
            exec_engine=settings.LiveExecEngineConfig(reconciliation=False),
            data_clients={NAME: clients.BinanceDataClientConfig(**usual)},
            exec_clients={NAME: clients.BinanceExecClientConfig(**usual)},
        )
    )
    node.trader.add_strategy(_echo(instrument_id, ready))
    node.add_data_client_factory(NAME, factories.BinanceLiveDataClientFactory)
    node.add_exec_client_factory(NAME, factories.BinanceLiveExecClientFactory)
    node.build()
    node.run()


def _echo(instrument_id: Any, ready: Callable[[], None]) -> Any:
    """The strategy: made here, as its base is known only where the package is installed."""
    enums = import_module("nautilus_trader.model.enums")
    buy, at_once = enums.OrderSide.BUY, enums.TimeInForce.IOC
    last: Any = None
    qty: Any = None

    def on_start(self: Any) -> None:
        nonlocal qty
        qty = self.cache.instrument(instrument_id).make_qty(Decimal(QTY))
        self.subscribe_quote_ticks(instrument_id)

    def on_quote_tick(self: Any, tick: Any) -> None:
        nonlocal last
        bid = tick.bid_price
        if bid == last:
            return
        if last is None:
            ready()
        else:
            self.submit_order(
                self.order_factory.limit(
                    instrument_id=instrument_id,
                    order_side=buy,
                    quantity=qty,
                    price=bid,
                    time_in_force=at_once,
                )
            )
        last = bid

    base = import_module("nautilus_trader.trading.strategy").Strategy
    return type("Echo", (base,), {"on_start": on_start, "on_quote_tick": on_quote_tick})()
