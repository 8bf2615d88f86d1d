"""What a person may ask of a running system: halt, arm, reduce. Each waits until it is so."""

from __future__ import annotations

import contextlib
import getpass
import os
from pathlib import Path
from typing import Final

import ipc
from hft import counters
from hft.config import Plan
from hft.errors import CheckFailedError, UnreachableError
from hft.graph import RoleId
from hft.records import TradingState
from hft.roles import audit_file
from hft.roles.context import load_plan
from tools.system.segments import Bells, attach_halt, attach_page
from tools.system.waiting import wait_until

OBEY_S_MAX: Final = 2.0
"""A command is stale after this, so nobody waits longer."""
CANCEL_S_MAX: Final = 5.0
AFTER_HALT: Final = 'Next: hft arm --reason "…"'
"""What a person who halted reads last."""


def who() -> str:
    """The person at the keyboard, for the record."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def halt(run_dir: Path, reason: str, by: str | None = None) -> str:
    """Latch the halt and wait until execution has no open order; returns what to tell.

    Raises:
        UnreachableError: nothing runs from there.
        CheckFailedError: halted, but orders are still open.
    """
    plan = load_plan(run_dir)
    latch = attach_halt(plan, writable=True)
    is_first = latch.set(reason, by or who())
    bells = Bells(plan)
    bells.ring()
    _audit(plan, "halt", reason, by)
    page = attach_page(plan, "execution")
    try:
        is_empty = wait_until(
            lambda: page.gauge(counters.OPEN_ORDERS.id) == 0, pid=page.pid, timeout_s=CANCEL_S_MAX
        )
        text = "halted" if is_first else f"was halted already: {latch.reason()}"
        if not is_empty:
            raise CheckFailedError(
                f'"{plan.name}" {text}, but {page.gauge(counters.OPEN_ORDERS.id)} orders are open.',
                remedy="See `hft status`; `hft down` stops everything and cancels them by REST.",
            )
        return f'"{plan.name}" {text}; no order is open.'
    finally:
        bells.close()
        page.close()


def arm(run_dir: Path, reason: str, by: str | None = None) -> str:
    """Take back a halt and let the system trade; returns what to tell.

    Raises:
        UnreachableError: nothing runs from there, or risk does not obey.
        CheckFailedError: the audit trail does not take who armed.
    """
    return _ask_risk(run_dir, "arm", TradingState.ACTIVE, reason, by)


def reduce(run_dir: Path, reason: str, by: str | None = None) -> str:
    """From now on only orders that shrink a position; returns what to tell.

    Raises:
        UnreachableError: nothing runs from there, or risk does not obey.
        CheckFailedError: the system is halted.
    """
    return _ask_risk(run_dir, "reduce", TradingState.REDUCING, reason, by)


def let_close(run_dir: Path, reason: str, by: str | None = None) -> str:
    """In a halted system: from now on only orders by hand that shrink a position, until the halt
    is latched again or risk's time for it is over; returns what to tell.

    Raises:
        UnreachableError: nothing runs from there, or risk does not obey.
    """
    return _ask_risk(run_dir, "flatten", TradingState.REDUCING, reason, by)


def _ask_risk(
    run_dir: Path, command: str, wanted: TradingState, reason: str, by: str | None
) -> str:
    plan = load_plan(run_dir)
    latch = attach_halt(plan)
    if command == "reduce" and latch.is_set:
        raise CheckFailedError(
            f'"{plan.name}" is halted: {latch.reason()}.',
            remedy='A halted system sends nothing at all. `hft arm --reason "…"` comes first.',
        )
    if command == "arm":
        _audit_or_refuse(plan, command, reason, by)
    else:
        _audit(plan, command, reason, by)
    page = attach_page(plan, "risk")
    queue = ipc.CommandQueue.attach(run_dir)
    queue.send(RoleId.RISK, ipc.Command.make(command, sender=by or who(), reason=reason))
    bells = Bells(plan)
    bells.ring()
    try:
        obeyed = wait_until(
            lambda: trading_state(plan, page) is wanted, pid=page.pid, timeout_s=OBEY_S_MAX
        )
    finally:
        bells.close()
    if not obeyed:
        raise UnreachableError(
            f'risk of "{plan.name}" did not carry out {command} within {OBEY_S_MAX:g} s.',
            remedy="See `hft status`: is risk ready, and is the halt latched again?",
        )
    page.close()
    return f'"{plan.name}" is {wanted.name}: {reason}'


def _audit(plan: Plan, event: str, reason: str, by: str | None) -> None:
    """Note who asked for what. A disk that refuses keeps nobody from halting or reducing."""
    with contextlib.suppress(CheckFailedError):
        _audit_or_refuse(plan, event, reason, by)


def _audit_or_refuse(plan: Plan, event: str, reason: str, by: str | None) -> None:
    """Note who asked for what, before it is done.

    Raises:
        CheckFailedError: the trail takes nothing.
    """
    state_dir = Path(plan.state_dir)
    try:
        audit_file.append(state_dir, system=plan.name, event=event, by=by or who(), reason=reason)
    except OSError as error:
        raise CheckFailedError(
            f'"{plan.name}" was not {event}ed: who did it cannot be recorded in'
            f" {state_dir / audit_file.FILE_NAME} ({error.strerror}).",
            remedy=f"Mend the disk, or see who may write there (`hft audit`); then hft {event}.",
        ) from None


def trading_state(plan: Plan, risk_page: ipc.RolePage) -> TradingState:
    """What risk grants at this moment."""
    if attach_halt(plan).is_set:
        return TradingState.HALTED
    return TradingState(risk_page.gauge(counters.PERMIT_STATE.id))
