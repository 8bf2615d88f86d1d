"""From settings and the venue's facts to the plan that the roles start from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

import pinning
from hft.config import (
    PLAN_FILE,
    Config,
    InstrumentPlan,
    Plan,
    ProcessPlan,
    RateLimits,
)
from hft.errors import UsageError
from hft.graph import BELLS_MAX, COLD_ROLES, INSTRUMENTS_MAX, ROLES
from tools.system.places import Places, make_state_dir, write_whole

INSTRUMENTS_FILE: Final = "instruments.json"
TOPOLOGIES: Final[dict[str, tuple[tuple[str, tuple[str, ...]], ...]]] = {
    "compact": (
        ("hot", ("feed", "strategy", "risk", "execution")),
        ("cold", ("account", "recorder")),
    ),
    "dedicated": tuple((role, (role,)) for role in ROLES),
}
"""Processes of each topology and the roles they host, in the order of their start."""


def make_plan(
    config: Config,
    places: Places,
    *,
    limits: RateLimits,
    equity_e8: int,
    now_wall_ns: int,
    host: pinning.Topology | None = None,
    is_supervised: bool = True,
    owners: Mapping[str, int] | None = None,
) -> Plan:
    """Everything a role needs to start; ``host`` None: the host this runs on.

    Numbers new instruments, and remembers the numbers in the state directory.

    Raises:
        UsageError: the instrument table has no row left.
        PinningError: the cpus asked for cannot be had.
    """
    config = in_system_mode(config)
    return Plan(
        config=config,
        run_dir=str(places.run_dir),
        state_dir=str(places.state_dir),
        processes=plan_processes(config, host or pinning.read_topology()),
        instruments=number_instruments(places.state_dir, config.symbols),
        limits=limits,
        equity_e8=equity_e8,
        started_wall_ns=now_wall_ns,
        is_supervised=is_supervised,
        owners=dict(owners or {}),
    )


def plan_processes(config: Config, host: pinning.Topology) -> tuple[ProcessPlan, ...]:
    """Which roles share a process, on which core, and how each process waits."""
    topology = _with_paper(config)
    assert len(topology) <= BELLS_MAX
    cold = [name for name, roles in topology if COLD_ROLES.issuperset(roles)]
    hot = [name for name, _ in topology if name not in cold]
    system = config.system
    cpus = pinning.make_plan(host, hot, cold, system.cpus, system.wait, system.scheduling)
    return tuple(
        ProcessPlan(
            name=name,
            roles=roles,
            bell=bell,
            cpu=cpus.cpu(name),
            wait=cpus.wait(name),
            realtime_priority=cpus.of(name).realtime_priority,
        )
        for bell, (name, roles) in enumerate(topology)
    )


def in_system_mode(config: Config) -> Config:
    """The settings as the system's mode has them: in paper mode no strategy is live."""
    if config.system.mode != "paper":
        return config
    strategies = tuple(
        msgspec.structs.replace(one, mode="paper") if one.mode == "live" else one
        for one in config.strategies
    )
    return msgspec.structs.replace(config, strategies=strategies)


def needs_paper(config: Config) -> bool:
    """Whether somebody has to fill paper orders."""
    has_paper = any(strategy.mode == "paper" for strategy in config.strategies)
    return has_paper or config.paper.start == "always" or config.system.mode == "paper"


def _with_paper(config: Config) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The topology's processes; paper joins the cold ones, or is a process of its own."""
    topology = TOPOLOGIES[config.system.topology]
    if not needs_paper(config):
        return topology
    if config.system.topology == "dedicated":
        return (*topology, ("paper", ("paper",)))
    return tuple((name, (*roles, "paper") if name == "cold" else roles) for name, roles in topology)


def number_instruments(state_dir: Path, symbols: tuple[str, ...]) -> tuple[InstrumentPlan, ...]:
    """The persistent number of each symbol: given once, from 1 up, and never to another symbol.

    Raises:
        UsageError: there is no number left, or the file with the numbers cannot be read.
    """
    path = state_dir / INSTRUMENTS_FILE
    numbers = load_numbers(path)
    fresh = [symbol for symbol in symbols if symbol not in numbers]
    for symbol in fresh:
        numbers[symbol] = max(numbers.values(), default=0) + 1
    if max(numbers.values(), default=0) >= INSTRUMENTS_MAX:
        raise UsageError(
            f"all {INSTRUMENTS_MAX - 1} instrument numbers of this system are given away.",
            remedy="Numbers are never used again: start a system with another name.",
        )
    if fresh:
        make_state_dir(state_dir)
        write_whole(path, json.dumps(numbers, indent=1).encode())
    return tuple(InstrumentPlan(instrument_id=numbers[one], symbol=one) for one in symbols)


def load_numbers(path: Path) -> dict[str, int]:
    """The numbers given away so far, by symbol.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}.",
            remedy="Set system.state_dir to a directory that you may read and write.",
        ) from None
    except msgspec.DecodeError as error:
        raise UsageError(
            f"{path} is damaged: {error}.",
            remedy="Bring it back from a backup: it says which number each instrument has.",
        ) from None


def write_plan(plan: Plan) -> None:
    """Put the plan where the roles look for it."""
    write_whole(Path(plan.run_dir) / PLAN_FILE, msgspec.json.format(msgspec.json.encode(plan)))
