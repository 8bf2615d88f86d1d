"""``hft risk set`` and ``hft risk resume``: what a person changes while the system runs.

A safer limit holds at once. A riskier one is asked back, and one step may be twice what was at
most. Every change has a version, which stands in each decision from then on.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import ipc
from hft import counters
from hft.config import Plan
from hft.core.policies import (
    CHANGES_MAX,
    POLICY_VERSION,
    Change,
    changes_between,
    inside,
    spec_of,
    with_values,
)
from hft.errors import CheckFailedError, UnreachableError, UsageError
from hft.graph import RoleId
from hft.roles import audit_file, limits_file
from hft.roles.context import load_plan
from tools.risk.table import paused_strategies
from tools.system.commands import who
from tools.system.segments import Bells, attach_page
from tools.system.waiting import wait_until

OBEY_S_MAX: Final = 2.0
LOCK_FILE: Final = "limits.lock"


def set_limits(
    run_dir: Path, assignments: tuple[str, ...], reason: str, confirm: Callable[[str], bool]
) -> str:
    """Change limits, ``NAME=VALUE`` each; returns what to tell.

    ``confirm`` is asked about what becomes riskier.

    Raises:
        UsageError: no such limit or value, or a step that is too great.
        CheckFailedError: riskier, and not confirmed.
        UnreachableError: the change is saved, but risk has not taken it.
    """
    plan = load_plan(run_dir)
    with _locked(run_dir):
        old = limits_file.in_force(plan)
        saved = limits_file.load(run_dir)
        if saved.changes >= CHANGES_MAX:
            raise UsageError(
                f'the limits of "{plan.name}" were changed {CHANGES_MAX} times since its start',
                remedy="Write them into the settings and start again.",
            )
        values = dict(map(_assignment, assignments))
        changes = changes_between(old, with_values(old, values))
        if not changes:
            return "nothing changes: these are the limits in force"
        for change in changes:
            change.check()
        riskier = [change for change in changes if change.is_riskier]
        if riskier and not confirm("\n".join(map(shown, riskier))):
            raise CheckFailedError(
                f"nothing was changed: {'; '.join(map(shown, riskier))}",
                remedy="Confirm what is riskier with y, or with --yes.",
            )
        version = POLICY_VERSION + saved.changes + 1
        audit_file.append(
            Path(plan.state_dir), system=plan.name, event="risk_set", by=who(), reason=reason,
            facts={"version": version, "changes": [list(change) for change in changes]},
        )  # fmt: skip
        limits_file.save(
            run_dir, limits_file.SavedLimits(saved.changes + 1, {**saved.values, **values})
        )
        _tell_risk(plan, version, reason)
    return "\n".join([*map(shown, changes), f'"{plan.name}" judges by version {version:#x} now'])


def shown(change: Change) -> str:
    """A change for a person."""
    spec = spec_of(change.name)
    kind = "riskier" if change.is_riskier else "safer"
    return f"{change.name}: {spec.shown(change.old)} -> {spec.shown(change.new)} ({kind})"


def resume(run_dir: Path, name: str, reason: str) -> str:
    """Let a strategy go on that a breaker paused; returns what to tell.

    Raises:
        UsageError: no such strategy, or it is not paused.
        UnreachableError: risk does not obey.
    """
    plan = load_plan(run_dir)
    names = [strategy.name for strategy in plan.config.strategies]
    if name not in names:
        raise UsageError(f"there is no strategy named {name!r}",
                         remedy=f"Strategies are {', '.join(names)}.")  # fmt: skip
    number = names.index(name) + 1
    page = attach_page(plan, "risk")
    try:
        if number not in paused_strategies(page):
            raise UsageError(f"risk has not paused {name}", remedy="See `hft risk`.")
        audit_file.append(Path(plan.state_dir), system=plan.name, event="risk_resume", by=who(),
                          reason=reason, facts={"strategy": name})  # fmt: skip
        command = ipc.Command.make("resume", sender=who(), reason=reason, strategy_id=number)
        _send(plan, command)
        obeyed = wait_until(
            lambda: number not in paused_strategies(page), pid=page.pid, timeout_s=OBEY_S_MAX
        )
    finally:
        page.close()
    if not obeyed:
        raise UnreachableError(f"risk did not let {name} go on within {OBEY_S_MAX:g} s.",
                               remedy="See `hft status`: is risk ready?")  # fmt: skip
    return f"{name} may trade again: {reason}"


def _assignment(text: str) -> tuple[str, int]:
    name, separator, value = text.partition("=")
    if not separator:
        raise UsageError(f"{text!r} sets no limit", remedy="Write LIMIT=VALUE, without spaces.")
    spec = spec_of(name)
    is_decimal = spec.field.endswith("_e8")
    return name, inside(name, value if is_decimal or not value.isdecimal() else int(value))


def _send(plan: Plan, command: ipc.Command) -> None:
    queue = ipc.CommandQueue.attach(Path(plan.run_dir))
    queue.send(RoleId.RISK, command)
    bells = Bells(plan)
    bells.ring()
    bells.close()


def _tell_risk(plan: Plan, version: int, reason: str) -> None:
    _send(plan, ipc.Command.make("limits", sender=who(), reason=reason))
    page = attach_page(plan, "risk")
    try:
        obeyed = wait_until(
            lambda: page.gauge(counters.LIMITS_VERSION.id) == version,
            pid=page.pid,
            timeout_s=OBEY_S_MAX,
        )
    finally:
        page.close()
    if not obeyed:
        raise UnreachableError(
            f'the change is saved, but risk of "{plan.name}" has not taken it in {OBEY_S_MAX:g} s.',
            remedy="It takes it when it starts again; see `hft status` and `hft audit`.",
        )


@contextlib.contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    """One person at a time changes limits."""
    file = os.open(run_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
