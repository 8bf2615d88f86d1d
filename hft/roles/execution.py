"""Decisions in, orders out. The only holder of trading keys.

Sole writer of ``executions``, ``orders`` and ``journal`` (through ``OrderKeeper``). Here is what a
decision goes through; ``OrderGuard`` cancels without one, ``RestEntry`` sends while the order
session is down, ``EntryLimits`` knows what the venue allows, ``OrderResolver`` asks about the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

from hft import counters
from hft.core.generated.views import Decision
from hft.core.orders import Order
from hft.counters import RoleState
from hft.errors import HftError, UsageError
from hft.records import Action, Mode, Reason
from hft.roles.context import Context, InstrumentWatch
from hft.roles.entry_limits import EntryEvents, EntryLimits
from hft.roles.order_entry import OrderEntry
from hft.roles.order_guard import OrderGuard
from hft.roles.order_keeper import OrderKeeper
from hft.roles.order_rehearsal import OrderRehearsal
from hft.roles.order_resolver import OrderResolver
from hft.roles.rest_entry import RestEntry
from hft.roles.venue_access import VenueLimits, make_rest
from hft.units import NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.errors import SessionDownError
from hft.venues.binance_usdm.link import SessionState
from hft.venues.binance_usdm.order_session import OrderSession, Reply
from hft.venues.binance_usdm.order_text import OrderTextEncoder
from hft.venues.binance_usdm.signing import Credentials, load_credentials
from hft.venues.binance_usdm.user_events import OrderUpdate
from hft.venues.binance_usdm.user_session import UserSession
from ipc import Word
from ipc.layout import EPOCH_OFFSET

REHEARSALS_AT_START: Final = 50
"""The interpreter specialises code that has run a few times."""
STOP_REST_NS: Final = 2 * NS_PER_S
"""An orderly stop that still sees open orders after so long cancels by REST as well."""


class Execution(OrderEntry):
    """Journals, sends, follows every order to its end, and cancels on its own authority."""

    name = "execution"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._page = context.page
        self._config = context.config.execution
        self._age_ns_max = self._config.decision_age_ms_max * NS_PER_MS
        self._venue = context.config.venue
        self._decisions, decision_buffer = context.ring_reader("decisions")
        self._decision = Decision(decision_buffer)
        self._has_paper = context.plan.has_role("paper")
        self._permit = context.permit()
        self._halt = context.halt
        self._risk_epoch = Word.at(context.page_of("risk").segment, EPOCH_OFFSET)
        self._keeper = OrderKeeper(context)
        self._limits = EntryLimits(context)
        self._budget, self._throttle = self._limits.budget, self._limits.throttle
        self._events = EntryEvents(context, self._keeper, self._throttle)
        self._guard = OrderGuard(context, self._keeper, self._events, self._cancel)
        self._instruments = InstrumentWatch(context)
        self._encoders = {}
        self._credentials: Credentials
        self._users: UserSession
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn: Callable[[], None] = lambda: None
        self._rehearsal: OrderRehearsal | None = None
        self._opening: asyncio.Task[None]
        self._stop_rest = False

    # -- start ----------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> None:
        """Rebuild the books. What the venue thinks of them is asked once the sessions are up."""
        self._page.state = int(RoleState.RECOVERING)
        self._credentials = load_credentials(self._venue)
        self._renew_encoders()
        consumed_seq = self._keeper.recover(now_ns)
        if consumed_seq > self._decisions.seq:
            self._decisions.seek(consumed_seq + 1)
            self._decisions.commit()
        for order in self._keeper.table:
            if not order.is_terminal:
                self._events.overdue(order, now_ns)
        self._guard.begin(now_ns)

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
        address = VenueLimits(self._context)
        share = self._config.weight_share
        self._rest = make_rest(self._context, share, self._credentials, address)
        self._resolver = OrderResolver(
            self._context, self._rest, self._keeper, self._events, guard, turn
        )
        self._by_rest = RestEntry(
            self._context,
            self._rest,
            self._keeper,
            self._events,
            self._limits,
            loop=loop,
            fence=self._fence,
            guard=guard,
            turn=turn,
        )
        self._users = UserSession(
            endpoints,
            listen_key=self._resolver.listen_key,
            on_event=guard(self._on_user_event),
            on_state=address.watched("users", guard(self._on_user_state)),
            on_batch_end=turn,
            may_connect=address.may_connect("users"),
            on_refused=address.on_refused,
        )
        self._session = OrderSession(
            endpoints,
            self._credentials,
            on_reply=guard(self._on_reply),
            on_state=address.watched("orders", guard(self._on_session)),
            on_batch_end=turn,
            venue_ms=self._timestamp_ms,
            suspect_s=self._config.suspect_ms / 1e3,
            may_connect=address.may_connect("orders"),
            on_refused=address.on_refused,
        )
        self._session.start(loop)
        self._resolver.start(loop, self._users)
        self._rehearsal = OrderRehearsal(
            self, self._context, self._rest, self._encoders, self._credentials
        )
        for _ in range(REHEARSALS_AT_START):
            self._rehearsal.run()
        self._opening = loop.create_task(self._rehearsal.open())

    # -- sessions -------------------------------------------------------------------------------

    def _on_reply(self, reply: Reply, recv_ns: int) -> None:
        self._observe_limits(reply)
        self._events.on_reply(reply, recv_ns)

    def _observe_limits(self, reply: Reply) -> None:
        now_ns = time.monotonic_ns()
        self._budget.observe_orders(now_ns, reply.orders_10s, reply.orders_1m)
        if not reply.is_ok:
            self._limits.told(
                self._rest,
                now_ns,
                status=reply.status,
                code=reply.code,
                retry_after_ms=reply.retry_after_ms,
            )

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

    def _guard_orders(self, now_ns: int) -> int:
        """Every open order, and what limits new ones."""
        self._guarded_ns = now_ns
        self._limits.refresh(self._rest, now_ns)
        return self._guard.round(
            now_ns, is_stopping=bool(self._stop_ns), is_recovered=self._resolver.is_recovered
        )

    def _tend(self, now_ns: int) -> None:
        """What is done once in a while: sessions, questions, changed instruments, gauges."""
        self._session.watch(now_ns, may_probe=now_ns >= self._budget.blocked_until_ns)
        self._page.set_gauge(counters.USED_WEIGHT.id, self._rest.used_weight)
        self._page.set_gauge(counters.ORDERS_10S.id, self._budget.orders_10s.used(now_ns))
        self._page.set_gauge(counters.ORDERS_1M.id, self._budget.orders_1m.used(now_ns))
        self._resolver.tend(now_ns)
        self._renew_encoders()

    def _renew_encoders(self) -> None:
        """Write orders by the instruments' decimals as they are now."""
        for view in self._instruments.poll():
            self._encoders[view.instrument_id] = OrderTextEncoder(
                view, self._credentials, self._venue.recv_window_ms
            )

    def rehearse(self, now_ns: int) -> None:
        """Nothing happens: keep the order path in the caches."""
        if self._rehearsal is not None:
            self._rehearsal.place(now_ns)
            self.look_ahead(now_ns)

    def rehearse_answer(self, now_ns: int) -> None:
        """The other half, at another time: what the venue says of the order rehearsed last."""
        if self._rehearsal is not None:
            self._rehearsal.answer(now_ns)

    def _consume_other(self, decision: Decision, now_ns: int) -> None:
        """Journal a decision other than a new order, and act on it if it may be acted on."""
        order = self._keeper.table.get(decision.order_id)
        mode = decision.mode
        if decision.reason:
            self._keeper.refuse(decision, order, Reason(decision.reason), now_ns)
            return
        if mode == Mode.PAPER and self._has_paper:
            self._keeper.pass_over(decision)  # paper answers it
            return
        if mode != Mode.LIVE:
            reason = Reason.NOT_LIVE
        elif decision.action == Action.AMEND:
            reason = self._amend(decision, order, now_ns)
        elif decision.action == Action.CANCEL:
            reason = self._cancel_decided(order, now_ns)
        else:
            self._cancel_all(decision, now_ns)
            return
        if reason is not Reason.NONE:
            self._drop(decision, order, reason, now_ns)

    def _drop(self, decision: Decision, order: Order | None, reason: Reason, now_ns: int) -> None:
        """Journal and tell that an approved decision is not acted on."""
        self._page.count(counters.DROPPED.id)
        self._keeper.refuse(decision, order, reason, now_ns)

    def _amend(self, decision: Decision, order: Order | None, now_ns: int) -> Reason:
        if order is None or order.is_terminal:
            return Reason.ORDER_CLOSED
        if not (self._session.is_ready or (self._is_open and self._by_rest.is_able(now_ns))):
            return Reason.SESSION_DOWN
        if order.is_pending or order.order_id in self._by_rest.due:
            return Reason.REQUEST_PENDING
        refusal = self._budget.place_refusal(now_ns)
        if refusal is Reason.NONE and now_ns < self._throttle.until_ns:
            refusal = self._throttle.refusal(order.strategy_id, order.is_reduce_only, now_ns)
        if refusal is not Reason.NONE:
            return refusal
        encoder = self._encoders[order.instrument_id]
        if not self._session.is_ready:
            return self._by_rest.amend(order, encoder, decision)
        request_id = self._next_request_id()
        try:
            text = encoder.amend(
                request_id,
                order.order_id,
                side=order.side,
                price_e8=decision.price_e8,
                qty_e8=decision.qty_e8,
                timestamp_ms=self._timestamp_ms(),
            )
        except UsageError:
            return encoder.objection(decision.price_e8, decision.qty_e8)
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
        if self._guard.is_too_soon(order, now_ns):
            return Reason.REQUEST_PENDING
        reason = self._cancel(order, Reason.NONE, now_ns)
        if reason is Reason.NONE:
            self._guard.note_cancel(order, now_ns)
        return reason

    def _cancel_all(self, decision: Decision, now_ns: int) -> None:
        """Journal the decision, and cancel a strategy's orders, or everybody's."""
        decision.reason = int(Reason.OWN_DECIDED_ALL)  # no order waits for an answer to this one
        self._keeper.refuse(decision, None, Reason.OWN_DECIDED_ALL, now_ns)
        self._guard.cancel_all(decision.strategy_id, decision.instrument_id, now_ns)

    def _cancel(self, order: Order, reason: Reason, now_ns: int) -> Reason:
        """Send a cancel. Needs no permit: taking risk away is always allowed."""
        if not self._session.is_ready:
            is_new = self._by_rest.cancel(order, reason)
            return Reason.NONE if is_new or reason is Reason.NONE else Reason.REQUEST_PENDING
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

    def _next_request_id(self) -> int:
        self._request_id += 1
        return self._request_id

    def _timestamp_ms(self) -> int:
        return self._rest.venue_ns // NS_PER_MS

    # -- end ------------------------------------------------------------------------------------

    def on_stop(self, now_ns: int) -> bool:
        """Cancel everything; done when the venue has confirmed that nothing is open."""
        if not self._stop_ns:
            self._stop_ns = now_ns
            self._page.state = int(RoleState.STOPPING)
        is_open = any(order.is_ours for order in self._keeper.table)
        if not is_open and not self._keeper.flush():
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
        if self._rehearsal is not None:
            self._opening.cancel()
            self._rehearsal.close()
        self._by_rest.stop()
        self._users.stop()
        self._resolver.stop()
        with contextlib.suppress(HftError, RuntimeError, OSError):  # the process ends anyway
            self._loop.run_until_complete(self._rest.close())
