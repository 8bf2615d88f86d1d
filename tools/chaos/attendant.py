"""The operator of a chaos run: arms the system again after it stopped trading as it should."""

from __future__ import annotations

from collections import Counter
from typing import Final

import ipc
from hft import counters
from hft.core.permit import permit_state
from hft.graph import RoleId
from hft.records import TradingState
from hft.roles.context import PERMIT_SPEC
from hft.units import NS_PER_MS, NS_PER_S
from tools.chaos.recovery import Recoveries
from tools.system.assembly import System
from tools.system.segments import Bells, attach_halt

LOOK_EVERY_NS: Final = 50 * NS_PER_MS
SETTLE_NS: Final = NS_PER_S // 2
"""The system is left in its defined state for so long before it is armed."""
EMPTY_NS_MAX: Final = 5 * NS_PER_S
"""Longer nobody waits for open orders to go after a halt."""
AGAIN_NS: Final = NS_PER_S
"""Commands may be lost with the life of the risk that they were meant for."""


class Attendant:
    """Watches the halt latch and the permit, counts incidents, and arms."""

    def __init__(self, system: System, recoveries: Recoveries) -> None:
        self._system, self._recoveries = system, recoveries
        self._latch = attach_halt(system.plan)
        self._permit_segment = ipc.Segment.attach(system.plan.name, PERMIT_SPEC)
        self._permit = ipc.Word(self._permit_segment)
        self._queue = ipc.CommandQueue.attach(system.run_dir)
        self._bells = Bells(system.plan)
        self._looked_ns = self._since_ns = self._armed_ns = 0
        self.is_on_duty = False
        self.incidents: Counter[str] = Counter()
        """Why trading had stopped, and how often."""

    def poll(self, now_ns: int) -> None:
        """Look, and arm when trading has stopped for a while."""
        if not self.is_on_duty or now_ns - self._looked_ns < LOOK_EVERY_NS:
            return
        self._looked_ns = now_ns
        why = self._stopped()
        if not why:
            self._since_ns = 0
            return
        if not self._since_ns:
            self._since_ns = now_ns
            self.incidents[why] += 1
        open_orders = self._recoveries.page("execution").gauge(counters.OPEN_ORDERS.id)
        waits_ns = EMPTY_NS_MAX if self._latch.is_set and open_orders else SETTLE_NS
        if now_ns - self._since_ns > waits_ns and now_ns - self._armed_ns > AGAIN_NS:
            self._armed_ns = now_ns
            self.arm()

    def _stopped(self) -> str:
        """Why new orders may not be sent; empty: they may, or account and venue must agree."""
        if self._latch.is_set:
            return f"halted: {self._latch.reason().partition(' (by ')[0]}"
        if permit_state(self._permit.load()) is TradingState.ACTIVE:
            return ""
        if self._recoveries.page("account").gauge(counters.DIFFERS.id):
            return ""
        return permit_state(self._permit.load()).name.lower()

    def arm(self) -> None:
        """What ``hft arm`` does, without waiting for it."""
        command = ipc.Command.make("arm", sender="chaos", reason="the incident is understood")
        try:
            self._queue.send(RoleId.RISK, command)
        except ipc.CommandQueueFullError:
            return  # the next look tries again
        self._bells.ring()

    def close(self) -> None:
        """Detach."""
        self._bells.close()
        del self._permit
        self._permit_segment.close()
