"""Checks of the network and of the time: how a packet reaches us, and what the clock is worth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.doctor.finding import (
    Check,
    Finding,
    cpu_text,
    fine,
    note,
    problem,
    skipped,
    sysctl,
    warning,
)
from tools.doctor.host import Host

NO_MASK: Final = "00000000"
"""Network mask of the default route: it is for every address."""
BUSY_POLL_US: Final = 50
COALESCE_US_MAX: Final = 10
ERROR_MS_MAX: Final = 10.0
"""Of the host's clock. The venue refuses requests that are seconds off; our figures need better."""
KERNEL_ERROR_MS_MAX: Final = 1_000.0
"""The kernel's own bound grows without limit between two corrections: a coarse sign only."""


def interface(root: Path) -> str:
    """Network interface of the default route; empty when there is none."""
    try:
        table = (root / "proc/net/route").read_text()
    except OSError:
        return ""
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 7 and words[7] == NO_MASK:
            return words[0]
    return ""


def busy_poll(host: Host) -> Iterator[Finding]:
    """Does a read look at the network card itself?"""
    poll, read = (host.number(f"proc/sys/net/core/busy_{name}") for name in ("poll", "read"))
    if poll is None or read is None:
        yield skipped("busy_poll", "busy polling: not visible here")
    elif poll and read:
        yield fine("busy_poll", f"sockets poll the card for up to {max(poll, read)} µs")
    else:
        yield warning(
            "busy_poll",
            "sockets wait for an interrupt (busy_poll and busy_read are 0)",
            "Polling the card instead saves 5 to 20 µs for each message, where its driver can;"
            " it costs processor time.",
            sysctl(f"net.core.busy_poll={BUSY_POLL_US}", f"net.core.busy_read={BUSY_POLL_US}"),
        )


def slow_start(host: Host) -> Iterator[Finding]:
    """Does an order connection start slowly again after a pause?"""
    value = host.number("proc/sys/net/ipv4/tcp_slow_start_after_idle")
    if value is None:
        yield skipped("slow_start", "tcp_slow_start_after_idle: not visible here")
    elif value:
        yield warning(
            "slow_start",
            "TCP starts slowly again after a pause (tcp_slow_start_after_idle)",
            "A burst of orders after a quiet second waits for round trips to the venue.",
            sysctl("net.ipv4.tcp_slow_start_after_idle=0"),
        )
    else:
        yield fine("slow_start", "TCP keeps its speed after a pause")


def coalescing(host: Host) -> Iterator[Finding]:
    """Does the network card wait to collect packets?"""
    name = interface(host.root)
    if not name:
        yield skipped("coalescing", "no default route: no network card to look at")
        return
    if "ethtool" not in host.tools:
        yield skipped(
            "coalescing",
            f"how long {name} collects packets: ethtool is not installed",
            "sudo apt-get install ethtool",
        )
        return
    output = host.tools["ethtool"]
    adaptive = re.search(r"^Adaptive RX:\s*(\S+)", output, re.M)
    delay = re.search(r"^rx-usecs:\s*([0-9]+)", output, re.M)
    delay_us = int(delay[1]) if delay else 0
    if not adaptive and not delay:
        yield skipped("coalescing", f"{name} does not say how long it collects packets")
    elif adaptive and adaptive[1] == "on":
        yield warning(
            "coalescing",
            f"{name} decides by itself how long it collects packets (adaptive-rx)",
            "Ticks of a busy market wait in the card for 10 to 100 µs.",
            f"sudo ethtool -C {name} adaptive-rx off rx-usecs 0",
        )
    elif delay_us > COALESCE_US_MAX:
        yield warning(
            "coalescing",
            f"{name} collects packets for {delay_us} µs",
            "Each tick waits so long in the card.",
            f"sudo ethtool -C {name} rx-usecs 0",
        )
    else:
        yield fine("coalescing", f"{name} hands packets over within {delay_us} µs")


def card_node(host: Host) -> Iterator[Finding]:
    """Is the card beside the feed's core?"""
    name = interface(host.root)
    node = host.number(f"sys/class/net/{name}/device/numa_node")
    if not name or len(host.topology.nodes) < 2 or node is None or node < 0:
        return
    near = host.cpus(f"sys/devices/system/node/node{node}/cpulist")
    far = [process for process in host.hot if host.plan.cpu(process) not in near]
    if far:
        yield warning(
            "card_node",
            f"{name} is on NUMA node {node}, {', '.join(far)} on another",
            "Every packet crosses between the processors: 100 to 200 ns for each cache line.",
            f"# name cpus out of {cpu_text(near)} in system.cpus",
        )
    else:
        yield fine("card_node", f"{name} is on the NUMA node of the hot cores")


def synchronised(host: Host) -> Iterator[Finding]:
    """Is the wall clock right?"""
    offset_ms = _chrony_offset_ms(host.tools.get("chronyc", ""))
    if offset_ms is not None and abs(offset_ms) > ERROR_MS_MAX:
        yield problem(
            "clock",
            f"the clock is {abs(offset_ms):,.1f} ms off (chronyc)",
            "The venue refuses requests with an old time stamp, and the age of its data cannot be"
            " judged.",
            "sudo chronyc makestep",
        )
    elif offset_ms is not None:
        yield fine("clock", f"the clock is within {abs(offset_ms):.3f} ms (chronyc)")
    elif host.clock is None:
        yield skipped("clock", "the state of the clock cannot be read")
    elif not host.clock.is_synchronised:
        yield warning(
            "clock",
            "nothing keeps the clock right (the kernel calls it unsynchronised)",
            "It drifts by up to seconds a day: the venue refuses requests that are late by its"
            " clock, and ages of data are wrong. `hft up` measures it against the venue.",
            "sudo apt-get install chrony && sudo systemctl enable --now chrony",
        )
    elif host.clock.error_us_max / 1000 > KERNEL_ERROR_MS_MAX:
        yield warning(
            "clock",
            f"the clock may be {host.clock.error_us_max / 1e6:.1f} s off",
            "Its last correction is long ago.",
            "chronyc tracking || timedatectl timesync-status",
        )
    else:
        yield fine("clock", "the clock is kept right (the kernel calls it synchronised)")


def corrections(host: Host) -> Iterator[Finding]:
    """Who corrects the clock?"""
    known = {
        "chronyd": "chrony",
        "ptp4l": "PTP",
        "ntpd": "ntpd",
        "systemd-timesyn": "systemd-timesyncd",
    }
    found = [name for program, name in known.items() if program in host.programs]
    if len(found) > 1:
        yield note("clock_service", f"{' and '.join(found)} run: one of them is enough")
    elif found == ["systemd-timesyncd"]:
        yield note(
            "clock_service",
            "systemd-timesyncd keeps the clock",
            "Good to some milliseconds. chrony is good to some hundred µs and tells its error.",
            "sudo apt-get install chrony",
        )


NETWORK_CHECKS: Final[tuple[Check, ...]] = (busy_poll, slow_start, coalescing, card_node)
TIME_CHECKS: Final[tuple[Check, ...]] = (synchronised, corrections)


def _chrony_offset_ms(output: str) -> float | None:
    match = re.search(r"^System time\s*:\s*([0-9.]+) seconds (slow|fast)", output, re.M)
    if match is None or re.search(r"^Leap status\s*:\s*Not synchronised", output, re.M):
        return None
    return float(match[1]) * 1000
