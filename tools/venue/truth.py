"""What really happened, for tests and demos: outside the venue's name space, without keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

from hft.records import Side
from hft.units import format_e8
from tools.venue.accounts import Account, ClientOrder, Fill, account_margin, available_e8
from tools.venue.algo_orders import AlgoOrder
from tools.venue.exchange import Exchange
from tools.venue.history import Origin
from tools.venue.market import SNAPSHOT_LEVELS_MAX
from tools.venue.request import NOBODY

OwnHandler: TypeAlias = Callable[[dict[str, str]], Any]


class TruthHandlers:
    """``/sim/…``: truth, statistics, the matching book, symbol states."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def endpoints(self) -> dict[tuple[str, str], OwnHandler]:
        """Method and path to handler."""
        return {
            ("GET", "/sim/truth"): self.truth,
            ("GET", "/sim/stats"): self.stats,
            ("GET", "/sim/book"): self.book,
            ("POST", "/sim/status"): self.set_status,
        }

    def truth(self, _params: dict[str, str]) -> Any:
        """Every order, fill and position, the wallets, and what clients did wrong."""
        accounts = [self._account(account) for account in self._exchange.accounts.values()]
        return {
            "accounts": accounts,
            **accounts[0],
            "faults": self._exchange.faults_told(),
            **self._exchange.history.rows(),
        }

    def stats(self, _params: dict[str, str]) -> Any:
        """Counters."""
        exchange = self._exchange
        accounts = exchange.accounts.values()
        return {
            "frames_sent": exchange.outlet.frames_sent,
            "replies_sent": exchange.outlet.replies_sent,
            "orders_received": exchange.orders_received,
            "orders": sum(len(a.orders) for a in accounts),
            "open_orders": sum(len(o) for a in accounts for o in a.open_orders.values()),
            "fills": sum(len(a.fills) for a in accounts),
            "algo_orders": sum(len(a.algo_orders) for a in accounts),
            "open_algo_orders": sum(len(a.open_algo_orders) for a in accounts),
            "violations": len(exchange.history.violations),
        }

    def book(self, params: dict[str, str]) -> Any:
        """The published book of a symbol with its update id."""
        market = self._exchange.markets.get(params.get("symbol", ""))
        if market is None:
            return {"symbols": list(self._exchange.markets)}
        limit = params.get("limit", "")
        count = int(limit) if limit.isdigit() else SNAPSHOT_LEVELS_MAX
        return {
            "symbol": market.rules.symbol,
            "last_update_id": market.last_id,
            "bids": [
                [format_e8(p), format_e8(q)] for p, q in market.public.levels(Side.BUY, count)
            ],
            "asks": [
                [format_e8(p), format_e8(q)] for p, q in market.public.levels(Side.SELL, count)
            ],
        }

    def set_status(self, params: dict[str, str]) -> Any:
        """Change a symbol's trading status."""
        symbol, status = params.get("symbol", ""), params.get("status", "")
        if symbol in self._exchange.markets and status:
            self._exchange.set_status(symbol, status)
        return {s: m.status for s, m in self._exchange.markets.items()}

    def _account(self, account: Account) -> dict[str, Any]:
        margin = account_margin(account, self._exchange.markets.values())
        incomes_e8: Counter[str] = Counter()
        for income in account.incomes:
            incomes_e8[income.kind] += income.amount_e8
        traded_e8 = sum(f.realised_e8 - f.fee_e8 for f in account.fills)
        adds_up = incomes_e8["REALIZED_PNL"] + incomes_e8["COMMISSION"] == traded_e8
        adds_up &= account.deposited_e8 + sum(incomes_e8.values()) == account.wallet_e8
        return {
            "account": account.name,
            "wallet": format_e8(account.wallet_e8),
            "available": format_e8(available_e8(account, margin)),
            "unrealised": format_e8(margin.unrealised_e8),
            "funding": format_e8(incomes_e8["FUNDING_FEE"]),
            "insurance": format_e8(incomes_e8["INSURANCE_CLEAR"]),
            "transfers": format_e8(incomes_e8["TRANSFER"]),
            "initial": format_e8(account.deposited_e8),
            "wallet_adds_up": adds_up,
            "positions": {
                symbol: {
                    "qty": format_e8(position.qty_e8),
                    "entry": format_e8(position.entry_e8(8)),
                    "realised": format_e8(position.realised_e8),
                }
                for symbol, position in account.positions.items()
            },
            "orders": [_order(order) for order in account.orders.values()],
            "algo_orders": [_algo_order(algo) for algo in account.algo_orders.values()],
            "fills": [_fill(fill) for fill in account.fills],
        }


def _order(order: ClientOrder) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "client_order_id": order.client_order_id,
        "symbol": order.symbol,
        "side": order.side.name,
        "type": order.type,
        "tif": order.tif_text,
        "price": format_e8(order.limit_price_e8),
        "qty": format_e8(order.qty_e8),
        "filled": format_e8(order.filled_e8),
        "status": order.status,
        "reduce_only": order.is_reduce_only,
        "amends": order.amend_count,
        "created": order.created_ms,
        "updated": order.updated_ms,
        "ended_ns": order.ended_ns,
        **_arrival(order.origin),
        "cancel": _arrival(order.cancel_origin) if order.cancel_origin else None,
        "amendments": [amendment.row() for amendment in order.amendments],
    }


def _algo_order(algo: AlgoOrder) -> dict[str, Any]:
    return {
        "algo_id": algo.algo_id,
        "client_order_id": algo.client_algo_id,
        "symbol": algo.symbol,
        "side": algo.side.name,
        "type": algo.type,
        "trigger_price": format_e8(algo.trigger_e8),
        "price": format_e8(algo.price_e8),
        "qty": format_e8(algo.qty_e8),
        "reduce_only": algo.is_reduce_only,
        "close_position": algo.closes_position,
        "status": algo.status,
        "order_id": algo.order_id,
        "reason": algo.reason,
        "created": algo.created_ms,
        "updated": algo.updated_ms,
        **_arrival(algo.origin),
        "cancel": _arrival(algo.cancel_origin) if algo.cancel_origin else None,
    }


def _arrival(origin: Origin | None) -> dict[str, Any]:
    """When and where from a request came; what the venue itself did came from nowhere."""
    if origin is None:
        origin = NOBODY
    return {
        "arrived": origin.arrived.ms,
        "arrived_ns": origin.arrived.ns,
        "source": origin.source,
        "endpoint": origin.endpoint,
    }


def _fill(fill: Fill) -> dict[str, Any]:
    return {
        "symbol": fill.symbol,
        "trade_id": fill.trade_id,
        "order_id": fill.order_id,
        "client_order_id": fill.client_order_id,
        "side": fill.side.name,
        "price": format_e8(fill.price_e8),
        "qty": format_e8(fill.qty_e8),
        "realised": format_e8(fill.realised_e8),
        "fee": format_e8(fill.fee_e8),
        "is_maker": fill.is_maker,
        "time": fill.time_ms,
        "time_ns": fill.time_ns,
    }
