"""Deliberately broken variants, made in a child process. Each must be caught by an invariant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Final

import msgspec

from hft.config import Plan
from hft.core import exposure, order_table, orders
from hft.core.order_ids import OrderIdMaker
from hft.core.permit import pack_permit
from hft.core.trade_memory import TradeMemory
from hft.records import Action, TradingState
from hft.roles import process, strategy
from hft.roles.context import Context
from hft.roles.execution import Execution
from hft.roles.order_keeper import OrderKeeper
from hft.roles.risk import Risk
from hft.roles.scratch import ScratchContext
from hft.units import INT64_MAX
from hft.venues.binance_usdm.order_session import OrderSession
from tools.chaos.taps import cell_offset, replace

FIRST_EPOCH: Final = 1
FOR_EVER_MS: Final = 86_400_000


def install(name: str) -> None:
    """Break this process."""
    MUTANTS[name]()


class _Forgetful(TradeMemory):
    """Every message about a fill is news."""

    def add(self, instrument_id: int, trade_id: int, side: int) -> bool:
        """Note a trade, and say that it was not known."""
        super().add(instrument_id, trade_id, side)
        return True


def _no_dedupe() -> None:
    """No fill is known: the class is compiled, so whoever makes one is given another."""
    for user in (exposure, order_table, orders):
        replace(user, "TradeMemory", _Forgetful)


def _journal_after_send() -> None:
    """A new order is written down when its bytes have left."""
    begin, send = OrderKeeper.begin, OrderSession.send
    waiting: list[Callable[[], None]] = []

    def late_begin(
        keeper: OrderKeeper, order: Any, action: Action, *terms: Any, **named: Any
    ) -> None:
        if action is Action.PLACE:
            waiting.append(lambda: begin(keeper, order, action, *terms, **named))
        else:
            begin(keeper, order, action, *terms, **named)

    def send_first(session: OrderSession, text: bytes) -> None:
        send(session, text)
        while waiting:
            waiting.pop()()

    replace(OrderKeeper, "begin", late_begin)
    replace(OrderSession, "send", send_first)


def _permit_ignored() -> None:
    """Whatever the word says, it grants."""
    fence = Execution._fence

    def blind(role: Execution, *arguments: Any) -> Any:
        scratch = ScratchContext(role._context).permit()
        scratch.store(pack_permit(TradingState.ACTIVE, INT64_MAX))
        real, role._permit = role._permit, scratch
        try:
            return fence(role, *arguments)
        finally:
            role._permit = real

    replace(Execution, "_fence", blind)


def _turns_clock() -> None:
    """The last look happens with the time at which the turn began."""
    fence = Execution._fence
    turn = SimpleNamespace(now_ns=0)
    work = Execution.do_work

    def do_work(role: Execution, now_ns: int) -> int:
        turn.now_ns = now_ns
        return work(role, now_ns)

    def stale_fence(role: Execution, decision: Any) -> Any:
        fence(role, decision)  # where execution is struck; what it finds does not count
        return role._objection(decision, turn.now_ns), turn.now_ns

    replace(Execution, "do_work", do_work)
    replace(Execution, "_fence", stale_fence)


def _id_reused() -> None:
    """Every life of the strategy counts from the same epoch."""

    def forgetful(source: int, _epoch: int) -> OrderIdMaker:
        return OrderIdMaker(source, FIRST_EPOCH)

    replace(strategy, "OrderIdMaker", forgetful)


def _cursor_first() -> None:
    """Risk is done with an intent before anybody can see its decision."""
    decide = Risk._fill_decision

    def commit_first(role: Risk, *arguments: Any) -> None:
        role._by_strategies.intents.commit()
        decide(role, *arguments)

    replace(Risk, "_fill_decision", commit_first)


class _OneSlot:
    """Writes the copy that readers look at, one half after the other."""

    def __init__(self, tapped: Any, memory: Callable[[], Any], buffer: bytearray) -> None:
        self._tapped, self._memory, self._buffer = tapped, memory, buffer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tapped, name)

    def write(self, index: int) -> None:
        """Make the buffer the value of a cell, in place."""
        version = self._tapped.version(index)
        if not version:
            self._tapped.write(index)
            return
        size, memory = len(self._buffer), self._memory()
        begin, half = cell_offset(size, index, version), size // 2
        memory[begin : begin + half] = self._buffer[:half]
        self._tapped.write(index, is_written=True)
        memory[begin + half : begin + size] = self._buffer[half:]


def _one_slot() -> None:
    """Position cells have one copy only."""
    cell_writer = Context.cell_writer

    def single(context: Context, name: str) -> Any:
        writer, buffer = cell_writer(context, name)
        if name != "positions":
            return writer, buffer
        memory = context._segments[name].buffer
        return _OneSlot(writer, lambda: memory, buffer), buffer

    replace(Context, "cell_writer", single)


def _quiet_source() -> None:
    """No age of market data is ever too old."""
    load: Callable[..., Plan] = vars(process)["load_plan"]

    def patient(*arguments: Any) -> Plan:
        plan = load(*arguments)
        config = plan.config
        changed = msgspec.structs.replace
        limits = changed(config.risk.limits, feed_age_ms_max=FOR_EVER_MS)
        strategies = tuple(
            changed(one, parameters={**one.parameters, "feed_age_ms_max": FOR_EVER_MS})
            for one in config.strategies
        )
        return changed(
            plan,
            config=changed(
                config,
                feed=changed(config.feed, stale_ms=FOR_EVER_MS),
                risk=changed(config.risk, limits=limits),
                strategies=strategies,
            ),
        )

    replace(process, "load_plan", patient)


MUTANTS: Final[Mapping[str, Callable[[], None]]] = {
    "no_dedupe": _no_dedupe,
    "journal_after_send": _journal_after_send,
    "permit_ignored": _permit_ignored,
    "turns_clock": _turns_clock,
    "id_reused": _id_reused,
    "cursor_first": _cursor_first,
    "one_slot": _one_slot,
    "quiet_source": _quiet_source,
}
"""By the names of the trials."""
