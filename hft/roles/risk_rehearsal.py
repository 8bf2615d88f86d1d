"""An intent on its way to a decision, run while nothing happens.

A twin of risk, in memory of its own, approves an order by limits that let everything pass, and
hears of its end before the next one. No exposure, cursor or decision of the real one is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hft import counters
from hft.core.generated.views import Execution as ExecutionRecord
from hft.core.generated.views import Intent, MarkPrice, TopOfBook
from hft.core.instruments import InstrumentRules
from hft.core.policies import UNLIMITED, Limits
from hft.core.risk import RiskBook
from hft.records import (
    Action,
    ExecKind,
    FeedState,
    Kind,
    Mode,
    OrderState,
    OrderType,
    Side,
    Tif,
    TradingState,
)
from hft.roles.context import Context
from hft.roles.risk_watch import RiskWatch
from hft.roles.scratch import ScratchContext
from hft.units import E8, INT64_MAX

if TYPE_CHECKING:
    from hft.roles.risk import Risk

STRATEGY_ID: Final = 1
EVERYTHING: Final = Limits(
    policy="rehearsal",
    order_notional_max_e8=UNLIMITED,
    position_notional_max_e8=UNLIMITED,
    gross_notional_max_e8=UNLIMITED,
    price_collar_bps=UNLIMITED,
    mark_collar_bps=UNLIMITED,
    open_orders_max=UNLIMITED,
    messages_per_s_max=UNLIMITED,
    messages_per_minute_max=UNLIMITED,
    unresolved_max=UNLIMITED,
    feed_age_ns_max=UNLIMITED,
    mark_age_ns_max=UNLIMITED,
    account_age_ns_max=UNLIMITED,
    intent_age_ns_max=UNLIMITED,
    duplicate_window_ns=0,
)


class RiskRehearsal:
    """The twin, and what it is asked."""

    def __init__(self, real: Risk, context: Context) -> None:
        scratch = ScratchContext(context)
        instrument_id = context.plan.instruments[0].instrument_id
        self.book = book = RiskBook(EVERYTHING, [instrument_id])
        book.set_instrument(
            InstrumentRules(instrument_id=instrument_id, symbol="", tick_e8=1, step_e8=1)
        )
        twin = type(real)(scratch)
        twin._book = book
        twin._watch = RiskWatch(scratch, book)
        twin._desk = twin.make_judge(book, book, book)
        twin._state = twin._told_state = TradingState.ACTIVE
        # No permit, no look around, no commands: a turn of the twin is an intent's way only.
        twin._due_ns = twin._cells_ns = twin._commanded_ns = INT64_MAX
        self._twin = twin
        self._account = scratch.page_of("account")
        self._account.set_gauge(counters.AGREES.id, 1)
        self._show_market(scratch, instrument_id)
        self._intents, buffer = scratch.ring_writer("intents.strategy")
        self._intent = intent = Intent(buffer)
        intent.kind, intent.mode, intent.instrument_id = (
            int(Kind.INTENT),
            int(Mode.LIVE),
            instrument_id,
        )
        intent.order_id, intent.strategy_id = STRATEGY_ID << 56, STRATEGY_ID
        intent.price_e8, intent.qty_e8, intent.side = E8, E8, int(Side.BUY)
        intent.action, intent.order_type = int(Action.PLACE), int(OrderType.LIMIT)
        intent.tif = int(Tif.GTC)
        self._executions, buffer = scratch.ring_writer("executions")
        self._end = end = ExecutionRecord(buffer)
        end.kind, end.instrument_id = int(Kind.EXECUTION), instrument_id
        end.exec_kind, end.order_state = int(ExecKind.CANCELED), int(OrderState.CANCELED)
        end.side = int(Side.BUY)

    def _show_market(self, scratch: ScratchContext, instrument_id: int) -> None:
        tops, buffer = scratch.cell_writer("tops")
        top = TopOfBook(buffer)
        top.kind, top.instrument_id = int(Kind.TOP_OF_BOOK), instrument_id
        top.bid_e8, top.ask_e8, top.feed_state = E8, 2 * E8, int(FeedState.LIVE)
        tops.write(instrument_id)
        marks, buffer = scratch.cell_writer("marks")
        mark = MarkPrice(buffer)
        mark.kind, mark.instrument_id, mark.mark_e8 = int(Kind.MARK_PRICE), instrument_id, E8
        marks.write(instrument_id)

    def run(self, now_ns: int) -> None:
        """The end of the last order, and an intent to place the next one."""
        intent = self._intent
        self._end.order_id = intent.order_id
        self._executions.offer()
        self._account.beat(now_ns)
        intent.order_id += 1
        intent.decide_ns = intent.origin_ns = now_ns
        self._intents.offer()
        self._twin.do_work(now_ns)
