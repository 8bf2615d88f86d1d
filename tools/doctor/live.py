"""The facts of this machine that are no files: clock, rooms, programs, settings, interpreter."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final, Literal

import ipc
import pinning
from hft import config_file
from hft.config import Config, SystemConfig
from hft.errors import ConfigError, UsageError
from hft.graph import COLD_ROLES
from tools.doctor.application import Installation, Interpreter, mapped_systems, space_of
from tools.doctor.host import ClockState, Host
from tools.doctor.network import interface
from tools.system.places import places_of, run_root
from tools.system.planner import TOPOLOGIES

STA_UNSYNC: Final = 0x40
TIME_ERROR: Final = 5
PROGRAM_S_MAX: Final = 2.0
SHM: Final = "dev/shm"
DISTRIBUTION: Final = "/usr"
"""Prefix of the interpreter that came with the operating system."""
Topology = Literal["compact", "dedicated"]


class _Timex(ctypes.Structure):
    """The head of the kernel's ``struct timex``; the rest only needs its room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("error_us_max", ctypes.c_long),
        ("error_us", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def look(explicit: str | None, root: Path = Path("/")) -> tuple[Host, Installation]:
    """This machine, judged for the settings asked for, those found, or the built-in ones.

    Raises:
        UsageError: the settings file asked for is not there.
        PinningError: the host does not say which cpus it has.
    """
    path, config, error = find_settings(explicit), None, None
    try:
        config = config_file.load(path) if path else None
    except ConfigError as problems:
        error = problems
    effective = config or Config(symbols=())
    plan_problem = ("", "")
    topology = pinning.read_topology(root)
    try:
        plan = plan_of(effective.system, topology)
    except pinning.PlanError as refused:
        plan_problem = (refused.message, refused.remedy)
        # The rest is judged for the cpus that would be chosen.
        plan = plan_of(SystemConfig(topology=effective.system.topology), topology)
    host = Host(
        root=root,
        topology=topology,
        plan=plan,
        hot=hot_names(effective.system.topology),
        shm=space_of(root / SHM) if (root / SHM).is_dir() else None,
        clock=_clock(),
        tools=_tools(interface(root)),
        scheduling=effective.system.scheduling,
    )
    systems = tuple(name for name in ipc.list_systems() if _may_judge(name))
    installation = Installation(
        interpreter=_interpreter(),
        run_root=run_root(effective.system.run_dir),
        state_dir=(state_dir := places_of(effective).state_dir),
        state_space=space_of(state_dir),
        config=config,
        config_path=path,
        config_error=error,
        plan_problem=plan_problem,
        segment_systems=systems,
        mapped_systems=mapped_systems(root / "proc") if systems else frozenset(),
    )
    return host, installation


def plan_of(system: SystemConfig, topology: pinning.Topology) -> pinning.CpuPlan:
    """Cores for the processes of a topology, as `hft up` plans them.

    Raises:
        PlanError: the cpus that are configured cannot be had.
    """
    hot = hot_names(system.topology)
    cold = [name for name, _ in TOPOLOGIES[system.topology] if name not in hot]
    return pinning.make_plan(topology, hot, cold, system.cpus, system.wait, system.scheduling)


def hot_names(topology: Topology) -> tuple[str, ...]:
    """Processes of a topology that want a core for themselves, in the order of the tick."""
    return tuple(name for name, roles in TOPOLOGIES[topology] if not COLD_ROLES.issuperset(roles))


def find_settings(explicit: str | None) -> Path | None:
    """The settings file asked for, or the one that is found by itself; None: there is none.

    Raises:
        UsageError: the file asked for is not there.
    """
    try:
        return config_file.find(explicit)
    except UsageError:
        if explicit:
            raise
        return None


def _may_judge(system: str) -> bool:
    """Whether we may see who uses the system's memory: only its owner and root can."""
    try:
        owners = {os.stat(path).st_uid for path in Path("/", SHM).glob(f"hft.{system}.*")}
    except FileNotFoundError:
        return False  # it goes down at this moment
    return os.geteuid() == 0 or owners <= {os.geteuid()}


def _clock() -> ClockState | None:
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        return None
    is_synchronised = state != TIME_ERROR and not timex.status & STA_UNSYNC
    return ClockState(is_synchronised, timex.error_us_max)


def _tools(card: str) -> dict[str, str]:
    commands = {"ethtool": ["ethtool", "-c", card], "chronyc": ["chronyc", "-n", "tracking"]}
    return {
        name: _output(command)
        for name, command in commands.items()
        if shutil.which(name) and all(command)
    }


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PROGRAM_S_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _interpreter() -> Interpreter:
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    return Interpreter(
        version=(sys.version_info.major, sys.version_info.minor, sys.version_info.micro),
        is_debug=bool(sysconfig.get_config_var("Py_DEBUG")),
        # Distributions optimise by a way of their own, which their configuration does not name.
        is_optimised="--enable-optimizations" in arguments or sys.base_prefix == DISTRIBUTION,
    )
