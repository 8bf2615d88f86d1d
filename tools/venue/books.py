"""The books of account: what trades, funding, fees and transfers do to orders and wallets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from hft.core.matching import Accepted, Amended, Ended
from hft.records import Side
from hft.units import E8
from tools.venue.accounts import Account, ClientOrder, Fill, Income, cut
from tools.venue.market import MarketEvent, NumberedTrade, SymbolMarket
from tools.venue.user_events import UserEvents, final_status

FIRST_TRANSACTION_ID: Final = 4_611_850_000_000


class AccountBooks:
    """Books every event of the markets, and tells it to the account it concerns."""

    def __init__(
        self,
        accounts: Mapping[str, Account],
        events: UserEvents,
        *,
        clock_ms: Callable[[], int],
    ) -> None:
        self._accounts = accounts
        self._events = events
        self._clock_ms = clock_ms
        self._last_transaction_id = FIRST_TRANSACTION_ID

    def by_id(self, account_id: int) -> Account:
        """The account of that number."""
        return next(a for a in self._accounts.values() if a.account_id == account_id)

    def on_events(self, market: SymbolMarket, events: Sequence[MarketEvent]) -> None:
        """Book and tell what an operation on a market did to the accounts' orders."""
        now_ms = self._clock_ms()
        for index, event in enumerate(events):
            match event:
                case NumberedTrade():
                    self._on_trade(market, event, now_ms)
                case Accepted(order=order) | Amended(order=order):
                    assert isinstance(order, ClientOrder)
                    self._tell_taker_trades(market, order, events[index + 1 :], now_ms)
                    account = self.by_id(order.account_id)
                    if isinstance(event, Accepted):
                        account.admit(order)
                    execution = "NEW" if isinstance(event, Accepted) else "AMENDMENT"
                    order.updated_ms = now_ms
                    self._events.order_update(
                        account, order, market.rules, execution=execution, now_ms=now_ms
                    )
                case Ended(order=order, reason=reason):
                    assert isinstance(order, ClientOrder)
                    account = self.by_id(order.account_id)
                    execution, order.status, expiry_reason = (
                        final_status(reason)
                        if not order.forced_expiry
                        else ("EXPIRED", "EXPIRED", order.forced_expiry)
                    )
                    order.updated_ms = now_ms
                    order.ended_ns = time.monotonic_ns()
                    account.close(order)
                    self._events.order_update(
                        account,
                        order,
                        market.rules,
                        execution=execution,
                        now_ms=now_ms,
                        expiry_reason=expiry_reason,
                    )

    def _tell_taker_trades(
        self,
        market: SymbolMarket,
        order: ClientOrder,
        later: Sequence[MarketEvent],
        now_ms: int,
    ) -> None:
        """The taker's TRADE_LITEs leave before its NEW."""
        for event in later:
            if isinstance(event, NumberedTrade) and event.trade.taker is order:
                self._trade_lite(market, order, event, now_ms, is_maker=False)

    def _trade_lite(
        self,
        market: SymbolMarket,
        order: ClientOrder,
        event: NumberedTrade,
        now_ms: int,
        *,
        is_maker: bool,
    ) -> None:
        self._events.trade_lite(
            self.by_id(order.account_id),
            order,
            market.rules,
            trade_id=event.trade_id,
            price_e8=event.trade.price_e8,
            qty_e8=event.trade.qty_e8,
            is_maker=is_maker,
            now_ms=now_ms,
        )

    def _on_trade(self, market: SymbolMarket, event: NumberedTrade, now_ms: int) -> None:
        trade = event.trade
        for order, is_maker in ((trade.maker, True), (trade.taker, False)):
            if isinstance(order, ClientOrder):
                if is_maker:
                    self._trade_lite(market, order, event, now_ms, is_maker=True)
                self._book_fill(market, order, event, now_ms, is_maker=is_maker)

    def _book_fill(
        self,
        market: SymbolMarket,
        order: ClientOrder,
        event: NumberedTrade,
        now_ms: int,
        *,
        is_maker: bool,
    ) -> None:
        """One fill: order, wallet, position, history, events."""
        account = self.by_id(order.account_id)
        price_e8, qty_e8 = event.trade.price_e8, event.trade.qty_e8
        rate = account.rates.maker if is_maker else account.rates.taker
        if order.type == "LIQUIDATION":
            rate = 0
        fee_e8 = cut(qty_e8 * price_e8 * rate, E8**2)
        position = account.position(order.symbol)
        realised_e8 = position.apply(order.side, qty_e8, price_e8, fee_e8, now_ms)
        account.wallet_e8 += realised_e8 - fee_e8
        account.updated_ms = now_ms
        quote_e8 = qty_e8 * price_e8 // E8
        order.filled_e8 += qty_e8
        order.quote_e8 += quote_e8
        order.updated_ms = now_ms
        fill = Fill(
            order.symbol,
            event.trade_id,
            order.order_id,
            order.client_order_id,
            Side(order.side),
            price_e8,
            qty_e8,
            quote_e8,
            realised_e8,
            fee_e8,
            is_maker,
            now_ms,
            time.monotonic_ns(),
        )
        account.fills.append(fill)
        self._add_income(account, order.symbol, "COMMISSION", -fee_e8, now_ms, str(event.trade_id))
        if realised_e8:
            self._add_income(
                account, order.symbol, "REALIZED_PNL", realised_e8, now_ms, str(event.trade_id)
            )
        if order.open_qty_e8:
            order.status = "PARTIALLY_FILLED"
        else:
            order.status = "FILLED"
            order.ended_ns = fill.time_ns
            account.close(order)
        self._events.account_update(account, market, reason="ORDER", now_ms=now_ms)
        self._events.order_update(
            account, order, market.rules, execution="TRADE", now_ms=now_ms, fill=fill
        )

    def pay_funding(self, rate_e8: int, marks_e8: Mapping[str, int]) -> None:
        """Every position pays or gets funding at the mark price."""
        now_ms = self._clock_ms()
        for account in self._accounts.values():
            for symbol, position in account.positions.items():
                if not position.qty_e8:
                    continue
                owed_e24 = position.qty_e8 * marks_e8[symbol] * rate_e8
                paid_e8 = -cut(owed_e24, E8**2)
                self.change_wallet(account, symbol, "FUNDING_FEE", paid_e8, now_ms)

    def change_wallet(
        self,
        account: Account,
        symbol: str,
        kind: str,
        amount_e8: int,
        now_ms: int,
        *,
        reason: str = "",
    ) -> None:
        """Money that comes or goes without a trade; ``reason`` of the event when not ``kind``."""
        account.wallet_e8 += amount_e8
        account.updated_ms = now_ms
        self._add_income(account, symbol, kind, amount_e8, now_ms, "")
        self._events.account_update(
            account,
            None,
            reason=reason or kind,
            now_ms=now_ms,
            change_e8=amount_e8,
            symbol=symbol if kind == "FUNDING_FEE" else "",
        )

    def _add_income(
        self,
        account: Account,
        symbol: str,
        kind: str,
        amount_e8: int,
        now_ms: int,
        trade_id: str,
    ) -> None:
        self._last_transaction_id += 1
        account.incomes.append(
            Income(symbol, kind, amount_e8, now_ms, self._last_transaction_id, trade_id)
        )
