"""Ask the strategy engine of a running system, and tell it what to do."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

import ipc
from hft.errors import CheckFailedError, UnreachableError
from hft.graph import RoleId
from hft.roles.context import load_plan
from hft.roles.strategy_status import (
    STATUS_FILE,
    Answer,
    DeskStatus,
    EngineStatus,
    Refusal,
    strategies_dir,
)
from hft.units import NS_PER_S
from tools.system.commands import who
from tools.system.segments import Bells, attach_page
from tools.system.waiting import wait_until

ANSWER_S_MAX: Final = 3.0
"""A command is stale after two seconds, and loading takes a part of one."""


def ask(run_dir: Path, command: str, **args: str) -> str:
    """Send a command and wait for its answer; returns what to tell.

    Raises:
        UnreachableError: nothing runs from there, or the engine does not answer.
        CheckFailedError: it was not carried out; the strategy is as it was.
    """
    answer = _answer(run_dir, command, **args)[0]
    if answer.problem:
        raise CheckFailedError(answer.problem, remedy=answer.remedy)
    return answer.text


def status(run_dir: Path) -> EngineStatus:
    """How every strategy is now.

    Raises:
        UnreachableError: nothing runs from there, or the engine does not answer.
    """
    return _answer(run_dir, "report")[1]


def render(found: EngineStatus) -> Iterator[str]:
    """The status for a person to read."""
    for strategy in found.strategies:
        yield f"{strategy.name}  {strategy.plugin}  priority {strategy.priority}"
        for name, value in strategy.parameters.items():
            yield f"    {name} = {value}"
        for desk in strategy.desks:
            yield "  " + _desk_line(desk)
            if desk.reason:
                yield f"      {desk.reason}"
            if desk.last_refusal is not None:
                yield f"      {_refusal_line(desk.last_refusal, desk.refusals)}"
        if strategy.loaded:
            yield f"  {strategy.loaded}"
        if strategy.error_file:
            yield f"  last error: {strategy.error_file}"
        yield ""
    if any(_is_shared(found, desk.symbol) for one in found.strategies for desk in one.desks):
        yield found.rule


def last_error(found: EngineStatus, name: str) -> str:
    """The newest traceback and event of a strategy, as kept for its author.

    Raises:
        CheckFailedError: there is none.
    """
    for strategy in found.strategies:
        if strategy.name == name and strategy.error_file:
            return Path(strategy.error_file).read_text(encoding="utf-8", errors="replace")
    raise CheckFailedError(f"no error of {name} was kept", remedy="See `hft strategy status`.")


def _answer(run_dir: Path, command: str, **args: Any) -> tuple[Answer, EngineStatus]:
    plan = load_plan(run_dir)
    path = strategies_dir(Path(plan.state_dir)) / STATUS_FILE
    nonce = uuid.uuid4().hex
    found: list[tuple[Answer, EngineStatus]] = []

    def is_answered() -> bool:
        try:
            status = msgspec.json.decode(path.read_bytes(), type=EngineStatus)
        except (FileNotFoundError, msgspec.DecodeError):
            return False
        found.extend((one, status) for one in status.answers if one.nonce == nonce)
        return bool(found)

    page = attach_page(plan, "strategy")
    queue = ipc.CommandQueue.attach(run_dir)
    queue.send(RoleId.STRATEGY, ipc.Command.make(command, sender=who(), nonce=nonce, **args))
    bells = Bells(plan)
    bells.ring()
    try:
        wait_until(is_answered, pid=page.pid, timeout_s=ANSWER_S_MAX)
    finally:
        bells.close()
        page.close()
    if not found:
        raise UnreachableError(
            f'the strategy engine of "{plan.name}" did not answer within {ANSWER_S_MAX:g} s.',
            remedy=f"See `hft status`: does strategy run, and can it write {path.parent}?",
        )
    return found[0]


def _desk_line(desk: DeskStatus) -> str:
    wanted = ", ".join(f"{side} {qty} @ {price}" for side, (price, qty) in desk.wanted.items())
    resting = ", ".join(f"{side} {qty} @ {price}" for side, (price, qty) in desk.resting.items())
    parts = [
        f"{desk.symbol:<12}{desk.mode:<8}{desk.state:<14}",
        f"position {desk.position}",
        f"exposure {desk.exposure}",
        f"wants {wanted or 'nothing'}",
        f"rests {resting or 'nothing'}",
    ]
    if desk.explicit_orders:
        parts.append(f"{desk.explicit_orders} explicit orders")
    if desk.held:
        parts.append(f"{desk.held} held back")
    if desk.errors:
        parts.append(f"{desk.errors} errors")
    return "  ".join(parts)


def _refusal_line(last: Refusal, count: int) -> str:
    when = time.strftime("%H:%M:%S UTC", time.gmtime(last.wall_ns // NS_PER_S))
    order = f"{last.action} {last.side} {last.qty} @ {last.price}"
    return f"{count} refused, last at {when}, {order}: code {last.code}, {last.text}"


def _is_shared(found: EngineStatus, symbol: str) -> bool:
    return sum(desk.symbol == symbol for one in found.strategies for desk in one.desks) > 1
