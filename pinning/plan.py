"""Which process runs on which cpu and how it waits: pure, from a topology and a list of names.

A hot process wants a physical core for itself. Where there are not enough, neighbours in the given
order share: waking a process on the same cpu is ten times cheaper than across cpus, so the hops of
one chain stay together. Isolated cores come first; among equal ones those that share a last-level
cache, then those of one NUMA node. The wait strategy follows from the result:

- ``busy_spin``: a core of its own which the scheduler leaves alone (isolated, siblings as well).
- ``park``: the cpu is shared with another planned process, or the process is cold. Spinning there
  would only keep the other one from running.
- ``spin_then_park``: everything else.

Real-time scheduling (SCHED_FIFO) is given only when it is asked for, and only where nothing is lost
by it: each hot process has a physical core of its own and another core is left for the host, which
would otherwise stand still beside a process that never gives way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from pinning.errors import PlanError
from pinning.topology import Topology

NOT_PINNED: Final = -1
REALTIME_PRIORITY: Final = 50
"""Of SCHED_FIFO: above the kernel's ksoftirqd, level with its threaded interrupts."""
Wait = Literal["busy_spin", "spin_then_park", "park"]
Scheduling = Literal["other", "fifo"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """One process: where it runs, how it waits, and why."""

    name: str
    cpu: int
    """The cpu it is pinned to."""
    wait: Wait
    reason: str
    """Why it waits so, in a few words."""
    realtime_priority: int = 0
    """SCHED_FIFO with this priority, 1 to 99; 0: the ordinary scheduling class."""


@dataclass(frozen=True, slots=True)
class CpuPlan:
    """The assignments, hot processes first, in the order in which they were asked for."""

    assignments: tuple[Assignment, ...]

    def of(self, name: str) -> Assignment:
        """The assignment of a process (KeyError: it was not planned)."""
        for assignment in self.assignments:
            if assignment.name == name:
                return assignment
        raise KeyError(name)

    def cpu(self, name: str) -> int:
        """The cpu of a process (KeyError: it was not planned)."""
        return self.of(name).cpu

    def wait(self, name: str) -> Wait:
        """The wait strategy of a process (KeyError: it was not planned)."""
        return self.of(name).wait


def make_plan(
    topology: Topology,
    hot: Sequence[str],
    cold: Sequence[str],
    requested: Sequence[int] = (),
    wait: Literal["auto"] | Wait = "auto",
    scheduling: Scheduling = "other",
) -> CpuPlan:
    """Plan the processes ``hot`` and ``cold`` on the host.

    ``requested`` are the cpus for the hot processes, in their order; empty: chosen here. More than
    there are hot processes is fine (the same settings serve every topology); the rest stays free.
    ``wait`` is ``auto`` or the one strategy that all hot processes are to use. ``scheduling``
    ``fifo`` makes the hot processes real-time ones.

    Raises:
        PlanError: a requested cpu is not there or not allowed, two hot processes would share a
            physical core although there are enough, or the wait strategy or the scheduling class
            does not fit the cpus.
    """
    _require("wait strategy", wait, ("auto", *get_args(Wait)))
    _require("scheduling class", scheduling, get_args(Scheduling))
    names = [*hot, *cold]
    if len(set(names)) != len(names):
        raise PlanError(f"a process is named twice: {', '.join(names)}")
    hot_cpus = _requested(topology, hot, requested) if requested else _chosen(topology, len(hot))
    cold_cpus = _remaining(topology, {*hot_cpus, *requested})
    places = dict(zip(hot, hot_cpus, strict=True))
    places |= {name: cold_cpus[i % len(cold_cpus)] for i, name in enumerate(cold)}
    plan = CpuPlan(
        tuple(
            Assignment(name, cpu, *_wait(topology, places, name, is_cold=name in cold))
            for name, cpu in places.items()
        )
    )
    if wait != "auto":
        plan = _with_wait(plan, places, hot, wait)
    return plan if scheduling == "other" else _with_priority(plan, topology, hot)


def _require(what: str, chosen: str, choices: Sequence[str]) -> None:
    if chosen not in choices:
        raise PlanError(
            f"{chosen!r} is not a {what}", remedy=f"Choose one of {', '.join(choices)}."
        )


def _chosen(topology: Topology, hot_count: int) -> list[int]:
    """A cpu for each hot process: the last thread of a core, undisturbed cores first.

    One core is left to cold processes and the system while there is more than one: the one with
    the lowest cpu, where most hosts handle their interrupts.
    """
    cores = _cores(topology)
    spare = [core for core in cores if not set(core) & topology.isolated][:1] or cores[:1]
    free = [core for core in cores if core not in spare] or cores
    ranked = sorted(
        free,
        key=lambda core: (
            not topology.is_undisturbed(core[-1]),
            core[-1] not in topology.nohz_full,
            -core[-1],
        ),
    )
    used = sorted(core[-1] for core in _together(topology, ranked, hot_count))
    return [used[i * len(used) // hot_count] for i in range(hot_count)]


def _together(
    topology: Topology, ranked: list[tuple[int, ...]], count: int
) -> list[tuple[int, ...]]:
    """The best ``count`` cores, or as good ones that share a cache or at least a NUMA node."""

    def worth(choice: tuple[int, list[tuple[int, ...]]]) -> tuple[int, int, int, int]:
        distance, cores = choice
        undisturbed = sum(topology.is_undisturbed(core[-1]) for core in cores)
        tickless = sum(core[-1] in topology.nohz_full for core in cores)
        return len(cores), undisturbed, tickless, -distance

    choices = [
        (distance, [core for core in ranked if core[-1] in domain][:count])
        for distance, domains in enumerate((topology.caches, topology.nodes, (topology.cpus,)))
        for domain in reversed(domains)
    ]
    return max(choices, key=worth)[1]


def _requested(topology: Topology, hot: Sequence[str], requested: Sequence[int]) -> list[int]:
    for cpu in requested:
        if cpu not in topology.allowed:
            where = "may not be used here" if cpu in topology.cpus else "is not there"
            raise PlanError(
                f"cpu {cpu} {where}: this process may use {_text(topology.allowed)}",
                remedy="Name other cpus, or widen the control group or the affinity it starts in.",
            )
    count = len(requested)
    cpus = [requested[i if count >= len(hot) else i * count // len(hot)] for i in range(len(hot))]
    cores = [{cpu, *topology.siblings(cpu)} for cpu in cpus]
    enough = len(_cores(topology)) > len(hot)
    for i in range(1, len(hot)):
        for j in range(i):
            if enough and cpus[i] in cores[j]:
                raise PlanError(
                    f"{hot[j]} on cpu {cpus[j]} and {hot[i]} on cpu {cpus[i]} "
                    f"share one physical core",
                    remedy=f"Name {len(hot)} cpus of different cores; the cores here are "
                    f"{' '.join('+'.join(map(str, core)) for core in _cores(topology))}.",
                )
    return cpus


def _remaining(topology: Topology, taken: set[int]) -> list[int]:
    """Cpus for cold processes: the fewer hot neighbours the better, isolated ones last."""
    beside = {sibling for cpu in taken for sibling in topology.siblings(cpu)}
    allowed = sorted(topology.allowed)
    for avoided in (taken | beside | topology.isolated, taken | topology.isolated, taken):
        if left := [cpu for cpu in allowed if cpu not in avoided]:
            return left
    return allowed[:1]


def _wait(
    topology: Topology, places: dict[str, int], name: str, *, is_cold: bool
) -> tuple[Wait, str]:
    cpu = places[name]
    if is_cold:
        return "park", "cold"
    if sharing := _others(places, name, {cpu}):
        return "park", f"shares cpu {cpu} with {', '.join(sharing)}"
    if beside := _others(places, name, set(topology.siblings(cpu))):
        return "spin_then_park", f"shares a physical core with {', '.join(beside)}"
    if topology.is_undisturbed(cpu):
        return "busy_spin", "an isolated core of its own"
    return "spin_then_park", f"cpu {cpu} is not isolated"


def _with_wait(plan: CpuPlan, places: dict[str, int], hot: Sequence[str], wait: Wait) -> CpuPlan:
    for assignment in plan.assignments[: len(hot)]:
        sharing = _others(places, assignment.name, {assignment.cpu})
        if wait != "park" and sharing:
            raise PlanError(
                f"{assignment.name} cannot wait by {wait}: it shares cpu {assignment.cpu} "
                f"with {', '.join(sharing)}",
                remedy='Use wait = "auto", or give each hot process a cpu of its own.',
            )
    return CpuPlan(
        tuple(
            Assignment(a.name, a.cpu, wait, "as configured") if a.name in hot else a
            for a in plan.assignments
        )
    )


def _with_priority(plan: CpuPlan, topology: Topology, hot: Sequence[str]) -> CpuPlan:
    cores = [{a.cpu, *topology.siblings(a.cpu)} for a in plan.assignments[: len(hot)]]
    taken = {cpu for core in cores for cpu in core}
    if sum(map(len, cores)) != len(taken) or not topology.allowed - taken:
        raise PlanError(
            f"real-time scheduling needs {len(hot)} physical cores for the hot processes and one"
            f" for everything else: there are {len(_cores(topology))}",
            remedy='Use scheduling = "other": a real-time process that shares a core stops the'
            " others on it.",
        )
    return CpuPlan(
        tuple(
            replace(a, realtime_priority=REALTIME_PRIORITY) if a.name in hot else a
            for a in plan.assignments
        )
    )


def _others(places: dict[str, int], name: str, cpus: set[int]) -> list[str]:
    return [other for other, cpu in places.items() if other != name and cpu in cpus]


def _cores(topology: Topology) -> list[tuple[int, ...]]:
    """Physical cores with the threads that may be used, ascending."""
    usable = [tuple(cpu for cpu in core if cpu in topology.allowed) for core in topology.cores]
    return sorted(core for core in usable if core)


def _text(cpus: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(cpus)))
