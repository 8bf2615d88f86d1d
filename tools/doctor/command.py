"""What `hft doctor` does and prints."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import msgspec

import pinning
from hft import config_file
from hft.config import Config, SystemConfig
from hft.errors import EXIT_CHECK_FAILED, EXIT_OK
from tools.doctor import application, cpu, kernel, live, memory, network, noise, report, units
from tools.doctor.finding import SYMBOLS, Check, Finding, Group, grouped
from tools.doctor.host import Host

HOST_CHECKS: Final[tuple[tuple[Group, Sequence[Check]], ...]] = (
    ("CPU", cpu.CHECKS),
    ("memory", memory.CHECKS),
    ("kernel", kernel.CHECKS),
    ("network", network.NETWORK_CHECKS),
    ("time", network.TIME_CHECKS),
)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at."""

    model: str
    cpus: tuple[int, ...]
    cores: tuple[tuple[int, ...], ...]
    caches: tuple[tuple[int, ...], ...]
    nodes: tuple[tuple[int, ...], ...]
    allowed: tuple[int, ...]
    isolated: tuple[int, ...]
    nohz_full: tuple[int, ...]
    rcu_nocbs: tuple[int, ...]
    virtual: str
    """Who runs this virtual machine; empty: it is a machine of its own."""
    is_container: bool


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the plan."""

    process: str
    cpu: int
    wait: str
    reason: str
    realtime_priority: int


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What `hft doctor --json` prints."""

    machine: Machine
    plan: tuple[Place, ...]
    counts: dict[str, int]
    findings: tuple[Finding, ...]
    noise: tuple[noise.Noise, ...] = ()


def run(config: str | None, *, noise_s: float, as_json: bool) -> int:
    """Examine this machine; exit code 1 when there is a problem.

    Raises:
        UsageError: the settings file asked for is not there.
        PinningError: the host does not say which cpus it has.
    """
    host, installation = live.look(config)
    findings = examine(host, installation)
    measured: list[noise.Noise] = []
    if not as_json:
        click.echo(
            "\n".join([*report.head(host, _judged_for(installation)), *report.body(findings)])
        )
    if noise_s:
        measured = _measure(host, noise_s)
        judged = noise.judge(measured)
        findings += judged
        if not as_json:
            click.echo(
                "\n".join(["", f"Noise, {noise_s:g} s for each core", *noise.table(measured)])
            )
            click.echo("\n".join(list(report.body(judged))[2:]))
    if as_json:
        diagnosis = diagnose(host, findings, measured)
        click.echo(msgspec.json.format(msgspec.json.encode(diagnosis)).decode())
    else:
        click.echo("\n".join(report.foot(host, findings, measured=bool(noise_s))))
    is_well = all(finding.verdict != "problem" for finding in findings)
    return EXIT_OK if is_well else EXIT_CHECK_FAILED


def write_units(config: str | None, directory: str) -> int:
    """Print the drop-ins of the plan, or write them below a directory.

    Raises:
        UsageError: the settings do not hold, or a file cannot be written.
        PinningError: the cpus that are configured cannot be had.
    """
    system = _system(config)
    files = units.make(system, pinning.read_topology())
    if not directory:
        click.echo("\n".join(f"# {name}\n{text}" for name, text in files.items()), nl=False)
        return EXIT_OK
    for path in units.write(files, Path(directory)):
        click.echo(path)
    click.echo("Next: sudo systemctl daemon-reload && sudo systemctl restart hft.target")
    return EXIT_OK


def examine(host: Host, installation: application.Installation) -> list[Finding]:
    """Every finding, group by group."""
    found: list[Finding] = []
    for group, checks in HOST_CHECKS:
        for check in checks:
            found += grouped(group, check(host))
    for look in application.CHECKS:
        found += grouped("application", look(installation))
    return found


def diagnose(
    host: Host, findings: Sequence[Finding], measured: Sequence[noise.Noise] = ()
) -> Diagnosis:
    """The same for a program."""
    topology = host.topology
    counts: Counter[str] = Counter(finding.verdict for finding in findings)
    return Diagnosis(
        machine=Machine(
            model=host.model,
            cpus=topology.cpus,
            cores=topology.cores,
            caches=topology.caches,
            nodes=topology.nodes,
            allowed=tuple(sorted(topology.allowed)),
            isolated=tuple(sorted(topology.isolated)),
            nohz_full=tuple(sorted(topology.nohz_full)),
            rcu_nocbs=tuple(sorted(topology.rcu_nocbs)),
            virtual=host.virtual,
            is_container=host.is_container,
        ),
        plan=tuple(
            Place(
                process=one.name,
                cpu=one.cpu,
                wait=one.wait,
                reason=one.reason,
                realtime_priority=one.realtime_priority,
            )
            for one in host.plan.assignments
        ),
        counts={verdict: counts[verdict] for verdict in SYMBOLS},
        findings=tuple(findings),
        noise=tuple(measured),
    )


def _measure(host: Host, seconds: float) -> list[noise.Noise]:
    hot, others = noise.cores(host.topology.allowed, host.hot_cpus)
    passes = 2 if others else 1
    if sys.stderr.isatty():
        click.echo(f"\nmeasuring for {passes} × {seconds:g} s …", err=True)
    return noise.measure(hot, others, seconds)


def _judged_for(installation: application.Installation) -> str:
    config = installation.config or Config(symbols=())
    return f"{config.system.topology} topology"


def _system(explicit: str | None) -> SystemConfig:
    path = live.find_settings(explicit)
    return config_file.load(path).system if path else SystemConfig()
