"""What limits order entry: the venue's budgets and moods, our own journal, unruly strategies.

Whatever the venue answers passes here as well, whichever way it came: a refusal does not only
close an order, it says how to go on.
"""

from __future__ import annotations

from typing import Final

from hft import counters, graph
from hft.core.orders import Order
from hft.core.place_throttle import PlaceThrottle
from hft.core.throttle import VenueBudget
from hft.records import Action, Reason
from hft.roles.context import Context
from hft.roles.order_events import OrderEvents
from hft.roles.order_keeper import OrderKeeper
from hft.units import NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.errors import classify
from hft.venues.binance_usdm.rest import RestClient

HTTP_FIREWALL: Final = 403
HTTP_BANNED: Final = 418
HTTP_LIMITED: Final = 429
TOO_MUCH_WEIGHT: Final = -1003
TOO_MANY_ORDERS: Final = -1015
BAN_MS: Final = 120_000
"""The shortest ban, for a 418 that does not say until when."""
PAUSE_MS: Final = 10_000
"""For a 429 that does not say how long; the shorter of the windows in which orders are counted."""
FIREWALL_MS: Final = 60_000
JOURNAL_SHARE: Final = (7, 8)
"""So much of the journal's ring may wait for the recorder before new orders are refused."""


class EntryLimits:
    """May a request leave, as far as limits are concerned?"""

    def __init__(self, context: Context) -> None:
        config, limits = context.config.execution, context.plan.limits
        self.budget = VenueBudget(
            orders_10s=limits.orders_10s,
            orders_1m=limits.orders_1m,
            weight_1m=limits.weight_1m,
            limit_use=config.limit_use,
            weight_share=config.weight_share,
            cancel_reserve=config.cancel_reserve,
        )
        self.throttle = PlaceThrottle()
        self._journal_cursor = context.page.cursor(graph.cursor_index("journal"))
        share, whole = JOURNAL_SHARE
        self._journal_lag_max = graph.ring("journal").capacity * share // whole
        self._recorder = context.page_of("recorder")
        self._copied_seq = 0

    def told(
        self, rest: RestClient, now_ns: int, *, status: int, code: int, retry_after_ms: int
    ) -> None:
        """The venue refused a request for a limit's sake: say so to everybody on this address."""
        if status == HTTP_BANNED:
            wait_ns = (retry_after_ms or BAN_MS) * NS_PER_MS
            self.budget.block(now_ns + wait_ns)
            rest.note_ban(now_ns + wait_ns)
        elif status in (HTTP_FIREWALL, HTTP_LIMITED) or code in (TOO_MUCH_WEIGHT, TOO_MANY_ORDERS):
            usual_ms = FIREWALL_MS if status == HTTP_FIREWALL else PAUSE_MS
            wait_ns = (retry_after_ms or usual_ms) * NS_PER_MS
            self.budget.pause(now_ns + wait_ns)
            if code != TOO_MANY_ORDERS:  # which concerns neither queries nor other roles
                rest.note_pause(now_ns + wait_ns)

    def refresh(self, rest: RestClient, now_ns: int) -> None:
        """Learn what other connections were told, and how far the recorder is."""
        self.budget.block(rest.banned_until_ns)
        self.budget.pause(rest.paused_until_ns)
        # A recorder that begins anew has not said yet what its predecessor had copied.
        copied_seq = self._recorder.gauge(counters.COPIED_SEQ.id)
        self._copied_seq = max(self._copied_seq, copied_seq)
        lag = self._journal_cursor.value - self._copied_seq
        is_full = self._recorder.epoch > 0 and lag > self._journal_lag_max
        self.throttle.stand(Reason.JOURNAL_FULL if is_full else Reason.NONE)


class EntryEvents(OrderEvents):
    """Events that limits learn from."""

    def __init__(self, context: Context, keeper: OrderKeeper, throttle: PlaceThrottle) -> None:
        super().__init__(context.page, keeper)
        self._throttle = throttle

    def refused(
        self, order: Order, action: Action, code: int, status: int, text: str, now_ns: int
    ) -> None:
        """The venue answered with an error: definite, or not."""
        super().refused(order, action, code, status, text, now_ns)
        fault = classify(code, status, text)
        if fault.reason is Reason.VENUE_OVERLOAD:
            self._throttle.overloaded(now_ns)
        elif action is Action.PLACE and fault.is_definite:
            self._throttle.rejected(order.strategy_id, fault.reason, now_ns)


def retry_after_ms(seconds: float) -> int:
    """A pause in whole milliseconds, never shorter."""
    return -int(-seconds * NS_PER_S // NS_PER_MS)
