"""Decisions in, orders out. The only holder of trading keys.

Sole writer of ``executions``, ``orders`` and ``journal`` (through ``OrderKeeper``).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

from hft import counters
from hft.core.generated.views import Decision, TopOfBook
from hft.core.orders import Order
from hft.core.permit import permit_expires_ns, permit_grants, permit_state
from hft.core.throttle import VenueBudget
from hft.counters import RoleState
from hft.errors import HftError
from hft.records import (
    Action,
    FeedState,
    Mode,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
    TradingState,
)
from hft.roles.context import Context, instrument_views
from hft.roles.order_events import OrderEvents
from hft.roles.order_keeper import OrderKeeper
from hft.roles.order_resolver import OrderResolver
from hft.roles.venue_access import make_rest
from hft.units import E8, NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.errors import SessionDownError
from hft.venues.binance_usdm.link import SessionState
from hft.venues.binance_usdm.order_session import OrderSession, Reply
from hft.venues.binance_usdm.order_text import OrderTextEncoder
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.signing import Credentials, load_credentials
from hft.venues.binance_usdm.user_events import OrderUpdate
from hft.venues.binance_usdm.user_session import UserSession

DECISIONS_PER_CYCLE_MAX: Final = 64
GUARD_EVERY_NS: Final = 10 * NS_PER_MS
CANCEL_AGAIN_NS: Final = 500 * NS_PER_MS
FEED_GRACE_NS: Final = 200 * NS_PER_MS
HTTP_BANNED: Final = 418
STOP_REST_NS: Final = 2 * NS_PER_S
"""An orderly stop that still sees open orders after so long cancels by REST as well."""


class Execution:
    """Journals, sends, follows every order to its end, and cancels on its own authority."""

    name = "execution"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._page = context.page
        self._config = context.config.execution
        self._venue = context.config.venue
        self._decisions, decision_buffer = context.ring_reader("decisions")
        self._decision = Decision(decision_buffer)
        self._tops, top_buffer = context.cell_reader("tops")
        self._top = TopOfBook(top_buffer)
        self._permit = context.permit()
        self._halt = context.halt
        self._risk, self._strategy = context.page_of("risk"), context.page_of("strategy")
        self._keeper = OrderKeeper(context)
        self._events = OrderEvents(context.page, self._keeper)
        limits = context.plan.limits
        self._budget = VenueBudget(
            orders_10s=limits.orders_10s,
            orders_1m=limits.orders_1m,
            weight_1m=limits.weight_1m,
            limit_use=self._config.limit_use,
            weight_share=self._config.weight_share,
            cancel_reserve=self._config.cancel_reserve,
        )
        self._encoders: dict[int, OrderTextEncoder] = {}
        self._request_id = 0
        self._credentials: Credentials
        self._rest: RestClient
        self._session: OrderSession
        self._users: UserSession
        self._resolver: OrderResolver
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn: Callable[[], None] = lambda: None
        self._guarded_ns = 0
        self._was_halted = False
        self._permit_ns = 0
        self._stop_ns = 0
        self._stop_rest = False
        self._has_users = False

    # -- start ----------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> None:
        """Rebuild the books. What the venue thinks of them is asked once the sessions are up."""
        self._page.state = int(RoleState.RECOVERING)
        self._credentials = load_credentials(self._venue)
        for instrument_id, view in instrument_views(self._context).items():
            self._encoders[instrument_id] = OrderTextEncoder(
                view, self._credentials, self._venue.recv_window_ms
            )
        consumed_seq = self._keeper.recover(now_ns)
        if consumed_seq > self._decisions.seq:
            self._decisions.seek(consumed_seq + 1)
            self._decisions.commit()
        for order in self._keeper.table:
            if not order.is_terminal:
                self._events.overdue(order, now_ns)
        self._permit_ns = now_ns

    def start_sessions(
        self,
        loop: asyncio.AbstractEventLoop,
        guard: Callable[[Callable[..., None]], Callable[..., None]],
        turn: Callable[[], None],
    ) -> None:
        """Open order entry and the user stream; recovery goes on when both are up."""
        self._loop = loop
        self._turn = turn
        endpoints = Endpoints.from_config(self._venue)
        self._rest = make_rest(self._context, self._config.weight_share, self._credentials)
        self._resolver = OrderResolver(
            self._context, self._rest, self._keeper, self._events, guard, turn
        )
        self._users = UserSession(
            endpoints,
            listen_key=self._resolver.listen_key,
            on_event=guard(self._on_user_event),
            on_state=guard(self._on_user_state),
            on_batch_end=turn,
        )
        self._session = OrderSession(
            endpoints,
            self._credentials,
            on_reply=guard(self._on_reply),
            on_state=guard(self._on_session),
            on_batch_end=turn,
            venue_ms=self._timestamp_ms,
        )
        self._session.start(loop)
        self._resolver.start(loop, self._users)

    # -- sessions -------------------------------------------------------------------------------

    def _on_reply(self, reply: Reply, recv_ns: int) -> None:
        self._observe_limits(reply)
        self._events.on_reply(reply, recv_ns)

    def _observe_limits(self, reply: Reply) -> None:
        now_ns = time.monotonic_ns()
        self._budget.observe_orders(now_ns, reply.orders_10s, reply.orders_1m)
        if reply.retry_after_ms:
            # One budget for the whole address: what order entry is told holds for REST as well.
            pause_ns = reply.retry_after_ms * NS_PER_MS
            self._budget.block(now_ns + pause_ns)
            note = self._rest.note_ban if reply.status == HTTP_BANNED else self._rest.note_pause
            note(self._rest.venue_ns + pause_ns)

    def _on_session(self, state: SessionState, detail: str) -> None:
        """Lost in the middle: every unanswered request is unknown from now on."""
        self._note_sessions()
        if state is SessionState.DOWN:
            now_ns = time.monotonic_ns()
            for order in self._keeper.table.pending():
                self._events.overdue(order, now_ns)
        self._turn()

    def _note_sessions(self) -> None:
        is_up = self._session.state is SessionState.UP and self._has_users
        self._page.set_gauge(counters.SESSION_UP.id, int(is_up))

    def _on_user_event(self, event: Any, recv_ns: int) -> None:
        if isinstance(event, OrderUpdate):
            self._resolver.on_update(event, recv_ns)
        else:
            self._resolver.on_other_event(event)

    def _on_user_state(self, state: SessionState, detail: str) -> None:
        """After a gap in the user stream only the venue's own lists can be trusted."""
        is_up = state is SessionState.UP
        if state not in (SessionState.UP, SessionState.DOWN) or is_up == self._has_users:
            return  # a rotation overlaps: nothing was missed
        self._has_users = is_up
        self._note_sessions()
        self._resolver.on_user_stream(is_up=self._has_users)

    # -- cycle ----------------------------------------------------------------------------------

    def do_work(self, now_ns: int) -> int:
        """Publish what waited, guard what rests, then take new decisions."""
        work_count = self._keeper.flush()
        is_halted = self._halt.is_set
        is_due = now_ns - self._guarded_ns >= GUARD_EVERY_NS
        if is_due or (is_halted and not self._was_halted):  # a fresh halt waits for no round
            self._was_halted = is_halted
            self._guarded_ns = now_ns
            work_count += self._guard_orders(now_ns)
        if not self._keeper.is_congested:
            work_count += self._take_decisions(now_ns)
        return work_count

    def _take_decisions(self, now_ns: int) -> int:
        count = 0
        decisions, decision = self._decisions, self._decision
        while count < DECISIONS_PER_CYCLE_MAX and decisions.next():
            count += 1
            self._consume(decision, now_ns)
            decisions.commit()
        return count

    def _consume(self, decision: Decision, now_ns: int) -> None:
        """Journal the decision, and act on it if it may be acted on."""
        order = self._keeper.table.get(decision.order_id)
        if decision.reason != Reason.NONE:
            self._keeper.refuse(decision, order, Reason(decision.reason), now_ns)
            return
        if decision.mode != Mode.LIVE:
            reason = Reason.NOT_LIVE
        elif decision.action == Action.PLACE:
            reason = self._place(decision, now_ns)
        elif decision.action == Action.AMEND:
            reason = self._amend(decision, order, now_ns)
        else:
            reason = self._cancel_decided(order, now_ns)
        if reason is not Reason.NONE:
            self._page.count(counters.DROPPED.id)
            self._keeper.refuse(decision, order, reason, now_ns)

    def _place(self, decision: Decision, now_ns: int) -> Reason:
        if self._keeper.table.find(decision.order_id) is not None:
            return Reason.ORDER_ID_REUSED
        if not self._is_open:
            return Reason.SESSION_DOWN
        refusal = self._budget.place_refusal(now_ns)
        if refusal is not Reason.NONE:
            return refusal
        order = _order_of(decision)
        if self._keeper.table.add(order) < 0:
            return Reason.TABLE_FULL
        request_id = self._next_request_id()
        text = self._encoders[order.instrument_id].place(
            request_id,
            order.order_id,
            side=order.side,
            order_type=order.order_type,
            tif=order.tif,
            is_post_only=order.is_post_only,
            is_reduce_only=order.is_reduce_only,
            price_e8=order.price_e8,
            qty_e8=order.qty_e8,
            timestamp_ms=self._timestamp_ms(),
        )
        reason, send_ns = self._fence(decision)
        if reason is not Reason.NONE:
            self._keeper.table.remove(order.order_id)
            return reason
        self._keeper.begin(order, Action.PLACE, price_e8=order.price_e8, qty_e8=order.qty_e8)
        self._events.expect(request_id, order, Action.PLACE, send_ns)
        try:
            self._session.send(text)
        except SessionDownError:
            self._events.forget(request_id)
            self._events.not_sent(order, Reason.SESSION_DOWN, send_ns)
            return Reason.NONE
        order.place_sent(send_ns)
        self._budget.took_place(send_ns)
        self._keeper.sent(order, now_ns=send_ns, origin_ns=decision.origin_ns)
        self._page.count(counters.SENT.id)
        self._page.record_ns(counters.EXECUTION_NS.id, send_ns - decision.publish_ns)
        if decision.origin_ns:
            self._page.record_ns(counters.TICK_TO_TRADE_NS.id, send_ns - decision.origin_ns)
        return Reason.NONE

    def _amend(self, decision: Decision, order: Order | None, now_ns: int) -> Reason:
        if order is None or order.is_terminal:
            return Reason.ORDER_CLOSED
        if not self._session.is_ready:
            return Reason.SESSION_DOWN
        if order.is_pending:
            return Reason.REQUEST_PENDING
        refusal = self._budget.place_refusal(now_ns)
        if refusal is not Reason.NONE:
            return refusal
        request_id = self._next_request_id()
        text = self._encoders[order.instrument_id].amend(
            request_id,
            order.order_id,
            side=order.side,
            price_e8=decision.price_e8,
            qty_e8=decision.qty_e8,
            timestamp_ms=self._timestamp_ms(),
        )
        reason, send_ns = self._fence(decision)
        if reason is not Reason.NONE:
            return reason
        order.amend_sent(decision.price_e8, decision.qty_e8, send_ns)
        order.decision_seq = decision.seq
        self._keeper.begin(order, Action.AMEND, price_e8=decision.price_e8, qty_e8=decision.qty_e8)
        if self._send(request_id, order, Action.AMEND, text, send_ns):
            self._budget.took_place(send_ns)
            self._page.count(counters.AMENDS_SENT.id)
        self._keeper.settle()
        return Reason.NONE

    def _cancel_decided(self, order: Order | None, now_ns: int) -> Reason:
        if order is None or order.is_terminal:
            return Reason.ORDER_CLOSED
        return self._cancel(order, Reason.NONE, now_ns)

    def _cancel(self, order: Order, reason: Reason, now_ns: int) -> Reason:
        """Send a cancel. Needs no permit: taking risk away is always allowed."""
        if not self._session.is_ready:
            self._resolver.cancel_by_rest(order, reason)
            return Reason.NONE
        refusal = self._budget.cancel_refusal(now_ns)
        if refusal is not Reason.NONE:
            return refusal
        request_id = self._next_request_id()
        text = self._encoders[order.instrument_id].cancel(
            request_id, order.order_id, timestamp_ms=self._timestamp_ms()
        )
        order.cancel_sent(now_ns, reason)
        self._keeper.begin(order, Action.CANCEL, price_e8=order.price_e8, qty_e8=order.qty_e8)
        if self._send(request_id, order, Action.CANCEL, text, now_ns):
            self._budget.took_cancel(now_ns)
            self._page.count(counters.CANCELS_SENT.id)
        self._keeper.settle()
        return Reason.NONE

    def _send(
        self, request_id: int, order: Order, action: Action, text: bytes, send_ns: int
    ) -> bool:
        self._events.expect(request_id, order, action, send_ns)
        try:
            self._session.send(text)
        except SessionDownError:
            self._events.forget(request_id)
            self._events.refused_unsent(order, action, send_ns)
            return False
        return True

    def _fence(self, decision: Decision) -> tuple[Reason, int]:
        """The last look before bytes leave, with a clock of its own.

        Everything before this line may have taken any time: the process can have been stopped.
        What is stopped after it is refused by the venue, once the receive window is over.
        """
        now_ns = time.monotonic_ns()
        word = self._permit.load()
        if self._halt.is_set:
            return Reason.HALT_LATCHED, now_ns
        if not permit_grants(word, now_ns):
            return Reason.PERMIT_EXPIRED, now_ns
        if decision.risk_epoch != self._risk.epoch:
            return Reason.EPOCH_FENCED, now_ns
        if permit_state(word) is TradingState.REDUCING and not self._reduces(decision):
            return Reason.REDUCING_ONLY, now_ns
        if now_ns - decision.judge_ns > self._config.decision_age_ms_max * NS_PER_MS:
            return Reason.DECISION_EXPIRED, now_ns
        return Reason.NONE, now_ns

    @staticmethod
    def _reduces(decision: Decision) -> bool:
        """Judged against the position that risk saw."""
        opposes = decision.position_e8 * decision.side < 0
        return opposes and decision.qty_e8 <= abs(decision.position_e8)

    @property
    def _is_open(self) -> bool:
        """New orders need both directions: order entry, and the stream that tells of fills."""
        return (
            self._session.is_ready
            and self._has_users
            and self._resolver.is_recovered
            and not self._stop_ns
        )

    def _next_request_id(self) -> int:
        self._request_id += 1
        return self._request_id

    def _timestamp_ms(self) -> int:
        return self._rest.venue_ns // NS_PER_MS

    # -- authority of its own -------------------------------------------------------------------

    def _guard_orders(self, now_ns: int) -> int:
        """Overdue answers, orphans, and every cause to cancel without being told."""
        table = self._keeper.table
        answer_ns = self._config.answer_ms_max * NS_PER_MS
        unknown = 0
        for order in table:
            if order.is_pending and now_ns - order.request_ns > answer_ns:
                self._events.overdue(order, now_ns)
            unknown += order.state is OrderState.UNRESOLVED
        self._page.set_gauge(counters.OPEN_ORDERS.id, len(table))
        self._page.set_gauge(counters.UNKNOWN_ORDERS.id, unknown)
        self._page.set_gauge(counters.USED_WEIGHT.id, self._rest.used_weight)
        self._page.set_gauge(counters.ORDERS_10S.id, self._budget.orders_10s.used(now_ns))
        self._page.set_gauge(counters.ORDERS_1M.id, self._budget.orders_1m.used(now_ns))
        self._resolver.tend(now_ns)
        self._rehearse()
        if not len(table):
            self._note_permit(now_ns)
            return 0
        return self._cancel_causes(now_ns)

    def _rehearse(self) -> None:
        """Write an order text and throw it away: code and keys stay in the caches.

        After 30 ms of silence the first signature costs twenty times the next one.
        """
        for encoder in self._encoders.values():
            encoder.place(
                0,
                1,
                side=Side.BUY,
                order_type=OrderType.LIMIT,
                tif=Tif.GTC,
                is_post_only=True,
                is_reduce_only=False,
                price_e8=E8,
                qty_e8=E8,
                timestamp_ms=self._timestamp_ms(),
            )
            break

    def _note_permit(self, now_ns: int) -> bool:
        word = self._permit.load()
        if permit_grants(word, now_ns):
            self._permit_ns = max(self._permit_ns, min(now_ns, permit_expires_ns(word)))
            return True
        return False

    def _cancel_causes(self, now_ns: int) -> int:
        cause = Reason.NONE
        has_permit = self._note_permit(now_ns)
        if self._stop_ns:
            cause = Reason.OWN_SHUTDOWN
        elif self._halt.is_set:
            cause = Reason.OWN_HALT
        elif not has_permit and now_ns - self._permit_ns > self._config.permit_gone_ms * NS_PER_MS:
            cause = Reason.OWN_PERMIT_GONE
        elif now_ns - self._strategy.beat_ns > self._config.strategy_silence_ms * NS_PER_MS:
            cause = Reason.OWN_STRATEGY_SILENT
        elif not self._resolver.is_recovered:
            cause = Reason.OWN_RECOVERY
        count = 0
        for order in self._keeper.table:
            reason = cause
            if reason is Reason.NONE and self._is_feed_stale(order.instrument_id, now_ns):
                reason = Reason.OWN_FEED_STALE
            if reason is Reason.NONE or order.is_terminal:
                continue
            if order.state is OrderState.UNRESOLVED and not self._stop_ns:
                continue  # the ladder asks first; a cancel would only add to what is unknown
            if order.pending is Action.CANCEL and now_ns - order.request_ns < CANCEL_AGAIN_NS:
                continue
            if self._cancel(order, reason, now_ns) is Reason.NONE:
                self._page.count(counters.OWN_CANCELS.id)
                count += 1
        return count

    def _is_feed_stale(self, instrument_id: int, now_ns: int) -> bool:
        """No live market data: what rests there is priced on nothing."""
        if not self._tops.read(instrument_id):
            return True
        stale_ns = self._context.config.feed.stale_ms * NS_PER_MS + FEED_GRACE_NS
        return self._top.feed_state != FeedState.LIVE or now_ns - self._top.recv_ns > stale_ns

    # -- end ------------------------------------------------------------------------------------

    def on_stop(self, now_ns: int) -> bool:
        """Cancel everything; done when the venue has confirmed that nothing is open."""
        if not self._stop_ns:
            self._stop_ns = now_ns
            self._page.state = int(RoleState.STOPPING)
        if not len(self._keeper.table) and not self._keeper.flush():
            return True
        if now_ns - self._stop_ns > STOP_REST_NS and not self._stop_rest:
            self._stop_rest = True
            self._resolver.cancel_all_by_rest()
        return False

    def on_close(self) -> None:
        """Close the sockets. Keys and books go with the process."""
        if self._loop is None:
            return  # it ended before any socket was opened
        self._session.stop()
        self._users.stop()
        self._resolver.stop()
        with contextlib.suppress(HftError, RuntimeError, OSError):  # the process ends anyway
            self._loop.run_until_complete(self._rest.close())


def _order_of(decision: Decision) -> Order:
    """The order that an approved PLACE asks for."""
    return Order(
        order_id=decision.order_id,
        instrument_id=decision.instrument_id,
        strategy_id=decision.strategy_id,
        side=Side(decision.side),
        price_e8=decision.price_e8,
        qty_e8=decision.qty_e8,
        order_type=OrderType(decision.order_type),
        tif=Tif(decision.tif),
        is_post_only=bool(decision.is_post_only),
        is_reduce_only=bool(decision.is_reduce_only),
        decision_seq=decision.seq,
        origin_ns=decision.origin_ns,
    )
