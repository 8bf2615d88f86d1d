"""The order path, run while nothing happens, so that the first order after a silence is not slow.

Code that did not run for a while has left the caches: an order that takes 12 us in a series takes
ten times as long after some seconds. So a twin of execution, in memory of its own, takes a
decision, journals and writes an order, sends it into a connection of the process with itself, and
books the venue's answer and a fill. It is the same code; no entry, row, id or budget of the real
one is touched, and no byte goes to the venue.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from hft.core.generated.views import Decision
from hft.core.permit import pack_permit
from hft.records import Action, Kind, Mode, OrderType, Side, Tif, TradingState
from hft.roles.context import Context
from hft.roles.order_events import OrderEvents
from hft.roles.order_gate import OrderGate
from hft.roles.scratch import ScratchContext
from hft.units import E8, INT64_MAX, NS_PER_MS
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.order_session import silent_session
from hft.venues.binance_usdm.order_text import OrderTextEncoder, client_order_id
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.signing import Credentials
from hft.venues.binance_usdm.silent_line import SilentLine
from hft.venues.binance_usdm.user_events import decode_user_event

if TYPE_CHECKING:
    from hft.roles.execution import Execution

ORDER_ID: Final = 1 << 56 | 1
"""Any that could be ours: the twin forgets it each time."""
STRATEGY_ID: Final = 1
WRITE_EVERY_NS: Final = 2 * NS_PER_MS
"""The kernel takes as long over a write as all that comes before it, and a tick that comes then
has to wait: one rehearsed sooner after one that was written vanishes in front of the socket."""
_TERMS: Final = {"side": "BUY", "type": "LIMIT", "tif": "GTX", "price": "1", "qty": "1"}
_ANSWER: Final = (
    '{"id":1,"status":200,"result":{"orderId":1,"symbol":"%(symbol)s","status":"NEW",'
    '"clientOrderId":"%(id)s","price":"%(price)s","avgPrice":"0.00","origQty":"%(qty)s",'
    '"executedQty":"0","cumQty":"0","cumQuote":"0","timeInForce":"%(tif)s","type":"%(type)s",'
    '"reduceOnly":false,"side":"%(side)s","positionSide":"BOTH","updateTime":1},"rateLimits":['
    '{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":300,"count":1}]}'
)
_FILL: Final = (
    '{"e":"ORDER_TRADE_UPDATE","T":1,"E":1,"o":{"s":"%(symbol)s","c":"%(id)s","S":"%(side)s",'
    '"o":"%(type)s","f":"%(tif)s","q":"%(qty)s","p":"%(price)s","ap":"1","sp":"0","x":"TRADE",'
    '"X":"FILLED","i":1,"l":"%(qty)s","z":"%(qty)s","L":"%(price)s","n":"0","N":"USDT","T":1,'
    '"t":%%d,"m":true,"R":false,"ps":"BOTH","rp":"0","er":"0"}}'
)


class _Calm:
    """A resolver that has nothing to resolve."""

    def __init__(self, events: OrderEvents) -> None:
        self.on_update = events.on_update
        self.gate = OrderGate({}, is_recovered=True)


class OrderRehearsal:
    """The twin, and what it is given to do."""

    def __init__(
        self,
        real: Execution,
        context: Context,
        rest: RestClient,
        encoders: dict[int, OrderTextEncoder],
        credentials: Credentials,
    ) -> None:
        scratch = ScratchContext(context)
        twin = type(real)(scratch)
        endpoints = Endpoints.from_config(context.config.venue)
        self.line = SilentLine(is_tls=endpoints.api.startswith("wss:"))
        self._session = silent_session(
            endpoints,
            credentials,
            self.line,
            twin._on_reply,
            twin._timestamp_ms,
        )
        self._answering: Any = self.line
        calm: Any = _Calm(twin._events)
        twin._rest, twin._session, twin._resolver = rest, self._session, calm
        twin._encoders = encoders
        twin._has_users = True
        self._twin = twin
        self._decisions, buffer = scratch.ring_writer("decisions")
        self._decision = Decision(buffer)
        scratch.permit().store(pack_permit(TradingState.ACTIVE, INT64_MAX))
        instrument_id = next(iter(encoders))
        self._fill_decision(instrument_id)
        symbol = encoders[instrument_id].symbol
        words = {**_TERMS, "symbol": symbol, "id": client_order_id(ORDER_ID)}
        self._answer = memoryview((_ANSWER % words).encode())
        self._fill = (_FILL % words).encode()
        self.count = 0
        """Orders rehearsed so far."""
        self._is_fill_next = False
        self._written_ns = 0

    async def open(self) -> None:
        """From now on orders go out into a connection; until then they vanish."""
        await self.line.open()
        self._session.refresh()

    def close(self) -> None:
        """Hang up."""
        self.line.close()
        self._session.refresh()

    def _fill_decision(self, instrument_id: int) -> None:
        decision = self._decision
        decision.kind, decision.mode = int(Kind.DECISION), int(Mode.LIVE)
        decision.instrument_id, decision.strategy_id = instrument_id, STRATEGY_ID
        decision.order_id, decision.price_e8, decision.qty_e8 = ORDER_ID, E8, E8
        decision.action, decision.side = int(Action.PLACE), int(Side.BUY)
        decision.order_type, decision.tif = int(OrderType.LIMIT), int(Tif.GTC)
        decision.is_post_only, decision.granted_state = 1, int(TradingState.ACTIVE)

    def run(self) -> None:
        """One order from its decision to its end."""
        now_ns = time.monotonic_ns()
        self.place(now_ns)
        self._acknowledge()
        self._fill_order(now_ns)

    def place(self, now_ns: int) -> None:
        """A new order up to the socket or into it, whatever has become of the one before."""
        twin, decision, session = self._twin, self._decision, self._session
        self._end_order()
        self.count += 1
        decision.judge_ns = decision.origin_ns = now_ns
        self._decisions.offer()
        twin._request_id = 0  # what was written down beforehand answers request 1
        if now_ns - self._written_ns >= WRITE_EVERY_NS:
            self._written_ns = now_ns
            twin._take_decisions(now_ns)
            self.line.drain()
        else:
            connection, session._transport = session._transport, None
            twin._take_decisions(now_ns)
            session._transport = connection

    def answer(self, now_ns: int) -> None:
        """The venue's answer to the order placed last, or its fill: in turns, to be short."""
        if self._twin._keeper.table.get(ORDER_ID) is None:
            return
        self._is_fill_next = not self._is_fill_next
        if self._is_fill_next:
            self._acknowledge()
        else:
            self._fill_order(now_ns)

    def _acknowledge(self) -> None:
        self._session.on_message(self._answering, self._answer)

    def _fill_order(self, now_ns: int) -> None:
        event = decode_user_event(self._fill % self.count)
        self._twin._on_user_event(event, now_ns)
        self._end_order()

    def _end_order(self) -> None:
        """As if there had never been an order."""
        twin = self._twin
        twin._keeper.table.remove(ORDER_ID)
        twin._keeper.table.forget(ORDER_ID)
        twin._events.forget(1)
        twin._events.awaited.pop(ORDER_ID, None)
