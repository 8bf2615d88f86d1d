"""Checks of the kernel: its own work on hot cores, its clock, its protection of shared files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tools.doctor.finding import (
    Check,
    Finding,
    fine,
    named,
    note,
    problem,
    skipped,
    sysctl,
    warning,
)
from tools.doctor.host import CLOCK, CPU, Host

WORKQUEUES: Final = "sys/devices/virtual/workqueue/cpumask"
FAST_CLOCKS: Final = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter")
"""Read without entering the kernel."""
STAT_INTERVAL_S_MIN: Final = 10
OLDEST: Final = (5, 16)
"""The first kernel with futex_waitv, by which a process waits for several rings at once."""


def release(host: Host) -> Iterator[Finding]:
    """Has the kernel what the system is built on?"""
    text = host.text("proc/sys/kernel/osrelease")
    match = re.match(r"([0-9]+)\.([0-9]+)", text)
    if match is None:
        yield skipped("release", "the kernel's release cannot be read")
    elif (int(match[1]), int(match[2])) < OLDEST:
        yield problem(
            "release",
            f"Linux {text} is too old",
            f"Processes wait for several rings at once by futex_waitv, which came with Linux"
            f" {OLDEST[0]}.{OLDEST[1]}.",
            "# upgrade the distribution, or install its newer kernel, for example on Debian:"
            " linux-image-amd64 from backports",
        )
    else:
        real_time = ", real-time" if host.number("sys/kernel/realtime") == 1 else ""
        yield fine("release", f"Linux {text}{real_time}")


def clock_source(host: Host) -> Iterator[Finding]:
    """What does it cost to look at the clock?"""
    name = host.text(f"{CLOCK}/current_clocksource")
    available = host.text(f"{CLOCK}/available_clocksource").split()
    if not name:
        yield skipped("clocksource", "the clock source cannot be read")
    elif name in FAST_CLOCKS:
        yield fine("clocksource", f"clock source {name}: read in about 20 ns")
    else:
        better = next((one for one in FAST_CLOCKS if one in available), "")
        yield problem(
            "clocksource",
            f"clock source {name}",
            "Every look at the clock enters the kernel for 1 µs or more; each turn takes several.",
            *(
                [f"echo {better} | sudo tee /{CLOCK}/current_clocksource"]
                if better
                else host.boot_commands("tsc=reliable", "clocksource=tsc")
            ),
        )


def watchdog(host: Host) -> Iterator[Finding]:
    """Does the kernel interrupt a loop to see whether it lives?"""
    if host.number("proc/sys/kernel/nmi_watchdog") == 1:
        yield warning(
            "nmi_watchdog",
            "the kernel's watchdog interrupts every core (nmi_watchdog)",
            "Some µs every few seconds, on isolated cores too; it also takes a counter from perf.",
            sysctl("kernel.nmi_watchdog=0"),
        )
    else:
        yield fine("nmi_watchdog", "no watchdog interrupts (nmi_watchdog)")


def statistics(host: Host) -> Iterator[Finding]:
    """How often does the kernel add up its counters?"""
    seconds = host.number("proc/sys/vm/stat_interval")
    if seconds is None:
        yield skipped("stat_interval", "vm.stat_interval cannot be read")
    elif seconds < STAT_INTERVAL_S_MIN:
        yield warning(
            "stat_interval",
            f"the kernel adds up memory counters every {seconds} s on every core",
            "A kernel thread takes the core for 5 to 20 µs each time.",
            sysctl(f"vm.stat_interval={STAT_INTERVAL_S_MIN}"),
        )
    else:
        yield fine("stat_interval", f"memory counters are added up every {seconds} s")


def real_time(host: Host) -> Iterator[Finding]:
    """May a real-time process spin?"""
    runtime_us = host.number("proc/sys/kernel/sched_rt_runtime_us")
    if runtime_us is None:
        yield skipped("rt_runtime", "kernel.sched_rt_runtime_us cannot be read")
    elif host.scheduling == "fifo" and runtime_us >= 0:
        yield warning(
            "rt_runtime",
            f"real-time processes are stopped after {runtime_us / 1000:,.0f} ms of each second",
            "system.scheduling is fifo: a loop that spins stands still for the rest. Isolated cores"
            ' gain little from fifo: "other" is the safe choice.',
            sysctl("kernel.sched_rt_runtime_us=-1"),
        )
    elif host.scheduling == "other" and runtime_us < 0:
        yield note(
            "rt_runtime",
            "real-time processes are never stopped (sched_rt_runtime_us -1)",
            "One that spins takes its core from everybody. This system asks for none.",
        )
    else:
        yield fine("rt_runtime", f'real-time limits fit system.scheduling "{host.scheduling}"')


def work_queues(host: Host) -> Iterator[Finding]:
    """Where does the kernel put its own errands?"""
    mask = host.text(WORKQUEUES).replace(",", "")
    if not mask or not re.fullmatch(r"[0-9a-f]+", mask):
        yield skipped("workqueues", "the cpus of the kernel's work queues cannot be read")
        return
    used = {cpu for cpu in host.hot_cores if int(mask, 16) >> cpu & 1}
    if not used:
        yield fine("workqueues", "the kernel's work queues stay away from hot cores")
        return
    why = "Disk, network and memory errands of other programs run there, 5 to 100 µs each."
    if not host.can_isolate:
        yield note("workqueues", f"the kernel's work queues use {named(used)}", why)
        return
    wanted = sum(1 << cpu for cpu in host.other_cpus)
    yield warning(
        "workqueues",
        f"the kernel's work queues use {named(used)}",
        why,
        f"echo {_mask(wanted)} | sudo tee /{WORKQUEUES}",
    )


def protected_files(host: Host) -> Iterator[Finding]:
    """Can another user put a file of theirs in our way?"""
    weak = [
        name
        for name in ("protected_regular", "protected_fifos")
        if host.number(f"proc/sys/fs/{name}") == 0
    ]
    if weak:
        yield warning(
            "protected",
            f"{' and '.join(f'fs.{name}' for name in weak)}: off",
            "Not speed but safety: in /dev/shm and /tmp another user of this host could lay out a"
            " file or pipe for us to open.",
            sysctl(*(f"fs.{name}=2" for name in weak)),
        )
    else:
        yield fine("protected", "files in /dev/shm and /tmp are protected from other users")


def mitigations(host: Host) -> Iterator[Finding]:
    """What do the defences against processor flaws cost? The choice is the owner's."""
    folder = host.root / CPU / "vulnerabilities"
    states = {path.name: host.text(str(path.relative_to(host.root))) for path in folder.glob("*")}
    active = [name for name, text in states.items() if text.startswith("Mitigation")]
    open_ones = [name for name, text in states.items() if text.startswith("Vulnerable")]
    if not states:
        yield skipped("mitigations", "mitigations of processor flaws cannot be read")
        return
    text = f"mitigations of processor flaws: {len(active)} active, {len(open_ones)} open"
    yield note(
        "mitigations",
        text,
        "Each system call pays for them, the loop on shared memory does not. mitigations=off on the"
        " kernel's command line is for a host that runs nothing but your own code."
        if active
        else "",
    )


def _mask(value: int) -> str:
    """A cpu mask as the kernel writes it: hexadecimal, in words of 32 bits."""
    words: list[int] = []
    while value or not words:
        words.append(value & 0xFFFFFFFF)
        value >>= 32
    head, *rest = reversed(words)
    return ",".join([f"{head:x}", *(f"{word:08x}" for word in rest)])


CHECKS: Final[tuple[Check, ...]] = (
    release,
    clock_source,
    watchdog,
    statistics,
    real_time,
    work_queues,
    protected_files,
    mitigations,
)
