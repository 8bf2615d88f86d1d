"""Faults of the venue itself and of the account: what happens without anybody asking for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from hft.core.matching import StpMode
from hft.records import Side, Tif
from hft.units import E8, floor_to, format_e8, parse_e8
from tools.venue.accounts import Account, ClientOrder, account_margin, available_e8, cut
from tools.venue.algo_desk import AlgoDesk
from tools.venue.encode import fixed
from tools.venue.errors import ApiError
from tools.venue.exchange import Exchange
from tools.venue.exchange_info import LIQUIDATION_FEE_E8
from tools.venue.fault_ledger import Agenda, Fault, Ledger
from tools.venue.fault_links import LinkFaults
from tools.venue.fault_requests import fill_resting, part_of
from tools.venue.market import HALTED, NS_PER_MS, TRADING, SymbolMarket
from tools.venue.orders import OrderDesk

RETRY_S: Final = 0.02
TICK_FACTOR: Final = 10
FOREIGN_DISTANCE: Final = 100
"""A foreign order rests one part in so many away from the mark price."""
TRANSFER_E8: Final = (-50 * E8, 100 * E8)
"""Least and most of a transfer that is drawn."""
LIQUIDATION_BOUND: Final = 20
"""A liquidation takes down to one part in so many away from the mark price."""


class VenueActs:
    """Does them."""

    def __init__(
        self,
        exchange: Exchange,
        desk: OrderDesk,
        algo_desk: AlgoDesk,
        links: LinkFaults,
        agenda: Agenda,
        ledger: Ledger,
    ) -> None:
        self._exchange = exchange
        self._desk = desk
        self._algo_desk = algo_desk
        self._links = links
        self._agenda = agenda
        self._ledger = ledger
        self._up_at_s = 0.0
        self._ticks_e8 = {m.rules.symbol: m.rules.tick_e8 for m in exchange.markets.values()}
        self.acts: dict[str, Callable[[Fault], None]] = {
            "expire_listen_key": self._expire_listen_key,
            "expire_listen_key_silently": self._expire_listen_key,
            "restart": self._restart,
            "restart_resetting_ids": self._restart,
            "restart_losing_orders": self._restart,
            "halt": self._halt,
            "tick_size": self._change_tick,
            "clock_offset": self._step_clock,
            "rate_limit": self._limit,
            "ban": self._limit,
            "funding": self._fund,
            "transfer": self._transfer,
            "foreign_order": lambda fault: self._until_hit(fault, self._foreign_order),
            "foreign_algo_order": lambda fault: self._until_hit(fault, self._foreign_algo_order),
            "foreign_trade": lambda fault: self._until_hit(fault, self._foreign_trade),
            "partial_fill": lambda fault: self._until_hit(fault, self._fill_part),
            "liquidation": lambda fault: self._until_hit(fault, self._close_position),
            "auto_deleveraging": lambda fault: self._until_hit(fault, self._close_position),
        }

    # The venue.

    def _expire_listen_key(self, fault: Fault) -> None:
        account = self._account(fault)
        if account.listen_key:
            self._ledger.hit(fault)
            self._exchange.end_listen_key(account, is_told=fault.kind == "expire_listen_key")

    def _restart(self, fault: Fault) -> None:
        exchange = self._exchange
        ended = self._links.reset_all()
        exchange.is_down = True
        lost = 0
        if fault.kind == "restart_losing_orders":
            lost = sum(exchange.expire_all(account, "0") for account in exchange.accounts.values())
        if fault.kind == "restart_resetting_ids":
            exchange.reset_update_ids()
        self._ledger.hit(fault, f"{ended} connections ended, {lost} orders lost")
        self._up_at_s = max(self._up_at_s, self._agenda.clock_s() + fault.choice.seconds)
        self._agenda.after(fault.choice.seconds, self._come_back)

    def _come_back(self) -> None:
        if self._agenda.clock_s() >= self._up_at_s:
            self._exchange.is_down = False

    def _halt(self, fault: Fault) -> None:
        market = self._market(fault)
        symbol = market.rules.symbol
        if market.status != TRADING:
            return
        self._ledger.hit(fault)
        self._exchange.set_status(symbol, HALTED)
        if fault.choice.seconds:
            self._agenda.after(fault.choice.seconds, lambda: self._resume(market))

    def _resume(self, market: SymbolMarket) -> None:
        if market.status == HALTED:
            self._exchange.set_status(market.rules.symbol, TRADING)

    def _change_tick(self, fault: Fault) -> None:
        rules = self._market(fault).rules
        usual_e8 = self._ticks_e8[rules.symbol]
        tick_e8 = usual_e8 * TICK_FACTOR if rules.tick_e8 == usual_e8 else usual_e8
        self._ledger.hit(fault, format_e8(tick_e8))
        self._exchange.set_tick(rules.symbol, tick_e8)

    def _step_clock(self, fault: Fault) -> None:
        milliseconds = fault.choice.milliseconds
        self._ledger.hit(fault)
        self._exchange.step_clock(milliseconds)
        if fault.choice.seconds:
            self._agenda.after(
                fault.choice.seconds, lambda: self._exchange.step_clock(-milliseconds)
            )

    def _limit(self, fault: Fault) -> None:
        now_ms = self._exchange.clock_ms()
        length_ms = round(fault.choice.seconds * 1000)
        for limit in self._exchange.address_limits():
            self._ledger.hit(fault)
            if fault.kind == "ban":
                limit.ban(now_ms, length_ms)
            else:
                limit.pause(now_ms, length_ms)

    def _fund(self, fault: Fault) -> None:
        self._ledger.hit(fault)
        self._exchange.pay_funding()

    # The account.

    def _until_hit(self, fault: Fault, attempt: Callable[[Fault], bool]) -> None:
        """Try until there is something to hit, or the time is over."""
        if not attempt(fault) and self._agenda.clock_s() < fault.until_s:
            self._agenda.after(RETRY_S, lambda: self._until_hit(fault, attempt))

    def _fill_part(self, fault: Fault) -> bool:
        orders = list(self._account(fault).opened(fault.choice.symbol).values())
        if not orders or self._market(fault).status != TRADING:
            return False
        # The best of its side: an own order behind it could not have been filled alone.
        side = fault.random.choice(sorted({order.side for order in orders}))
        order = max(
            (order for order in orders if order.side is side),
            key=lambda o: (o.price_e8 * o.side, -o.rank),
        )
        self._ledger.hit(fault, order.client_order_id)
        fill_resting(self._exchange, order, part_of(self._exchange, order))
        return True

    def _foreign_order(self, fault: Fault) -> bool:
        """It rests until whoever placed it cancels it, a while later; 0 seconds: it stays."""
        account, params = self._account(fault), self._foreign_params(fault)
        client_id = params["newClientOrderId"]
        return self._place_foreign(
            fault,
            client_id,
            lambda: self._desk.place(account, params, stp_default="NONE"),
            lambda: self._desk.cancel(
                account, {"symbol": fault.choice.symbol, "origClientOrderId": client_id}
            ),
        )

    def _foreign_algo_order(self, fault: Fault) -> bool:
        """As ``_foreign_order``; it takes a profit where the other would rest."""
        account, params = self._account(fault), self._foreign_params(fault)
        client_id, price = params.pop("newClientOrderId"), params.pop("price")
        del params["timeInForce"]
        params |= {
            "algoType": "CONDITIONAL",
            "type": "TAKE_PROFIT_MARKET",
            "triggerPrice": price,
            "clientAlgoId": client_id,
        }
        return self._place_foreign(
            fault,
            client_id,
            lambda: self._algo_desk.place(account, params),
            lambda: self._algo_desk.cancel(account, {"clientAlgoId": client_id}),
        )

    def _foreign_trade(self, fault: Fault) -> bool:
        account, params = self._account(fault), self._foreign_params(fault)
        del params["timeInForce"], params["price"]
        params["type"] = "MARKET"
        client_id = params["newClientOrderId"]
        return self._place_foreign(
            fault, client_id, lambda: self._desk.place(account, params, stp_default="NONE"), None
        )

    def _place_foreign(
        self,
        fault: Fault,
        client_id: str,
        place: Callable[[], object],
        cancel: Callable[[], object] | None,
    ) -> bool:
        """Somebody else's order; the venue may refuse it for a while, as anybody's."""
        try:
            place()
        except ApiError as error:
            fault.details[:] = [f"refused: {error}"]
            return False
        fault.details.clear()
        self._ledger.hit(fault, client_id)
        if cancel is not None and fault.choice.seconds:
            self._agenda.after(fault.choice.seconds, lambda: _unless_gone(cancel))
        return True

    def _foreign_params(self, fault: Fault) -> dict[str, str]:
        market = self._market(fault)
        rules, mark_e8 = market.rules, market.mark_e8
        side = fault.random.choice((Side.BUY, Side.SELL))
        price_e8 = mark_e8 - side * (mark_e8 // FOREIGN_DISTANCE)
        price_e8 = floor_to(price_e8, rules.tick_e8) + rules.price_min_e8 % rules.tick_e8
        least_e8 = -(-2 * rules.notional_min_e8 * E8 // price_e8)
        qty_e8 = -(-least_e8 // rules.step_e8) * rules.step_e8
        return {
            "symbol": rules.symbol,
            "side": side.name,
            "type": "LIMIT",
            "timeInForce": "GTC",
            "price": fixed(price_e8, rules.price_places),
            "quantity": fixed(qty_e8, rules.qty_places),
            "newClientOrderId": f"web_{fault.random.getrandbits(64):016x}",
        }

    def _transfer(self, fault: Fault) -> None:
        """Money moves between the wallet and the owner's others; no more leaves than is free."""
        account, exchange = self._account(fault), self._exchange
        text = fault.choice.amount
        amount_e8 = parse_e8(text) if text else fault.random.randint(*TRANSFER_E8)
        free_e8 = available_e8(account, account_margin(account, exchange.markets.values()))
        amount_e8 = max(amount_e8, -free_e8)
        if amount_e8:
            self._ledger.hit(fault, format_e8(amount_e8))
            exchange.books.change_wallet(
                account,
                "",
                "TRANSFER",
                amount_e8,
                exchange.clock_ms(),
                reason="DEPOSIT" if amount_e8 > 0 else "WITHDRAW",
            )

    def _close_position(self, fault: Fault) -> bool:
        """A liquidation or auto-deleveraging, in the order in which the venue tells it."""
        exchange, account, market = self._exchange, self._account(fault), self._market(fault)
        symbol, now_ms = market.rules.symbol, exchange.clock_ms()
        if not account.position(symbol).qty_e8 or market.status != TRADING:
            return False
        is_liquidation = fault.kind == "liquidation"
        if is_liquidation:
            exchange.events.margin_call(account, market, now_ms)
            exchange.expire_all(account, "5")
        order = self._closing_order(account, market, is_liquidation=is_liquidation)
        self._ledger.hit(fault, order.client_order_id)
        market.apply(market.book.place(order, now_ms * NS_PER_MS).events)
        market.commit(now_ms)
        if is_liquidation and order.quote_e8:
            fee_e8 = cut(order.quote_e8 * LIQUIDATION_FEE_E8, E8)
            exchange.books.change_wallet(account, symbol, "INSURANCE_CLEAR", -fee_e8, now_ms)
        self._tell_force_order(market, order, now_ms)
        return True

    def _closing_order(
        self, account: Account, market: SymbolMarket, *, is_liquidation: bool
    ) -> ClientOrder:
        exchange, rules = self._exchange, market.rules
        held_e8 = account.position(rules.symbol).qty_e8
        side = Side.SELL if held_e8 > 0 else Side.BUY
        now_ms, order_id = exchange.clock_ms(), exchange.next_order_id()
        bound_e8 = market.mark_e8 + side * (market.mark_e8 // LIQUIDATION_BOUND)
        price_e8 = floor_to(bound_e8, rules.tick_e8)
        return ClientOrder(
            order_id=order_id,
            account_id=account.account_id,
            side=side,
            price_e8=price_e8,
            qty_e8=abs(held_e8),
            tif=Tif.IOC,
            stp=StpMode.NONE,
            symbol=rules.symbol,
            client_order_id=f"autoclose-{now_ms}{order_id % 10**6:06d}"
            if is_liquidation
            else "adl_autoclose",
            type="LIQUIDATION",
            tif_text="IOC",
            stp_text="NONE",
            price_match="NONE",
            good_till_ms=0,
            created_ms=now_ms,
            updated_ms=now_ms,
            limit_price_e8=price_e8,
        )

    def _tell_force_order(self, market: SymbolMarket, order: ClientOrder, now_ms: int) -> None:
        if not order.filled_e8:
            return
        frame = market.encoder.force_order(
            side=order.side,
            qty_e8=order.qty_e8,
            price_e8=order.limit_price_e8,
            average_e8=order.quote_e8 * E8 // order.filled_e8,
            filled_e8=order.filled_e8,
            status=order.status,
            now_ms=now_ms,
        )
        for name in (f"{market.rules.symbol.lower()}@forceOrder", "!forceOrder@arr"):
            topic = self._exchange.hub.topic(name)
            if topic.is_wanted:
                topic.publish(frame)

    # Helpers.

    def _account(self, fault: Fault) -> Account:
        return self._exchange.accounts[fault.choice.account]

    def _market(self, fault: Fault) -> SymbolMarket:
        return self._exchange.markets[fault.choice.symbol]


def _unless_gone(cancel: Callable[[], object]) -> None:
    """Cancel what may be gone already."""
    with suppress(ApiError):
        cancel()
