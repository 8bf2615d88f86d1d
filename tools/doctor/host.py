"""The host as the checks see it: a root directory, the plan, and a few facts that are no files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from pinning import CpuListError, CpuPlan, Topology, parse_cpu_list

CPU: Final = "sys/devices/system/cpu"
CLOCK: Final = "sys/devices/system/clocksource/clocksource0"
MAKERS: Final = (
    ("KVM", "KVM"),
    ("QEMU", "KVM"),
    ("Amazon EC2", "Amazon EC2"),
    ("Google", "Google Cloud"),
    ("Microsoft", "Hyper-V"),
    ("VMware", "VMware"),
    ("innotek", "VirtualBox"),
    ("Xen", "Xen"),
)
"""Words in the firmware's tables, and who makes such machines."""
CONTAINER_MARKS: Final = (".dockerenv", "run/.containerenv")
CONTAINER_GROUPS: Final = re.compile(r"docker|kubepods|containerd|libpod|lxc")


@dataclass(frozen=True, slots=True)
class Space:
    """Room in a file system, bytes."""

    total: int
    free: int


@dataclass(frozen=True, slots=True)
class ClockState:
    """What the kernel says of its wall clock (``adjtimex``)."""

    is_synchronised: bool
    error_us_max: int
    """Bound of the kernel for its error, µs."""


@dataclass(frozen=True)
class Host:
    """One machine. Everything below ``root`` is read when a check asks for it."""

    root: Path
    topology: Topology
    plan: CpuPlan
    hot: tuple[str, ...]
    """Names of the processes that want a core for themselves, in the order of the tick."""
    shm: Space | None = None
    clock: ClockState | None = None
    tools: Mapping[str, str] = field(default_factory=dict)
    """Output of programs, by name; a program that is not here is not installed."""
    scheduling: Literal["other", "fifo"] = "other"

    def text(self, path: str) -> str:
        """A file without the white space around it; empty when it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def number(self, path: str) -> int | None:
        """The number that a file holds; None when it holds none."""
        text = self.text(path)
        return int(text) if re.fullmatch(r"-?[0-9]+", text) else None

    def cpus(self, path: str) -> frozenset[int]:
        """The cpus that a file lists; none when it cannot be read."""
        try:
            return parse_cpu_list(self.text(path))
        except CpuListError:
            return frozenset()

    def chosen(self, path: str) -> str:
        """The word in brackets, as in ``always [madvise] never``; empty when there is none."""
        match = re.search(r"\[([^\]]+)\]", self.text(path))
        return match[1] if match else ""

    @cached_property
    def hot_cpus(self) -> frozenset[int]:
        """Cpus of the hot processes."""
        return frozenset(self.plan.cpu(name) for name in self.hot)

    @cached_property
    def hot_cores(self) -> frozenset[int]:
        """The hot cpus with their siblings: what has to be left alone."""
        return self.hot_cpus.union(*(self.topology.siblings(cpu) for cpu in self.hot_cpus))

    @cached_property
    def other_cpus(self) -> frozenset[int]:
        """Cpus for everything that is not hot; all when nothing else is left."""
        return frozenset(self.topology.cpus) - self.hot_cores or frozenset(self.topology.cpus)

    @cached_property
    def can_isolate(self) -> bool:
        """Whether a core would be left for the host if the hot ones were set apart."""
        return bool(frozenset(self.topology.cpus) - self.hot_cores)

    @cached_property
    def model(self) -> str:
        """What the processor calls itself."""
        match = re.search(r"^model name\s*:\s*(.+)$", self.text("proc/cpuinfo"), re.MULTILINE)
        return " ".join(match[1].split()) if match else "processor"

    @cached_property
    def virtual(self) -> str:
        """Who runs this virtual machine; empty on a machine of its own."""
        is_guest = re.search(r"^flags\s*:.*\bhypervisor\b", self.text("proc/cpuinfo"), re.MULTILINE)
        kind = self.text("sys/hypervisor/type")
        if not is_guest and not kind:
            return ""
        words = " ".join(
            self.text(f"sys/class/dmi/id/{name}")
            for name in ("sys_vendor", "product_name", "bios_vendor")
        )
        for word, maker in MAKERS:
            if word in words:
                return maker
        if "kvm" in self.text(f"{CLOCK}/available_clocksource"):
            return "KVM"
        return kind.capitalize() or "unknown hypervisor"

    @cached_property
    def is_container(self) -> bool:
        """Whether this is a container: one sees no kernel threads, whatever its image leaves."""
        if self.text("proc/2/comm") == "kthreadd":
            return False
        groups = self.text("proc/1/cgroup") + self.text("proc/self/mountinfo")
        return any((self.root / mark).exists() for mark in CONTAINER_MARKS) or bool(
            CONTAINER_GROUPS.search(groups)
        )

    @cached_property
    def programs(self) -> frozenset[str]:
        """Names of the processes that run."""
        return frozenset(
            self.text(str(path.relative_to(self.root)))
            for path in (self.root / "proc").glob("[0-9]*/comm")
        )

    def boot_commands(self, *options: str) -> tuple[str, ...]:
        """The commands that add options to the kernel's command line, for this distribution."""
        if (self.root / "etc/default/grub.d").is_dir():
            return (
                *_variable(options),
                'echo "GRUB_CMDLINE_LINUX=\\"\\$GRUB_CMDLINE_LINUX $options\\"" |'
                " sudo tee /etc/default/grub.d/90-hft.cfg",
                "sudo update-grub && sudo reboot",
            )
        if any((self.root / path / "grubby").exists() for path in ("usr/sbin", "usr/bin", "sbin")):
            return (
                *_variable(options),
                'sudo grubby --update-kernel=ALL --args="$options"',
                "sudo reboot",
            )
        return ("# add to the kernel's command line, then reboot:", *(f"#   {o}" for o in options))


def _variable(options: tuple[str, ...]) -> tuple[str, ...]:
    """Shell lines that collect the options: one long line could not be read, nor copied well."""
    first, *rest = options
    return (f"options='{first}'", *(f"options+=' {option}'" for option in rest))
