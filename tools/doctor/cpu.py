"""Checks of the processors: is a hot core left alone, and does it run at its full speed?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tools.doctor.finding import (
    Check,
    Finding,
    braces,
    cpu_text,
    fine,
    named,
    note,
    problem,
    skipped,
    warning,
)
from tools.doctor.host import CPU, Host

C1_US_MAX: Final = 2
"""Leaving C1 takes at most so long; every deeper state takes more."""
MANAGED: Final = "managed_irq,domain,"
"""isolcpus= with these also keeps the interrupts away that a driver spreads by itself."""
STEAL_SHARE_MAX: Final = 0.001
OF_THE_HOST: Final = "belongs to the machine below this container: run hft doctor there"


def plan(host: Host) -> Iterator[Finding]:
    """Who runs where."""
    where = ", ".join(f"{name} on cpu {host.plan.cpu(name)}" for name in host.hot)
    others = {one.cpu for one in host.plan.assignments if one.name not in host.hot}
    rest = f"; the rest on {named(others)}" if others else ""
    if any(host.plan.of(name).reason.startswith("shares cpu") for name in host.hot):
        how = (
            f"{len(host.topology.cores)} cores are too few for one each, so they take turns and"
            " sleep in between instead of spinning. The compact topology, with one hot process, is"
            " faster on such a host."
        )
    else:
        hot = (host.plan.of(name) for name in host.hot)
        how = ", ".join(sorted({f"{one.wait} ({one.reason})" for one in hot}))
        how = f"It waits by {how}."
    yield note("plan", f"{where}{rest}", f"Hot is what a tick or an order waits for. {how}")


def isolation(host: Host) -> Iterator[Finding]:
    """Does the scheduler leave the hot cores alone, does the timer, does RCU?"""
    if host.is_container:
        yield skipped("isolation", f"isolation of cores {OF_THE_HOST}")
        return
    if not host.can_isolate:
        yield skipped(
            "isolation",
            f"no core can be set apart: {named(host.topology.cpus)} "
            f"{'is' if len(host.topology.cpus) == 1 else 'are'} all there is",
        )
        return
    wanted = cpu_text(host.hot_cores)
    topology = host.topology
    lacking = {
        "isolcpus": host.hot_cores - topology.isolated,
        "nohz_full": host.hot_cores - topology.nohz_full,
        "rcu_nocbs": host.hot_cores - topology.rcu_nocbs,
    }
    options = [
        f"{name}={MANAGED if name == 'isolcpus' else ''}{wanted}"
        for name, cpus in lacking.items()
        if cpus
    ]
    if "irqaffinity=" not in host.text("proc/cmdline"):
        options.append(f"irqaffinity={cpu_text(host.other_cpus)}")
    fix = host.boot_commands(*options) if options else ()
    # Where two cpus are everything, one that is set apart halves what the rest has: a choice.
    severe = problem if len(topology.cores) >= 4 and not host.virtual else warning
    if cpus := lacking["isolcpus"]:
        yield severe(
            "isolation",
            f"{named(cpus)} {_is(cpus)} not isolated",
            "Any other program or kernel thread may run there and stop the hot loop for"
            " milliseconds.",
            *fix,
        )
    else:
        yield fine("isolation", f"{named(host.hot_cpus)}: isolated from other programs")
    if cpus := lacking["nohz_full"]:
        yield warning(
            "nohz_full",
            f"the timer ticks on {named(cpus)}",
            "100 to 1,000 times a second the kernel takes the core for 1 to 5 µs.",
            *fix,
        )
    else:
        yield fine("nohz_full", "no timer tick while the hot process runs alone")
    if cpus := lacking["rcu_nocbs"]:
        yield warning(
            "rcu_nocbs",
            f"kernel memory is cleaned up on {named(cpus)} (RCU callbacks)",
            "Bursts of 10 to 100 µs at moments of the kernel's choice.",
            *fix,
        )
    else:
        yield fine("rcu_nocbs", "RCU callbacks run on other cores")


def siblings(host: Host) -> Iterator[Finding]:
    """Does anything run on the other hardware thread of a hot core?"""
    beside = {
        (name, cpu)
        for name in host.hot
        for cpu in host.topology.siblings(host.plan.cpu(name))
        if cpu in host.topology.allowed
    }
    busy = {a.cpu for a in host.plan.assignments} & {cpu for _, cpu in beside}
    if not beside:
        yield fine("siblings", f"no hardware thread shares the core of {named(host.hot_cpus)}")
        return
    threads = sorted({cpu for _, cpu in beside} - host.hot_cpus)
    if not threads:
        fix = "# name cpus of different cores in system.cpus"
    else:
        fix = f"echo 0 | sudo tee /{CPU}/cpu{braces(threads)}/online"
    why = (
        "Two threads share one core's execution units and caches: whatever runs on the second"
        " slows the first by a third or more."
    )
    if busy:
        yield problem("siblings", f"{named(busy)}: planned work beside a hot process", why, fix)
    elif set(threads) <= host.topology.isolated:
        yield fine("siblings", f"{named(threads)} (second threads of hot cores) stay idle")
    else:
        verb = "shares its core" if len(threads) == 1 else "share their cores"
        yield warning("siblings", f"{named(threads)} {verb} with {named(host.hot_cpus)}", why, fix)


def placement(host: Host) -> Iterator[Finding]:
    """Are the hot cores near each other?"""
    for what, domains in (("NUMA nodes", host.topology.nodes), ("L3 caches", host.topology.caches)):
        used = [domain for domain in domains if host.hot_cpus & set(domain)]
        if len(used) > 1:
            yield warning(
                "placement",
                f"hot processes are spread over {len(used)} {what}",
                "Each hop then crosses from one cache to another: 100 ns and more instead of 50.",
                f"# name cpus of one group in system.cpus: {' '.join(map(cpu_text, domains))}",
            )
            return
    if len(host.hot_cpus) > 1:
        yield fine("placement", "all hot cores share one last-level cache")


def quota(host: Host) -> Iterator[Finding]:
    """May the control group stop us once it has used its share?"""
    for group in _groups(host):
        words = host.text(f"{group}/cpu.max").split()
        limit = int(words[0]) if words and words[0].isdigit() else None
        period = int(words[1]) if len(words) > 1 else 0
        if limit is None and (old := host.number(f"{group}/cpu.cfs_quota_us")) and old > 0:
            limit, period = old, host.number(f"{group}/cpu.cfs_period_us") or 100_000
        if limit is not None and period:
            yield problem(
                "quota",
                f"a control group allows {limit / period:g} cpus of time, then stops everything",
                f"A loop that spins uses its share up and stands still for the rest of each"
                f" {period / 1000:g} ms.",
                "# a container: use --cpuset-cpus=2,3 in place of --cpus",
                "# a systemd unit: take CPUQuota= out, use AllowedCPUs=",
            )
            return
    yield fine("quota", "no control group limits the cpu time")


def _groups(host: Host) -> Iterable[str]:
    """Directories of the control groups that this process is in, the nearest first."""
    for line in host.text("proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = "sys/fs/cgroup" + ("/cpu" if controllers else "")
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            yield "/".join([mount, *parts[:depth]])


def governor(host: Host) -> Iterator[Finding]:
    """Does a hot core keep its frequency?"""
    base = "cpufreq/scaling_governor"
    found = {cpu: host.text(f"{CPU}/cpu{cpu}/{base}") for cpu in host.hot_cpus}
    if not any(found.values()):
        yield skipped("governor", _hidden(host, "the frequency governor"))
        return
    slow = {cpu: name for cpu, name in found.items() if name not in ("performance", "")}
    if slow:
        yield warning(
            "governor",
            f"{named(slow)}: frequency governor {', '.join(sorted(set(slow.values())))}",
            "After a quiet moment the core runs slowly: the first tick of a burst is the late one.",
            f"echo performance | sudo tee /{CPU}/cpu{braces(slow)}/{base}",
        )
        return
    preference = "cpufreq/energy_performance_preference"
    saving = {
        cpu: text
        for cpu in found
        if (text := host.text(f"{CPU}/cpu{cpu}/{preference}")) not in ("performance", "")
    }
    if saving:
        yield warning(
            "governor",
            f"{named(saving)}: energy preference {', '.join(sorted(set(saving.values())))}",
            "The processor itself slows down to save power.",
            f"echo performance | sudo tee /{CPU}/cpu{braces(saving)}/{preference}",
        )
        return
    yield fine("governor", f"{named(found)}: governor performance")


def turbo(host: Host) -> Iterator[Finding]:
    """Is the frequency the same at every moment?"""
    intel = host.number(f"{CPU}/intel_pstate/no_turbo")
    boost = host.number(f"{CPU}/cpufreq/boost")
    if intel is None and boost is None:
        yield skipped("turbo", _hidden(host, "turbo"))
    elif intel == 0 or (intel is None and boost == 1):
        path, value = ("intel_pstate/no_turbo", 1) if intel == 0 else ("cpufreq/boost", 0)
        yield warning(
            "turbo",
            "turbo changes the frequency",
            "Faster on average, and latency then depends on temperature and on what other cores"
            " do. Measure both ways: some keep it.",
            f"echo {value} | sudo tee /{CPU}/{path}",
        )
    else:
        yield fine("turbo", "turbo is off: one frequency")


def idle_states(host: Host) -> Iterator[Finding]:
    """How deep may a hot core sleep?"""
    try:
        raw = (host.root / "dev/cpu_dma_latency").read_bytes()[:4]
    except OSError:
        raw = b""
    if len(raw) == 4 and int.from_bytes(raw, "little") <= C1_US_MAX:
        yield fine("idle", "a program holds /dev/cpu_dma_latency: no deep sleep")
        return
    deep: dict[int, tuple[str, int]] = {}
    known = False
    for cpu in sorted(host.hot_cpus):
        for state in (host.root / CPU / f"cpu{cpu}" / "cpuidle").glob("state*"):
            known = True
            path = str(state.relative_to(host.root))
            latency_us = host.number(f"{path}/latency") or 0
            if latency_us > C1_US_MAX and host.number(f"{path}/disable") != 1:
                number = int(re.sub(r"\D", "", state.name))
                deep[number] = (host.text(f"{path}/name"), latency_us)
    if not known:
        yield skipped("idle", _hidden(host, "idle states"))
    elif deep:
        names = ", ".join(f"{name} {latency} µs" for _, (name, latency) in sorted(deep.items()))
        states = f"cpu{braces(host.hot_cpus)}/cpuidle/state{braces(deep)}"
        yield warning(
            "idle",
            f"{named(host.hot_cpus)} may sleep deeply: {names}",
            "A process that waits by parking is woken so much later. One that spins never sleeps.",
            f"echo 1 | sudo tee /{CPU}/{states}/disable",
        )
    else:
        yield fine("idle", f"{named(host.hot_cpus)}: no sleep deeper than C1")


def interrupts(host: Host) -> Iterator[Finding]:
    """Which devices interrupt a hot core?"""
    if host.is_container:
        yield skipped("interrupts", f"interrupts: the routing {OF_THE_HOST}")
        return
    fired = _interrupt_counts(host)
    found: dict[int, str] = {}
    for folder in (host.root / "proc/irq").glob("[0-9]*"):
        number, path = int(folder.name), str(folder.relative_to(host.root))
        actions = [entry.name for entry in folder.iterdir() if entry.is_dir()]
        cpus = host.cpus(f"{path}/effective_affinity_list")
        cpus = cpus or host.cpus(f"{path}/smp_affinity_list")
        # One that has not fired since the boot is of a device that nobody uses.
        if actions and cpus & host.hot_cores and fired.get(number, 1):
            found[number] = actions[0]
    if not found:
        yield fine("interrupts", f"no device interrupts {named(host.hot_cores)}")
        return
    busiest = sorted(found, key=lambda number: fired.get(number, 0), reverse=True)
    first = ", ".join(found[number] for number in busiest[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    numbers = " ".join(map(str, sorted(found)))
    why = (
        "Each interrupt takes 2 to 20 µs from the hot loop, and its cache with it. Some refuse to"
        " be moved: isolcpus=managed_irq keeps those away."
    )
    if not host.can_isolate:
        yield note("interrupts", f"devices interrupt {named(host.hot_cores)}: {first}{more}", why)
        return
    yield warning(
        "interrupts",
        f"devices interrupt {named(host.hot_cores)}: {first}{more}",
        why,
        f"for i in {numbers}; do echo {cpu_text(host.other_cpus)} |"
        " sudo tee /proc/irq/$i/smp_affinity_list; done",
    )


def _interrupt_counts(host: Host) -> dict[int, int]:
    """How often each interrupt fired on a hot core since the boot, by its number."""
    head, *lines = host.text("proc/interrupts").splitlines() or [""]
    columns = [int(name[3:]) for name in head.split() if re.fullmatch(r"CPU[0-9]+", name)]
    counts = {}
    for line in lines:
        name, *words = line.split()
        values = words[: len(columns)]
        if name[:-1].isdigit() and len(values) == len(columns):
            pairs = zip(columns, values, strict=True)
            counts[int(name[:-1])] = sum(int(n) for cpu, n in pairs if cpu in host.hot_cores)
    return counts


def irqbalance(host: Host) -> Iterator[Finding]:
    """Will somebody move the interrupts back?"""
    if "irqbalance" not in host.programs:
        yield fine("irqbalance", "irqbalance does not run")
    elif host.hot_cores <= host.topology.isolated:
        yield fine("irqbalance", "irqbalance runs and avoids isolated cores")
    else:
        yield warning(
            "irqbalance",
            "irqbalance runs",
            "It moves interrupts back onto hot cores that are not isolated.",
            "sudo systemctl disable --now irqbalance",
        )


def steal(host: Host) -> Iterator[Finding]:
    """How much time does the hypervisor give to others?"""
    if not host.virtual:
        return
    shares: dict[int, float] = {}
    for line in host.text("proc/stat").splitlines():
        name, *values = line.split()
        if re.fullmatch(r"cpu[0-9]+", name) and int(name[3:]) in host.topology.allowed:
            ticks = [int(value) for value in values[:8]]
            total = sum(ticks)
            if len(ticks) == 8 and total > 0:
                shares[int(name[3:])] = ticks[7] / total
    if not shares:
        return
    worst = max(shares, key=lambda cpu: shares[cpu])
    share = shares[worst]
    if share <= STEAL_SHARE_MAX:
        yield fine("steal", f"the hypervisor took {share:.2%} of the time (steal) since the boot")
        return
    yield warning(
        "steal",
        f"the hypervisor took {share:.1%} of cpu {worst} since the boot (steal)",
        "Other guests run on the same core: the loop stands still for milliseconds, and nothing in"
        " this machine can mend it.",
        "# rent a machine with dedicated cores, or bare metal",
    )


def _hidden(host: Host, what: str) -> str:
    if host.is_container:
        return f"{what}: not visible in this container"
    if host.virtual:
        return f"{what}: the hypervisor's, not visible in this virtual machine"
    return f"{what}: this kernel shows none"


def _is(cpus: Iterable[int]) -> str:
    return "is" if len(set(cpus)) == 1 else "are"


CHECKS: Final[tuple[Check, ...]] = (
    plan,
    isolation,
    siblings,
    placement,
    quota,
    governor,
    turbo,
    idle_states,
    interrupts,
    irqbalance,
    steal,
)
