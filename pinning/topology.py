"""What the host's processors look like: ``/sys`` and ``/proc`` read once into a frozen value.

Everything is read below a root path, so that a test brings a tree of its own. Formats: the cpu
lists of the kernel documentation (admin-guide, "The kernel's command-line parameters"); files of
``/sys/devices/system/cpu`` as in the kernel's ABI documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinning.errors import CpuListError, TopologyError

CPU_ROOT: Final = "sys/devices/system/cpu"
NODE_ROOT: Final = "sys/devices/system/node"
CGROUP_ROOT: Final = "sys/fs/cgroup"
CPU_MAX: Final = 8_192
"""The largest number of cpus that a Linux kernel can be built for: bounds every list we expand."""


@dataclass(frozen=True, slots=True)
class Topology:
    """The processors of one host, as far as planning needs them."""

    cpus: tuple[int, ...]
    """Cpus that are online, ascending."""
    cores: tuple[tuple[int, ...], ...]
    """Physical cores: each with its online hardware threads, ascending."""
    allowed: frozenset[int]
    """Cpus that this process may run on: control group and affinity."""
    isolated: frozenset[int]
    """Cpus that the scheduler leaves alone (``isolcpus=``)."""
    nohz_full: frozenset[int]
    """Cpus without a timer tick while one task runs (``nohz_full=``)."""
    rcu_nocbs: frozenset[int]
    """Cpus whose RCU callbacks run elsewhere (``rcu_nocbs=``; ``nohz_full=`` implies it)."""
    caches: tuple[tuple[int, ...], ...] = ()
    """Last-level cache domains: each with its online cpus. Empty: the host does not say."""
    nodes: tuple[tuple[int, ...], ...] = ()
    """NUMA nodes: each with its online cpus. Empty: the host has one, or does not say."""

    def siblings(self, cpu: int) -> tuple[int, ...]:
        """The other hardware threads of the cpu's physical core (KeyError: no such cpu)."""
        for core in self.cores:
            if cpu in core:
                return tuple(thread for thread in core if thread != cpu)
        raise KeyError(cpu)

    def is_undisturbed(self, cpu: int) -> bool:
        """True when the scheduler puts nothing on the cpu, nor on a sibling, by itself."""
        return {cpu, *self.siblings(cpu)} <= self.isolated


def parse_cpu_list(text: str, *, last_cpu: int = CPU_MAX - 1) -> frozenset[int]:
    """The kernel's list format: ``0-3,8``, ``0-15:2/4`` (2 of every 4), ``all``; ``N`` is the last.

    Raises:
        CpuListError: the text is something else.
    """
    found: set[int] = set()
    for part in text.replace("N", str(last_cpu)).split(","):
        match part.strip():
            case "" | "(null)":
                continue
            case "all":
                found.update(range(last_cpu + 1))
            case item:
                found.update(_expand(item, text))
    return frozenset(found)


def _expand(item: str, text: str) -> list[int]:
    span, _, stride = item.partition(":")
    first_text, dash, last_text = span.partition("-")
    used_text, slash, group_text = stride.partition("/")
    numbers = [first_text]
    numbers += [last_text] if dash else []
    numbers += [used_text, group_text] if stride else []
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise CpuListError(text)
    first = int(first_text)
    last = int(last_text) if dash else first
    used, group = (int(used_text), int(group_text)) if slash else (1, 1)
    if not first <= last < CPU_MAX or not 0 < used <= group:
        raise CpuListError(text)
    return [cpu for cpu in range(first, last + 1) if (cpu - first) % group < used]


def read_topology(root: Path = Path("/")) -> Topology:
    """Read the host below ``root``.

    Raises:
        TopologyError: the list of online cpus is missing.
        CpuListError: a file does not have the kernel's format.
    """
    online = _read_list(root / CPU_ROOT / "online")
    if not online:
        raise TopologyError(
            f"{root / CPU_ROOT / 'online'} names no cpu",
            remedy="Mount /sys, or run outside of the sandbox that hides it.",
        )
    isolated = online & _read_list(root / CPU_ROOT / "isolated")
    nohz_full = online & _read_list(root / CPU_ROOT / "nohz_full")
    nocbs = parse_cpu_list(_boot_option(root, "rcu_nocbs"), last_cpu=max(online))
    return Topology(
        cpus=tuple(sorted(online)),
        cores=_cores(root, online),
        allowed=online & _allowed(root, online, isolated),
        isolated=isolated,
        nohz_full=nohz_full,
        rcu_nocbs=(online & nocbs) | nohz_full,
        caches=_caches(root, online),
        nodes=_nodes(root, online),
    )


def _cores(root: Path, online: frozenset[int]) -> tuple[tuple[int, ...], ...]:
    found: set[tuple[int, ...]] = set()
    for cpu in online:
        listed = _read_list(root / CPU_ROOT / f"cpu{cpu}" / "topology" / "thread_siblings_list")
        found.add(tuple(sorted(online & (listed | {cpu}))))
    return tuple(sorted(found))


def _caches(root: Path, online: frozenset[int]) -> tuple[tuple[int, ...], ...]:
    """Who shares the cache of the highest level that a cpu has: level 3 on servers."""
    found: set[tuple[int, ...]] = set()
    for cpu in online:
        levels = {
            _read(index / "level").strip(): _read_list(index / "shared_cpu_list")
            for index in (root / CPU_ROOT / f"cpu{cpu}" / "cache").glob("index*")
        }
        if levels and (shared := levels[max(levels)]):
            found.add(tuple(sorted(online & shared)))
    return tuple(sorted(found))


def _nodes(root: Path, online: frozenset[int]) -> tuple[tuple[int, ...], ...]:
    numbers = _read_list(root / NODE_ROOT / "online")
    cpus = (online & _read_list(root / NODE_ROOT / f"node{n}" / "cpulist") for n in numbers)
    return tuple(sorted(tuple(sorted(node)) for node in cpus if node))


def _allowed(root: Path, online: frozenset[int], isolated: frozenset[int]) -> frozenset[int]:
    group = _control_group_cpus(root)
    affinity = _status_cpus(root) or online
    # isolcpus= takes the isolated cpus out of every inherited affinity mask, yet a process may
    # still be moved there: only the control group can forbid them.
    return (group or online) & (affinity | isolated)


def _control_group_cpus(root: Path) -> frozenset[int]:
    """Cpus of the nearest control group that says so; empty when none does."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpuset" not in controllers.split(","):
            continue
        mount = root / CGROUP_ROOT / ("cpuset" if controllers else "")
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            folder = mount.joinpath(*parts[:depth])
            for name in ("cpuset.cpus.effective", "cpuset.effective_cpus"):
                if cpus := _read_list(folder / name):
                    return cpus
    return frozenset()


def _status_cpus(root: Path) -> frozenset[int]:
    for line in _read(root / "proc/self/status").splitlines():
        name, _, value = line.partition(":")
        if name == "Cpus_allowed_list":
            return parse_cpu_list(value.strip())
    return frozenset()


def _boot_option(root: Path, name: str) -> str:
    """Value of ``name=`` on the kernel's command line; empty when it is not there."""
    for word in _read(root / "proc/cmdline").split():
        key, _, value = word.partition("=")
        if key == name:
            return value
    return ""


def _read_list(path: Path) -> frozenset[int]:
    return parse_cpu_list(_read(path).strip())


def _read(path: Path) -> str:
    """The file's text; empty when it is missing, which kernels and sandboxes differ in."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
