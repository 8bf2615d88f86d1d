"""A tick on its way to an intent, run while nothing happens.

A twin of the engine, in memory of its own, sees a new top; a plug-in of ours answers it with a
quote and with an explicit order, and both are filled before the next one. The real plug-ins are
not called: they keep state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from hft.core.generated.views import Execution as ExecutionRecord
from hft.core.generated.views import TopOfBook
from hft.core.instruments import InstrumentRules
from hft.core.order_id import make_order_id
from hft.core.order_ids import OrderIdMaker
from hft.records import ExecKind, FeedState, Kind, Mode, OrderState, Side, Tif
from hft.roles.context import Context
from hft.roles.scratch import ScratchContext
from hft.strategy.base import QuoteRules, QuoteTargets
from hft.units import E8, NS_PER_S

if TYPE_CHECKING:
    from hft.roles.strategy import StrategyEngine

STRATEGY_ID: Final = 1
EPOCH: Final = 1
ORDER_IDS: Final = (make_order_id(STRATEGY_ID, EPOCH, 1), make_order_id(STRATEGY_ID, EPOCH, 2))
"""Of the two orders, each time."""


class _Asker:
    """The plug-in that is rehearsed with: both ways to want an order."""

    quote_rules = QuoteRules(rest_ns_min=0)

    def on_top_of_book(
        self, now_ns: int, top: TopOfBook, position_e8: int, targets: QuoteTargets
    ) -> None:
        """One explicit order, and one quote."""
        targets.orders.place(Side.BUY, top.bid_e8, E8, tif=Tif.IOC)
        targets.set(Side.BUY, top.bid_e8, E8)

    def on_timer(self, now_ns: int, targets: QuoteTargets) -> None:
        """Nothing is due."""


class _NoCommands:
    """Stands in for what commands and incidents need: a twin has none."""

    def poll(self, now_ns: int) -> int:
        """Nobody asks anything."""
        return 0


class StrategyRehearsal:
    """The twin, and what it is shown."""

    def __init__(self, real: StrategyEngine, context: Context) -> None:
        scratch = ScratchContext(context)
        twin = type(real)(scratch)
        nobody: Any = _NoCommands()
        twin._control = twin.incidents = nobody
        twin._is_settled = True
        config = msgspec.structs.replace(
            context.config.strategies[0], intents_per_s_max=NS_PER_S, priority=0
        )
        instrument = InstrumentRules(
            instrument_id=context.plan.instruments[0].instrument_id,
            symbol=context.plan.instruments[0].symbol,
            tick_e8=1,
            step_e8=1,
        )
        order_ids = OrderIdMaker(STRATEGY_ID, EPOCH)
        self.desk = twin.seat(config, _Asker(), instrument, order_ids, Mode.LIVE)
        self._twin = twin
        self._feed = scratch.page_of("feed")
        self._market, buffer = scratch.ring_writer("market")
        self._top = top = TopOfBook(buffer)
        top.kind, top.instrument_id = int(Kind.TOP_OF_BOOK), instrument.instrument_id
        top.bid_e8, top.ask_e8, top.feed_state = E8, 2 * E8, int(FeedState.LIVE)
        self._executions, buffer = scratch.ring_writer("executions")
        self._fill = fill = ExecutionRecord(buffer)
        fill.kind, fill.instrument_id = int(Kind.EXECUTION), instrument.instrument_id
        fill.exec_kind, fill.order_state = int(ExecKind.FILL), int(OrderState.FILLED)
        fill.side = int(Side.BUY)  # of quantity 0: no position grows

    def run(self, now_ns: int) -> None:
        """The fills of the last two orders, and a top that two more follow from."""
        twin = self._twin
        for order_id in ORDER_IDS:
            self._fill.order_id = order_id
            self._executions.offer()
        self._feed.beat(now_ns)
        twin._timer_ns = now_ns
        self.desk.order_ids.next_id = ORDER_IDS[0]
        self._top.as_of_ns = self._top.origin_ns = now_ns
        self._market.offer()
        twin.do_work(now_ns)
