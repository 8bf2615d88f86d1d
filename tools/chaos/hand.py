"""Somebody who trades by hand during a chaos run, and dies as suddenly as every role.

A process of its own, as a person's command would be: it takes the lock of those orders, places and
cancels, lives with every refusal, and is killed at any moment.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from random import Random
from typing import Any, Final

from hft.errors import HftError
from hft.records import Side, Tif
from hft.roles.context import load_plan
from hft.units import E8, NS_PER_S, ceil_to, floor_to
from ipc import IpcError
from tools.system.manual import ManualDesk
from tools.system.manual_order import Ticket
from tools.system.waiting import pause

NOTIONAL_E8: Final = 60 * E8
AWAY_BPS: Final = (-4, 8)
"""How far from the mid an order by hand is placed; below zero it trades at once."""
CALM_S: Final = (0.05, 0.4)
CANCEL_SHARE: Final = 0.3
CANCEL_ALL_SHARE: Final = 0.05
LIFE_NS: Final = (NS_PER_S // 2, 6 * NS_PER_S)
"""How long a process trades before it is killed."""


def trade(run_dir: str, seed: int) -> None:
    """Trade by hand until killed."""
    random = Random(seed)
    plan = load_plan(Path(run_dir))
    symbols = [one.symbol for one in plan.instruments]
    with ManualDesk(Path(run_dir)) as desk:
        while True:
            with contextlib.suppress(HftError, IpcError):  # halted, no market: a person tries again
                _act(desk, random, random.choice(symbols))
            pause(random.uniform(*CALM_S), pid=os.getpid())


def _act(desk: ManualDesk, random: Random, symbol: str) -> None:
    draw = random.random()
    if draw < CANCEL_ALL_SHARE:
        desk.cancel_all(symbol)
        return
    resting = desk.open_orders(symbol)
    if draw < CANCEL_SHARE and resting:
        desk.cancel(random.choice(resting))
        return
    side = random.choice((Side.BUY, Side.SELL))
    mid_e8, rules = desk.mid_e8(symbol), desk.rules(symbol)
    away_e8 = int(mid_e8 * random.uniform(*AWAY_BPS)) // 10_000
    price_e8 = floor_to(mid_e8 - side * away_e8, rules.tick_e8)
    qty_e8 = ceil_to(NOTIONAL_E8 * E8 // price_e8, rules.step_e8)
    tif = Tif.IOC if away_e8 < 0 else Tif.GTC
    desk.place(Ticket(symbol, side, qty_e8, price_e8, is_post_only=tif is Tif.GTC, tif=tif))


class Hand:
    """Keeps somebody trading: starts a process, kills it, starts the next one."""

    def __init__(self, context: Any, run_dir: Path, seed: int) -> None:
        """``context``: where processes are started from."""
        self._context, self._run_dir = context, run_dir
        self._random = Random(seed)
        self._process: Any = None
        self._until_ns = 0
        self.is_on_duty = False
        self.deaths = 0

    def poll(self, now_ns: int) -> None:
        """Start whoever is missing; kill whose time has come."""
        if not self.is_on_duty:
            return
        if self._process is not None and (now_ns > self._until_ns or not self._process.is_alive()):
            self.stop()
        if self._process is None:
            arguments = (str(self._run_dir), self._random.getrandbits(32))
            self._process = self._context.Process(target=trade, args=arguments, daemon=True)
            self._process.start()
            self._until_ns = now_ns + self._random.randint(*LIFE_NS)

    def stop(self) -> None:
        """Kill the one who trades, wherever it stands."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._process = None
            self.deaths += 1
