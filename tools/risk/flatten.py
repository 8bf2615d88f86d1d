"""``hft halt --flatten``: stop, cancel everything, close every position, stay halted.

Nothing may be sent under the halt but cancels, so it is lifted while the positions are closed: for
orders by hand that shrink one, and for nothing else. Then it is latched again, whatever happened;
and should this program die, risk latches it when the time is over.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from hft.errors import CheckFailedError, UnreachableError
from tools.system import commands
from tools.system.manual import ManualDesk
from tools.system.manual_order import Outcome, signed
from tools.system.waiting import pause

CLOSE_S_MAX: Final = 120.0
"""Shorter than risk's own time for it."""
AGAIN_S: Final = 0.5


def halt_and_flatten(run_dir: Path, reason: str, by: str | None = None) -> str:
    """Halt, cancel every order, close every position with reduce-only orders; what to tell.

    Raises:
        UnreachableError: nothing runs from there, or risk does not obey.
        CheckFailedError: halted, but orders or positions are still open.
    """
    told = commands.halt(run_dir, reason, by)
    with ManualDesk(run_dir, is_closing=True) as desk:
        desk.await_account()  # of the fills that came before the cancels
        begun = desk.positions()
        if not begun:
            return f"{told} No position was open."
        commands.let_close(run_dir, reason, by)
        problem = ""
        try:
            problem = _close_all(desk)
        finally:
            told = commands.halt(run_dir, reason, by)
        desk.await_account()
        left = desk.positions()
    if left:
        raise CheckFailedError(
            f"halted, but {_listed(left)} is still open: {problem}",
            remedy="Ask again, or close it at the venue.",
        )
    return f"{told} Closed: {_listed(begun)}."


def _close_all(desk: ManualDesk) -> str:
    """Try until nothing is open or the time is over; what was in the way last."""
    deadline, problem = time.monotonic() + CLOSE_S_MAX, ""
    while (held := desk.positions()) and time.monotonic() < deadline:
        for symbol in held:
            outcome = _close(desk, symbol)
            if not outcome.is_done:
                problem = outcome.text
                pause(AGAIN_S, pid=os.getpid())
    return problem


def _close(desk: ManualDesk, symbol: str) -> Outcome:
    """One symbol; a market that is silent for a moment keeps no other from being closed."""
    try:
        return desk.flatten(symbol)
    except UnreachableError as error:
        return Outcome(error.message, is_done=False)


def _listed(positions: dict[str, int]) -> str:
    return ", ".join(f"{signed(held_e8)} {symbol}" for symbol, held_e8 in positions.items())
