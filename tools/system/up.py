"""`hft up`: the supervisor in the foreground, or in the background with ``--detach``."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hft.config import Config
from hft.errors import EXIT_OK, CheckFailedError
from hft.units import NS_PER_S
from tools.metrics.helper import Helper
from tools.system.assembly import System, assembled
from tools.system.child import python_command, python_environment
from tools.system.places import make_state_dir, places_of, supervisor_pid
from tools.system.stopping import StopRequest
from tools.system.supervisor import GivenUpError

STEP_S: Final = 0.1
LOG_FILE: Final = "supervisor.log"
DETACH_LOOK_S: Final = 0.05

Say = Callable[[str], None]
"""Shows the person one line."""


def run(config: Config, say: Say) -> int:
    """Bring the system up, watch it until a signal, take it down; returns the exit code.

    Raises:
        HftError, IpcError, PinningError: it cannot start, or cannot be kept alive.
    """
    begun_ns = time.monotonic_ns()
    has_started = False
    with StopRequest().installed() as stop, Helper() as helper:
        try:
            with assembled(config, on_event=say) as system:
                has_started = True
                _watch(system, helper, begun_ns, stop, say)
                say("stopping: orders are cancelled, then everything is removed")
        finally:
            if has_started:
                say(f'"{config.system.name}" is down')
    return EXIT_OK


def _watch(system: System, helper: Helper, begun_ns: int, stop: StopRequest, say: Say) -> None:
    """Start and look after the processes until a signal.

    Raises:
        GivenUpError: one cannot be kept alive; trading is halted.
    """
    try:
        if system.start(stop):
            if system.plan.config.metrics.enabled:
                helper.start(system.plan, system.supervisor.add_helper)
            _say_ready(system, begun_ns, say)
        while not stop():
            system.supervisor.step(STEP_S, also=stop.fileno())
    except GivenUpError as error:
        system.halt(f"supervisor: {error.message}")
        raise


def _say_ready(system: System, begun_ns: int, say: Say) -> None:
    armed = system.arm_itself()
    for what, how in describe(system):
        say(f"  {what:<17} {how}")
    name = system.plan.name
    took_s = (time.monotonic_ns() - begun_ns) / NS_PER_S
    say(f'"{name}" is ready after {took_s:.2f} s, {"armed" if armed else "halted"}')
    if system.plan.config.system.mode == "paper":
        say("PAPER: every live strategy runs on paper; no order goes to the venue")
    if not armed:
        say(f'Next: hft status --name {name} · hft arm --name {name} --reason "…"')


def describe(system: System) -> list[tuple[str, str]]:
    """What was made and what runs: name and words."""
    footprint = system.footprint
    segments = f"{footprint.segment_count} segments, {footprint.byte_count / 2**20:.1f} MB"
    lines = [("shared memory", segments)]
    for child in system.supervisor.children:
        took_s = max(0, child.ready_ns - child.started_ns) / NS_PER_S
        roles = " ".join(child.plan.roles)
        lines.append(
            (f"{child.plan.name} (cpu {child.plan.cpu})", f"{roles}   ready in {took_s:.2f} s")
        )
    lines += [("note", notice) for notice in system.facts.notices]
    return lines


def detach(config: Config, arguments: list[str], say: Say) -> int:
    """Start ``hft up`` with these arguments in the background; returns once it is ready.

    Raises:
        CheckFailedError: it ended before; its words are shown.
    """
    places = places_of(config)
    make_state_dir(places.state_dir)
    log = places.state_dir / LOG_FILE
    with log.open("wb") as output:
        process = subprocess.Popen(
            python_command("hft.cli", "up", *arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=python_environment(),
            start_new_session=True,
        )
    while (exit_code := _poll(process)) is None:
        if supervisor_pid(places.run_dir) == process.pid and b" is ready after " in _tail(log):
            say(f'"{places.name}" runs in the background (pid {process.pid}); log: {log}')
            return EXIT_OK
    words = _tail(log).decode(errors="replace").strip()
    if words:
        said = [line.strip().removeprefix("hft: ") for line in words.splitlines()]
        error = CheckFailedError("\n".join((f'"{places.name}" did not start. It said:', *said)))
    else:
        error = CheckFailedError(
            f'"{places.name}" ended with exit code {exit_code}, and {log} is empty.',
            remedy="Is there room left for it? Without --detach it tells the terminal.",
        )
    error.exit_code = exit_code or error.exit_code
    raise error


def _poll(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(DETACH_LOOK_S)
    except subprocess.TimeoutExpired:
        return None


def _tail(log: Path) -> bytes:
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
        return file.read()
