"""The exchange behind the three servers: accounts, markets, books of account, user events."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from hft.units import parse_e8
from tools.venue.accounts import Account, Rates
from tools.venue.auth import Key
from tools.venue.books import AccountBooks
from tools.venue.config import VenueConfig
from tools.venue.errors import refuse
from tools.venue.exchange_info import SymbolRules, exchange_info
from tools.venue.history import History, Origin
from tools.venue.hub import Hub
from tools.venue.limits import AddressLimit, OrderLimit
from tools.venue.market import NS_PER_MS, TRADING, IdSource, SymbolMarket
from tools.venue.outlet import Outlet
from tools.venue.user_events import UserEvents, UserSink

if TYPE_CHECKING:
    from tools.venue.request import Gate

FIRST_UPDATE_ID: Final = 8_214_400_000_000
FIRST_ORDER_ID: Final = 8_389_765_739_703_625_592
"""Beyond 2^53, as the venue's ids of some symbols are."""
FIRST_TRADE_ID: Final = 6_022_114_455
OWN_TRADE_IDS_OF_RECORDINGS: Final = 9_000_000_000_000


def _nobody_listens(_account: Account, _name: str, _payload: bytes) -> None:
    """User events before the stream server is up."""


class Exchange:
    """State of the whole venue. Every method runs to its end: there is one thread and no await."""

    def __init__(
        self,
        config: VenueConfig,
        rules: Iterable[SymbolRules],
        *,
        clock_ms: Callable[[], int],
    ) -> None:
        self.config = config
        self.clock_ms = clock_ms
        self._read_ms = clock_ms
        self._clock_offset_ms = 0
        self.outlet = Outlet()
        self.gate: Gate | None = None
        """Stands before the handlers of requests while faults are at work there."""
        self.faults_told: Callable[[], dict[str, Any]] = dict
        """Counts of the faults that were begun, for the truth."""
        self.is_down = False
        """Nothing of the venue answers."""
        self.hub = Hub(self.outlet)
        self.update_ids = IdSource(FIRST_UPDATE_ID)
        self.deliver: UserSink = _nobody_listens
        self.events = UserEvents(
            lambda account, name, payload: self.deliver(account, name, payload),
            is_padded=config.event_numbers_padded,
        )
        self.accounts: dict[str, Account] = {}
        self.books = AccountBooks(self.accounts, self.events, clock_ms=lambda: self.clock_ms())
        self.history = History()
        is_recorded = bool(config.recordings)
        self.markets = {
            r.symbol: SymbolMarket(
                r,
                self.hub,
                self.update_ids,
                is_recorded=is_recorded,
                depth_interval_ms=config.depth_interval_ms,
                first_trade_id=OWN_TRADE_IDS_OF_RECORDINGS if is_recorded else FIRST_TRADE_ID,
                on_events=self.books.on_events,
            )
            for r in rules
        }
        self.keys = {account.api_key: Key(account) for account in config.accounts}
        self.orders_received = 0
        self.funding_rate_e8 = parse_e8(config.funding_rate)
        self.next_funding_ms = self._funding_after(clock_ms())
        self.countdowns: dict[tuple[int, str], int] = {}
        self._addresses: dict[str, AddressLimit] = {}
        self._last_order_id = FIRST_ORDER_ID
        self._listen_keys_made = 0
        for settings in config.accounts:
            self._open_account(settings.account or settings.api_key, parse_e8(settings.wallet))

    # Look-ups.

    def market(self, symbol: str) -> SymbolMarket:
        """The market of a symbol.

        Raises:
            ApiError: -1121.
        """
        market = self.markets.get(symbol)
        if market is None:
            raise refuse(-1121)
        return market

    def key(self, api_key: str, origin: Origin | None = None) -> Key:
        """The key of that name.

        Raises:
            ApiError: -2014 empty, -2015 unknown.
        """
        if not api_key:
            raise refuse(-2014)
        key = self.keys.get(api_key)
        if key is None:
            self.note_violation("unknown key", api_key, origin)
            raise refuse(-2015)
        return key

    def account_of(self, key: Key) -> Account:
        """The account of a key."""
        return self.accounts[key.account_name]

    def address_limit(self, address: str) -> AddressLimit:
        """Weight and bans of an address."""
        limit = self._addresses.get(address)
        if limit is None:
            limit = self._addresses[address] = AddressLimit(
                address,
                self.history,
                weight_per_minute=self.config.weight_per_minute,
                refusals_before_ban=self.config.refusals_before_ban,
                ban_s=self.config.ban_s,
                ban_notice_ms=self.config.ban_notice_ms,
            )
        return limit

    def address_limits(self) -> list[AddressLimit]:
        """The limits of all addresses that ever asked."""
        return list(self._addresses.values())

    def exchange_info(self) -> dict[str, object]:
        """The exchangeInfo body with the present states of the symbols."""
        config = self.config
        body = exchange_info(
            (m.rules for m in self.markets.values()),
            limits={
                "weight_per_minute": config.weight_per_minute,
                "orders_per_minute": config.orders_per_minute,
                "orders_per_10_s": config.orders_per_10_s,
                "open_orders_per_symbol": config.open_orders_per_symbol,
            },
            now_ms=self.clock_ms(),
        )
        for row in body["symbols"]:
            row["status"] = self.markets[row["symbol"]].status
        return body

    def next_order_id(self) -> int:
        """A new order id."""
        self._last_order_id += 1
        return self._last_order_id

    def note_violation(self, kind: str, detail: str, origin: Origin | None = None) -> None:
        """Remember what a client should not have done; the first ones are kept."""
        self.history.note_violation(kind, detail, self.clock_ms(), origin)

    # Listen keys.

    def start_listen_key(self, account: Account) -> str:
        """The account's listen key: the same while it lives, prolonged."""
        now_ms = self.clock_ms()
        if not account.listen_key or account.listen_key_until_ms <= now_ms:
            self._listen_keys_made += 1
            seed = f"{self.config.seed}:{account.name}:{self._listen_keys_made}"
            account.listen_key = hashlib.sha256(seed.encode()).hexdigest()
        account.listen_key_until_ms = now_ms + int(self.config.listen_key_lifetime_s * 1000)
        return account.listen_key

    def keep_listen_key(self, account: Account) -> str:
        """Prolong the listen key.

        Raises:
            ApiError: -1125 when there is none.
        """
        if not account.listen_key:
            raise refuse(-1125)
        return self.start_listen_key(account)

    def end_listen_key(self, account: Account, *, is_told: bool = True) -> None:
        """Close the listen key for everybody who listens with it."""
        if account.listen_key and is_told:
            self.events.listen_key_expired(account, account.listen_key, self.clock_ms())
        account.listen_key = ""

    # Time.

    def on_timer(self) -> None:
        """What happens by itself: dated orders, countdowns, listen keys, funding."""
        now_ms = self.clock_ms()
        for market in self.markets.values():
            market.apply(market.book.expire_due(now_ms * NS_PER_MS))
            market.commit(now_ms)
        for (account_id, symbol), due_ms in list(self.countdowns.items()):
            if due_ms <= now_ms:
                del self.countdowns[account_id, symbol]
                self.cancel_all(self.books.by_id(account_id), symbol)
        for account in self.accounts.values():
            if account.listen_key and account.listen_key_until_ms <= now_ms:
                self.end_listen_key(account)
        if now_ms >= self.next_funding_ms:
            self.pay_funding()
            self.next_funding_ms = self._funding_after(now_ms)

    def cancel_all(self, account: Account, symbol: str, origin: Origin | None = None) -> None:
        """Cancel the account's open orders of a symbol; conditional ones stay."""
        market = self.market(symbol)
        now_ms = self.clock_ms()
        for order in list(account.opened(symbol).values()):
            order.cancel_origin = origin
            market.apply(market.book.cancel(order, now_ms * NS_PER_MS))
            market.commit(now_ms)

    def expire_all(self, account: Account, reason: str) -> int:
        """The venue ends all open orders of an account, for one of its reasons; how many."""
        now_ms = self.clock_ms()
        orders = [order for opened in account.open_orders.values() for order in opened.values()]
        for order in orders:
            order.forced_expiry = reason
            market = self.markets[order.symbol]
            market.apply(market.book.cancel(order, now_ms * NS_PER_MS))
            market.commit(now_ms)
        return len(orders)

    def pay_funding(self) -> None:
        """Every position pays or gets funding now."""
        marks_e8 = {symbol: market.mark_e8 for symbol, market in self.markets.items()}
        self.books.pay_funding(self.funding_rate_e8, marks_e8)

    def set_status(self, symbol: str, status: str) -> None:
        """Change a symbol's trading status and tell it on ``!contractInfo``."""
        market = self.market(symbol)
        if status != market.status:
            self.history.note_status(symbol, status, self.clock_ms(), is_halt=status != TRADING)
        market.status = status
        self._tell_contract(market)

    def set_tick(self, symbol: str, tick_e8: int) -> None:
        """Change a symbol's tick size and tell it; orders that rest stay where they are."""
        market = self.market(symbol)
        market.change_tick(tick_e8, self.clock_ms())
        self._tell_contract(market)

    def _tell_contract(self, market: SymbolMarket) -> None:
        now_ms, symbol = self.clock_ms(), market.rules.symbol
        self.hub.topic("!contractInfo").publish(
            f'{{"e":"contractInfo","E":{now_ms},"s":"{symbol}","ps":"{symbol}","ct":"PERPETUAL",'
            f'"dt":4133404800000,"ot":1569398400000,"cs":"{market.status}","st":1}}'
        )

    def reset_update_ids(self) -> None:
        """Update ids begin again: only when nobody listens may the books' ids go back."""
        self.update_ids.reset(FIRST_UPDATE_ID)
        for market in self.markets.values():
            market.last_id = self.update_ids.next()

    def step_clock(self, milliseconds: int) -> None:
        """The venue's clock jumps; what was due in a while still is, but no date moves."""
        self.history.note_clock_step(self.clock_ms(), milliseconds)
        self._clock_offset_ms += milliseconds
        self.clock_ms = lambda: self._read_ms() + self._clock_offset_ms
        for market in self.markets.values():
            market.shift_clock(milliseconds)
        for key in self.countdowns:
            self.countdowns[key] += milliseconds
        for account in self.accounts.values():
            account.listen_key_until_ms += milliseconds
        for limit in self._addresses.values():
            limit.shift_clock(milliseconds)

    # Helpers.

    def _open_account(self, name: str, wallet_e8: int) -> None:
        if name in self.accounts:
            return
        config = self.config
        self.accounts[name] = Account(
            account_id=len(self.accounts) + 1,
            name=name,
            wallet_e8=wallet_e8,
            rates=Rates(round(config.maker_fee_bps * 10_000), round(config.taker_fee_bps * 10_000)),
            leverage_default=config.leverage,
            order_limit=OrderLimit(
                per_10_s=config.orders_per_10_s, per_minute=config.orders_per_minute
            ),
            deposited_e8=wallet_e8,
        )

    def _funding_after(self, now_ms: int) -> int:
        interval_ms = self.config.funding_interval_s * 1000
        return (now_ms // interval_ms + 1) * interval_ms
