"""Drop-ins for systemd that put each role on its core (`hft doctor --write-units`).

The units of a system run one role each and may not move themselves: their system call filter
forbids it. So the plan of the dedicated topology is written beside them, as ``cpu.conf``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pinning
from hft.config import SystemConfig
from hft.errors import UsageError
from hft.graph import OPTIONAL_ROLES, ROLES
from tools.doctor.finding import cpu_text
from tools.doctor.live import hot_names

STRATEGY: Final = "strategy"
HOT_SLICE: Final = "hft-hot.slice"
COLD_SLICE: Final = "hft-cold.slice"
HEAD: Final = "# The plan of this host, by hft doctor --write-units.\n"
DEDICATED: Final = "dedicated"


def make(system: SystemConfig, topology: pinning.Topology) -> dict[str, str]:
    """Text of each drop-in, by its path below the directory of the units.

    Raises:
        PlanError: the cpus that are configured cannot be had.
    """
    hot, roles = hot_names(DEDICATED), (*ROLES, *OPTIONAL_ROLES)
    cold = [role for role in roles if role not in hot]
    plan = pinning.make_plan(topology, hot, cold, system.cpus, system.wait, system.scheduling)
    files = {}
    for role in roles:
        files[f"{_unit(role)}.d/cpu.conf"] = _role(plan.of(role), topology)
    hot_cpus = {plan.cpu(role) for role in hot}
    cold_cpus = {plan.cpu(role) for role in cold}
    for name, cpus in ((HOT_SLICE, hot_cpus), (COLD_SLICE, cold_cpus)):
        files[f"{name}.d/cpu.conf"] = f"{HEAD}[Slice]\nAllowedCPUs={cpu_text(cpus)}\n"
    return files


def write(files: dict[str, str], directory: Path) -> list[Path]:
    """Write the drop-ins below a directory; returns where they are.

    Raises:
        UsageError: one cannot be written.
    """
    written = []
    for name, text in files.items():
        path = directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        except OSError as error:
            raise UsageError(
                f"cannot write {path}: {error.strerror}.",
                remedy="Name a directory that you may write, or use sudo.",
            ) from None
        written.append(path)
    return written


def _unit(role: str) -> str:
    return f"hft-{role}@.service" if role == STRATEGY else f"hft-{role}.service"


def _role(assignment: pinning.Assignment, topology: pinning.Topology) -> str:
    lines = [f"# {assignment.wait}: {assignment.reason}", "[Service]"]
    lines.append(f"CPUAffinity={assignment.cpu}")
    if len(topology.nodes) > 1:
        node = next(n for n, cpus in enumerate(topology.nodes) if assignment.cpu in cpus)
        lines += ["NUMAPolicy=preferred", f"NUMAMask={node}"]
    if assignment.realtime_priority:
        lines += [
            "CPUSchedulingPolicy=fifo",
            f"CPUSchedulingPriority={assignment.realtime_priority}",
            "CPUSchedulingResetOnFork=yes",
        ]
    return HEAD + "\n".join(lines) + "\n"
