"""This system as a contender: its own supervisor, everything on, and the echo plug-in."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple

from hft import config_file
from hft.config import (
    Config,
    MetricsConfig,
    Plan,
    RiskConfig,
    RiskLimits,
    StrategyConfig,
    SystemConfig,
    VenueConfig,
)
from hft.graph import COLD_ROLES
from hft.records import JournalKind
from hft.roles.journal_files import FOLDER, read_journal
from hft.venues.binance_usdm.order_text import client_order_id
from tools.bench.t2t.load import Meter, Usage
from tools.bench.t2t.places import API_KEY, QTY, SYMBOL, Place
from tools.latency.hops import Hop, Hops
from tools.metrics.helper import Helper
from tools.system.assembly import System, assembled
from tools.system.places import remove_run_dir, run_root

Wait = Literal["auto", "busy_spin", "spin_then_park", "park"]
COPIED_S_MAX: Final = 5.0
"""The recorder has every entry on disk in much less."""
STEP_S: Final = 0.1
ECHO: Final = StrategyConfig(
    name="echo",
    plugin="tools.bench.t2t.echo:Echo",
    symbols=(SYMBOL,),
    parameters={"qty": QTY},
)
LIMITS: Final = RiskLimits(
    messages_per_s_max=10_000, messages_per_10s_max=50_000, messages_per_minute_max=100_000
)
"""An echo is louder than the policies allow; every other limit is the policy's own."""


class Variant(NamedTuple):
    """How the system is set up."""

    topology: Literal["compact", "dedicated"]
    wait: Wait


class RunningSystem:
    """One that is armed and answers triggers."""

    def __init__(self, system: System, helpers: Iterable[int]) -> None:
        self._system = system
        self._hops = Hops(system.plan)
        cold = [
            child.process.pid
            for child in system.supervisor.children
            if child.process is not None and COLD_ROLES.issuperset(child.plan.roles)
        ]
        pids = [pid for pid in cold if pid is not None] + [os.getpid(), *helpers]
        self._pids = pids
        self.begin()

    @property
    def plan(self) -> Plan:
        """What it was planned to be."""
        return self._system.plan

    @property
    def hot_pids(self) -> list[int]:
        """Its processes that a tick or an order waits for."""
        return [
            child.process.pid
            for child in self._system.supervisor.children
            if child.process is not None
            and child.process.pid is not None
            and not COLD_ROLES.issuperset(child.plan.roles)
        ]

    def step(self, seconds: float = STEP_S) -> None:
        """Let the supervisor do its work."""
        self._system.supervisor.step(seconds)

    def begin(self) -> None:
        """What is measured begins now."""
        self._before = self._hops.read()
        self._meter = Meter(self._pids)

    def hops(self) -> tuple[Hop, ...]:
        """Where the time went since ``begin``; hops that counted nothing are left out."""
        changes = (
            now.since(then) for now, then in zip(self._hops.read(), self._before, strict=True)
        )
        return tuple(hop for hop in changes if hop.total)

    def usage(self) -> Usage:
        """Of the cold processes and the supervisor, since ``begin``."""
        return self._meter.read()

    def unjournalled(self, client_ids: Iterable[str]) -> list[str]:
        """Orders that are not in the journal on disk with the decision that let them pass."""
        wanted = set(client_ids)
        directory = Path(self._system.plan.state_dir) / FOLDER
        deadline = time.monotonic() + COPIED_S_MAX
        while wanted and time.monotonic() < deadline:
            self.step()
            wanted -= _placed(directory)
        return sorted(wanted)

    def close(self) -> None:
        """Detach."""
        self._hops.close()


def _placed(directory: Path) -> set[str]:
    found: set[str] = set()
    for piece in read_journal(directory).pieces:
        entries = piece.entries
        is_place = (entries["journal_kind"] == JournalKind.PLACE) & (entries["cause_seq"] > 0)
        found.update(client_order_id(int(number)) for number in entries["order_id"][is_place])
    return found


@contextmanager
def running_system(
    variant: Variant,
    place: Place,
    cpu: int,
    stop: Callable[[], bool],
    strategy: StrategyConfig = ECHO,
) -> Iterator[RunningSystem]:
    """A system that trades at this venue, with one strategy, while the block runs.

    Raises:
        HftError: it cannot start.
        KeyboardInterrupt: asked to stop before it was ready.
    """
    name = f"t2t-{os.getpid()}"
    run_dir = run_root() / name
    home = run_dir / "home"
    home.mkdir(mode=0o750, parents=True)
    try:
        config = settings(name, variant, home, place, cpu, strategy)
        with Helper() as helper, assembled(config, on_event=_ignore) as system:
            if not system.start(stop):
                raise KeyboardInterrupt
            helpers: list[int] = []

            def add_helper(name: str, pid: int) -> None:
                helpers.append(pid)
                system.supervisor.add_helper(name, pid)

            helper.start(system.plan, add_helper, port=0, is_quiet=True)
            helper.wait_until_served(system.plan, system.supervisor.step)
            system.arm_itself()
            running = RunningSystem(system, helpers)
            try:
                yield running
            finally:
                running.close()
    finally:
        remove_run_dir(run_dir)


def settings(
    name: str, variant: Variant, home: Path, place: Place, cpu: int, strategy: StrategyConfig = ECHO
) -> Config:
    """All that differs from a system's usual settings is what the benchmark needs."""
    key_file, private_file = home / "key", home / "private.pem"
    for path, text in ((key_file, f"{API_KEY}\n"), (private_file, place.private_pem)):
        path.touch(mode=0o600)
        path.write_text(text)
    config = Config(
        symbols=strategy.symbols,
        system=SystemConfig(
            name=name,
            topology=variant.topology,
            mode="demo",
            state_dir=str(home / "state"),
            cpus=(cpu,) if variant.topology == "compact" else (),
            wait=variant.wait,
        ),
        venue=VenueConfig(
            rest_url=place.rest_url,
            streams_url=place.streams_url,
            api_url=place.api_url,
            key_type="ed25519",
            key_file=str(key_file),
            private_key_file=str(private_file),
        ),
        risk=RiskConfig(policy="demo", limits=LIMITS),
        metrics=MetricsConfig(port=0),
        strategies=(strategy,),
    )
    return config_file.parse(config_file.to_toml(config), source="bench t2t", base=home)


def _ignore(_text: str) -> None:
    """What the supervisor tells is of no interest while nothing goes wrong."""
