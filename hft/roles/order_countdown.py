"""The dead man's switch at the venue: it cancels what nobody here watches any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from hft import counters
from hft.errors import HftError
from hft.roles.order_desk import OrderDesk
from hft.units import NS_PER_MS, NS_PER_S
from ipc import RolePage

COUNTDOWN_ROLES: Final = ("feed", "strategy", "risk", "account")
BEAT_NS_MAX: Final = NS_PER_S
"""A role that has not beaten for so long watches over nothing."""
LOOK_S: Final = 0.05
"""A symbol's first order is found within this time."""
RETRY_NS: Final = 500 * NS_PER_MS


class OrderCountdown:
    """Arms the countdown of every symbol in which an order of ours is open, and renews it.

    Renewed at a third of its time, and only while every role that an order depends on beats; left
    to run out otherwise. Switched off when no order is open at the time of a renewal.
    """

    def __init__(
        self, desk: OrderDesk, page: RolePage, pages: Sequence[RolePage], countdown_ms: int
    ) -> None:
        self._desk = desk
        self._page = page
        """Execution's own: risk reads there how many renewals were missed."""
        self._pages = pages
        self._countdown_ms = countdown_ms
        self._period_ns = max(1, countdown_ms * NS_PER_MS // 3)
        self._due_ns: dict[str, int] = {}
        """When an armed symbol has to be looked at again."""
        self._held_ns: dict[str, int] = {}
        """When the venue last confirmed a symbol, or was first asked."""
        self._failing: dict[str, int] = {}
        """By symbol whose last request failed: how many renewals it should have had since."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            now_ns = time.monotonic_ns()
            if all(now_ns - page.beat_ns < BEAT_NS_MAX for page in self._pages):
                await self._renew(now_ns)
            await asyncio.sleep(LOOK_S)

    async def _renew(self, now_ns: int) -> None:
        symbols = self._desk.symbols
        wanted = {
            symbols[order.instrument_id]
            for order in self._desk.keeper.table
            if order.is_ours and not order.is_terminal
        }
        due = [symbol for symbol in wanted if now_ns >= self._due_ns.get(symbol, 0)]
        over = [s for s, due_ns in self._due_ns.items() if s not in wanted and now_ns >= due_ns]
        if due or over:
            await asyncio.gather(
                *(self._set(symbol, self._countdown_ms) for symbol in due),
                *(self._set(symbol, 0) for symbol in over),
            )

    async def _set(self, symbol: str, milliseconds: int) -> None:
        sent_ns = time.monotonic_ns()
        try:
            await self._desk.rest.countdown_cancel_all(symbol, milliseconds)
        except HftError:
            now_ns = time.monotonic_ns()
            self._due_ns[symbol] = sent_ns + RETRY_NS
            missed = (now_ns - self._held_ns.setdefault(symbol, sent_ns)) // self._period_ns
            self._note(symbol, max(1, missed))
            return
        self._note(symbol, 0)
        if milliseconds:
            self._held_ns[symbol] = sent_ns
            self._due_ns[symbol] = sent_ns + self._period_ns
        else:
            self._held_ns.pop(symbol, None)
            self._due_ns.pop(symbol, None)

    def _note(self, symbol: str, missed: int) -> None:
        """Tell risk of the worst symbol; one answer says that the venue is reached again."""
        if missed:
            self._failing[symbol] = missed
        else:
            self._failing.pop(symbol, None)
        worst = max(self._failing.values(), default=0)
        self._page.set_gauge(counters.COUNTDOWN_MISSED.id, worst)
