"""User-data events: their shapes, and the order in which the venue tells them.

Order on one socket: the TRADE_LITEs of a taker, then its NEW; for each fill ACCOUNT_UPDATE directly
followed by ORDER_TRADE_UPDATE; a maker's fill begins with its TRADE_LITE. All share ``T``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import orjson

from hft.core.matching import EndReason
from hft.units import format_e8
from tools.venue.accounts import MARGIN_ASSET, Account, ClientOrder, Fill, symbol_margin
from tools.venue.algo_orders import AlgoOrder
from tools.venue.encode import average_price, fixed, signed
from tools.venue.exchange_info import SymbolRules
from tools.venue.market import SymbolMarket

EVENTS: Final = (
    "ORDER_TRADE_UPDATE",
    "TRADE_LITE",
    "ACCOUNT_UPDATE",
    "ACCOUNT_CONFIG_UPDATE",
    "ALGO_UPDATE",
    "MARGIN_CALL",
    "CONDITIONAL_ORDER_TRIGGER_REJECT",
    "STRATEGY_UPDATE",
    "GRID_UPDATE",
    "listenKeyExpired",
)
UserSink: TypeAlias = Callable[[Account, str, bytes], None]
"""Gets account, event name and payload."""

_EXPIRY_REASONS: Final = {
    EndReason.SELF_TRADE: "1",
    EndReason.IMMEDIATE_REMAINDER: "2",
    EndReason.SELF_TRADE_REMAINDER: "3",
    EndReason.REDUCE_ONLY: "4",
    EndReason.MARKET_REMAINDER: "9",
}
_CANCELS: Final = (EndReason.CANCELED, EndReason.AMEND_BELOW_FILLED)
_SELF_TRADES: Final = (EndReason.SELF_TRADE, EndReason.SELF_TRADE_REMAINDER)


def final_status(reason: EndReason) -> tuple[str, str, str]:
    """Execution type, order status and expiry reason of an order that ended unfilled."""
    if reason in _CANCELS:
        return "CANCELED", "CANCELED", "0"
    status = "EXPIRED_IN_MATCH" if reason in _SELF_TRADES else "EXPIRED"
    return "EXPIRED", status, _EXPIRY_REASONS.get(reason, "0")


class UserEvents:
    """Builds the events and hands them to whoever delivers them."""

    def __init__(self, deliver: UserSink, *, is_padded: bool) -> None:
        self._deliver = deliver
        self._is_padded = is_padded

    def order_update(
        self,
        account: Account,
        order: ClientOrder,
        rules: SymbolRules,
        *,
        execution: str,
        now_ms: int,
        fill: Fill | None = None,
        expiry_reason: str = "0",
    ) -> None:
        """ORDER_TRADE_UPDATE."""
        bids_e8, asks_e8 = account.open_notional_e8(order.symbol)
        price, qty = self._styles(rules)
        average = average_price(order.quote_e8, order.filled_e8, rules.price_places + 3)
        body: dict[str, Any] = {
            "s": order.symbol,
            "c": order.client_order_id,
            "S": order.side.name,
            "o": order.type,
            "f": order.tif_text,
            "q": qty(order.qty_e8),
            "p": price(order.limit_price_e8),
            "ap": average if self._is_padded else _strip(average),
            "sp": "0",
            "x": execution,
            "X": order.status,
            "i": order.order_id,
            "l": qty(fill.qty_e8) if fill else "0",
            "z": qty(order.filled_e8) if order.filled_e8 else "0",
            "L": price(fill.price_e8) if fill else "0",
            "n": self._money(fill.fee_e8) if fill else "0",
            "N": MARGIN_ASSET,
            "T": now_ms,
            "t": fill.trade_id if fill else 0,
            "b": format_e8(bids_e8),
            "a": format_e8(asks_e8),
            "m": fill.is_maker if fill else False,
            "R": order.is_reduce_only,
            "wt": "CONTRACT_PRICE",
            "ot": order.type,
            "ps": "BOTH",
            "cp": False,
            "rp": self._money(fill.realised_e8) if fill else "0",
            "pP": False,
            "si": 0,
            "ss": 0,
            "V": order.stp_text,
            "pm": order.price_match,
            "gtd": order.good_till_ms,
            "er": expiry_reason,
        }
        if execution == "AMENDMENT" and order.modify_id:
            body["M"] = order.modify_id
        self._send(
            account,
            "ORDER_TRADE_UPDATE",
            {"e": "ORDER_TRADE_UPDATE", "T": now_ms, "E": now_ms, "o": body},
        )

    def trade_lite(
        self,
        account: Account,
        order: ClientOrder,
        rules: SymbolRules,
        *,
        trade_id: int,
        price_e8: int,
        qty_e8: int,
        is_maker: bool,
        now_ms: int,
    ) -> None:
        """TRADE_LITE: numbers padded, unlike those of ORDER_TRADE_UPDATE."""
        places = rules.price_places
        self._send(
            account,
            "TRADE_LITE",
            {
                "e": "TRADE_LITE",
                "E": now_ms,
                "T": now_ms,
                "s": order.symbol,
                "q": fixed(order.qty_e8, rules.qty_places),
                "p": fixed(order.limit_price_e8, places),
                "m": is_maker,
                "c": order.client_order_id,
                "S": order.side.name,
                "L": fixed(price_e8, places),
                "l": fixed(qty_e8, rules.qty_places),
                "t": trade_id,
                "i": order.order_id,
            },
        )

    def account_update(
        self,
        account: Account,
        market: SymbolMarket | None,
        *,
        reason: str,
        now_ms: int,
        change_e8: int = 0,
        symbol: str = "",
    ) -> None:
        """ACCOUNT_UPDATE with the wallet and, when ``market`` is given, its position."""
        wallet = self._money(account.wallet_e8)
        body: dict[str, Any] = {
            "B": [{"a": MARGIN_ASSET, "wb": wallet, "cw": wallet, "bc": self._money(change_e8)}],
            "P": [] if market is None else [self._position(account, market)],
            "m": reason,
        }
        if symbol:
            body["S"] = symbol
        self._send(
            account,
            "ACCOUNT_UPDATE",
            {"e": "ACCOUNT_UPDATE", "T": now_ms, "E": now_ms, "a": body},
        )

    def algo_update(
        self, account: Account, algo: AlgoOrder, order: ClientOrder | None, now_ms: int
    ) -> None:
        """ALGO_UPDATE; ``order`` is what it became. Numbers are never padded."""
        body: dict[str, Any] = {
            "caid": algo.client_algo_id,
            "aid": algo.algo_id,
            "at": "CONDITIONAL",
            "o": algo.type,
            "s": algo.symbol,
            "S": algo.side.name,
            "ps": "BOTH",
            "f": algo.tif_text,
            "q": format_e8(algo.qty_e8),
            "X": algo.status,
            "ai": str(order.order_id) if order else "",
        }
        if order is not None:
            # What it did is told at the end only, as the venue does.
            is_over = algo.status == "FINISHED"
            filled_e8 = order.filled_e8 if is_over else 0
            body |= {
                "ap": _strip(average_price(order.quote_e8, filled_e8, 8)),
                "aq": format_e8(filled_e8),
                "act": order.type,
            }
        body |= {
            "tp": format_e8(algo.trigger_e8),
            "p": format_e8(algo.price_e8),
            "V": algo.stp_text,
            "wt": algo.working_type,
            "pm": algo.price_match,
            "cp": algo.closes_position,
            "pP": algo.is_price_protected,
            "R": algo.is_reduce_only,
            "tt": algo.trigger_ms,
            "gtd": 0,
        }
        if algo.reason:
            body["rm"] = algo.reason
        body["ia"] = algo.is_activated
        self._send(
            account,
            "ALGO_UPDATE",
            {"e": "ALGO_UPDATE", "T": now_ms, "E": now_ms, "o": body},
        )

    def leverage_update(self, account: Account, symbol: str, now_ms: int) -> None:
        """ACCOUNT_CONFIG_UPDATE of a leverage."""
        self._send(
            account,
            "ACCOUNT_CONFIG_UPDATE",
            {
                "e": "ACCOUNT_CONFIG_UPDATE",
                "E": now_ms,
                "T": now_ms,
                "ac": {"s": symbol, "l": account.leverage(symbol)},
            },
        )

    def multi_assets_update(self, account: Account, now_ms: int) -> None:
        """ACCOUNT_CONFIG_UPDATE of the margin mode."""
        self._send(
            account,
            "ACCOUNT_CONFIG_UPDATE",
            {
                "e": "ACCOUNT_CONFIG_UPDATE",
                "E": now_ms,
                "T": now_ms,
                "ai": {"j": account.is_multi_assets},
            },
        )

    def margin_call(self, account: Account, market: SymbolMarket, now_ms: int) -> None:
        """MARGIN_CALL of one position."""
        rules = market.rules
        position = account.position(rules.symbol)
        maintenance_e8 = symbol_margin(account, market).maintenance_e8
        self._send(
            account,
            "MARGIN_CALL",
            {
                "e": "MARGIN_CALL",
                "E": now_ms,
                "cw": format_e8(account.wallet_e8),
                "p": [
                    {
                        "s": rules.symbol,
                        "ps": "BOTH",
                        "pa": signed(position.qty_e8, rules.qty_places),
                        "mt": "ISOLATED" if rules.symbol in account.isolated else "CROSSED",
                        "iw": "0",
                        "mp": fixed(market.mark_e8, rules.price_places),
                        "up": format_e8(position.unrealised_e8(market.mark_e8)),
                        "mm": format_e8(maintenance_e8),
                    }
                ],
            },
        )

    def listen_key_expired(self, account: Account, listen_key: str, now_ms: int) -> None:
        """The key ended; its sockets stay open and silent."""
        self._send(
            account,
            "listenKeyExpired",
            {"e": "listenKeyExpired", "E": now_ms, "listenKey": listen_key},
        )

    def _position(self, account: Account, market: SymbolMarket) -> dict[str, Any]:
        rules = market.rules
        position = account.position(rules.symbol)
        entry_e8 = position.entry_e8(min(8, rules.price_places + 3))
        is_isolated = rules.symbol in account.isolated
        _, qty = self._styles(rules)
        amount = qty(abs(position.qty_e8)) if position.qty_e8 else "0"
        return {
            "s": rules.symbol,
            "pa": f"-{amount}" if position.qty_e8 < 0 else amount,
            "ep": format_e8(entry_e8),
            "cr": self._money(position.realised_e8),
            "up": self._money(position.unrealised_e8(market.mark_e8)),
            "mt": "isolated" if is_isolated else "cross",
            "iw": "0",
            "ps": "BOTH",
            "ma": MARGIN_ASSET,
            "bep": format_e8(position.break_even_e8()),
        }

    def _styles(self, rules: SymbolRules) -> tuple[Callable[[int], str], Callable[[int], str]]:
        if self._is_padded:
            return (
                lambda value_e8: fixed(value_e8, rules.price_places) if value_e8 else "0",
                lambda value_e8: fixed(value_e8, rules.qty_places),
            )
        return format_e8, format_e8

    def _money(self, value_e8: int) -> str:
        return signed(value_e8, 8) if self._is_padded and value_e8 else format_e8(value_e8)

    def _send(self, account: Account, name: str, event: dict[str, Any]) -> None:
        self._deliver(account, name, orjson.dumps(event))


def _strip(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
