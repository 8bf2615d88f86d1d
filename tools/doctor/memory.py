"""Checks of the memory: can a page be missing, or be moved, at the wrong moment?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tools.doctor.finding import (
    Check,
    Finding,
    fine,
    note,
    problem,
    skipped,
    sysctl,
    warning,
)
from tools.doctor.host import Host

THP: Final = "sys/kernel/mm/transparent_hugepage"
CAP_IPC_LOCK: Final = 14
SHM_BYTES_MIN: Final = 32 * 2**20
"""Several times what one system needs, so that a second one or a demo fits beside it."""


def huge_pages(host: Host) -> Iterator[Finding]:
    """Does the kernel merge pages behind our back?"""
    enabled, defrag = host.chosen(f"{THP}/enabled"), host.chosen(f"{THP}/defrag")
    if not enabled:
        yield fine("thp", "no transparent huge pages")
        return
    if enabled == "always":
        yield warning(
            "thp",
            "transparent huge pages: always",
            "The kernel collects small pages into large ones at moments of its own choice and"
            " holds the process meanwhile, for up to milliseconds.",
            f"echo madvise | sudo tee /{THP}/enabled",
        )
    elif defrag == "always":
        yield warning(
            "thp",
            "transparent huge pages: memory is tidied up on the spot (defrag: always)",
            "An allocation may wait until other memory has been moved.",
            f"echo madvise | sudo tee /{THP}/defrag",
        )
    else:
        yield fine("thp", f"transparent huge pages: {enabled}")


def same_pages(host: Host) -> Iterator[Finding]:
    """Does the kernel compare pages to share them (KSM)?"""
    if host.number("sys/kernel/mm/ksm/run") == 1:
        yield warning(
            "ksm",
            "the kernel merges equal pages (KSM)",
            "A thread reads all memory again and again, and the first write to a merged page pays"
            " for a copy.",
            "echo 2 | sudo tee /sys/kernel/mm/ksm/run",
        )
    else:
        yield fine("ksm", "equal pages are not merged (KSM)")


def numa_balancing(host: Host) -> Iterator[Finding]:
    """Does the kernel move pages between nodes?"""
    if host.number("proc/sys/kernel/numa_balancing") and len(host.topology.nodes) > 1:
        yield warning(
            "numa",
            "the kernel moves memory between NUMA nodes",
            "To learn who uses a page it takes it away for a moment: a page fault of some µs, over"
            " and over. Pinned processes gain nothing from it.",
            sysctl("kernel.numa_balancing=0"),
        )
    else:
        yield fine("numa", "the kernel does not move memory between NUMA nodes")


def swap(host: Host) -> Iterator[Finding]:
    """Can memory go to a disk?"""
    areas = [line.split()[0] for line in host.text("proc/swaps").splitlines()[1:] if line.split()]
    if not areas:
        yield fine("swap", "no swap")
        return
    yield warning(
        "swap",
        f"swap is on: {', '.join(areas)}",
        "A page that was swapped out costs a disk access when it is needed: locked memory is safe,"
        " the rest of the host is not.",
        "sudo swapoff -a",
        "sudo sed -i '/\\sswap\\s/s/^#*/#/' /etc/fstab",
    )


def locked_memory(host: Host) -> Iterator[Finding]:
    """May we keep our pages in memory?"""
    capabilities = re.search(r"^CapEff:\s*([0-9a-f]+)", host.text("proc/self/status"), re.M)
    if capabilities and int(capabilities[1], 16) >> CAP_IPC_LOCK & 1:
        yield fine("memlock", "memory may be locked (CAP_IPC_LOCK)")
        return
    limit = re.search(r"^Max locked memory\s+\S+\s+(\S+)", host.text("proc/self/limits"), re.M)
    if limit is None:
        yield skipped("memlock", "the limit of locked memory cannot be read")
    elif limit[1] == "unlimited":
        yield fine("memlock", "memory may be locked (ulimit -l: unlimited)")
    else:
        yield warning(
            "memlock",
            f"only {int(limit[1]) // 2**10:,} kB may be locked (ulimit -l)",
            "The system leaves its memory unlocked then: under pressure the kernel takes pages"
            " away, and the next use of one waits for the disk. The units for systemd set it.",
            "docker run --ulimit memlock=-1 …"
            if host.is_container
            else 'printf "$USER %s memlock unlimited\\n" soft hard |'
            " sudo tee /etc/security/limits.d/90-hft.conf  # then log in again",
        )


def shared_memory(host: Host) -> Iterator[Finding]:
    """Is there room for the rings?"""
    if host.shm is None:
        yield problem(
            "shm",
            "/dev/shm is not there",
            "The rings between the processes live there: nothing starts without.",
            "sudo mount -t tmpfs -o size=1g,mode=1777 tmpfs /dev/shm",
        )
        return
    total, free = host.shm.total / 2**20, host.shm.free / 2**20
    if host.shm.free < SHM_BYTES_MIN:
        yield problem(
            "shm",
            f"/dev/shm: {free:,.0f} MB of {total:,.0f} MB are free",
            f"One system needs about 10 MB, and {SHM_BYTES_MIN // 2**20} MB leave room to restart.",
            "docker run --shm-size=1g …"
            if host.is_container
            else "sudo mount -o remount,size=1g /dev/shm",
        )
    else:
        yield fine("shm", f"/dev/shm: {free:,.0f} MB of {total:,.0f} MB are free")


def reserved_huge_pages(host: Host) -> Iterator[Finding]:
    """Is memory set aside that nobody here uses?"""
    match = re.search(r"^HugePages_Total:\s*([1-9][0-9]*)", host.text("proc/meminfo"), re.M)
    if match:
        yield note("hugepages", f"{match[1]} huge pages are reserved; this system uses none")


CHECKS: Final[tuple[Check, ...]] = (
    huge_pages,
    same_pages,
    numa_balancing,
    swap,
    locked_memory,
    shared_memory,
    reserved_huge_pages,
)
