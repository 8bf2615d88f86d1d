"""The collector: one scrape reads pages, rings and cells of a running system and yields metrics.

Nothing is written and nobody is woken: a scrape loads words that the roles store anyway.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from typing import Final

import psutil
from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from hft import counters
from hft.core.permit import permit_expires_ns
from hft.counters import RoleState
from hft.graph import RINGS, cursor_index
from hft.units import NS_PER_S
from tools.metrics import names
from tools.metrics.books import book_families
from tools.metrics.buckets import coarsen
from tools.metrics.watched import View, Watched
from tools.system.notes import load_notes

UP: Final = "hft_up"


class SystemCollector(Collector):
    """Everything that is known of one system, at the moment of the scrape."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on the system, and registering must not read it."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families; without a running system only that it is not there."""
        with self._watched.view() as view:
            families = list(_families(view)) if view is not None else []
        yield gauge(UP, "1: the system is there and can be read", float(view is not None))
        yield from families


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """A gauge without labels."""
    return GaugeMetricFamily(name, text, value=value)


def _families(view: View) -> Iterator[Metric]:
    now_ns = time.monotonic_ns()
    yield from _system_families(view, now_ns)
    yield from _role_families(view, now_ns)
    yield from _counter_families(view)
    yield from _gauge_families(view, now_ns)
    yield from _histogram_families(view)
    yield from _ring_families(view)
    yield from _process_families(view)
    yield from book_families(view, now_ns)


def _system_families(view: View, now_ns: int) -> Iterator[Metric]:
    plan, status = view.plan, view.looker.look()
    settings = plan.config.system
    info = GaugeMetricFamily(
        "hft_info", "always 1; what runs", labels=("system", "mode", "topology")
    )
    info.add_metric((plan.name, settings.mode, settings.topology), 1)
    yield info
    yield gauge("hft_healthy", "1: `hft status` finds nothing wrong", float(not status.problems))
    yield gauge(
        "hft_supervised",
        "1: somebody starts dead processes again",
        float(bool(status.supervisor_pid) or not plan.is_supervised),
    )
    yield gauge("hft_halted", "1: the halt is latched", float(view.attached.halt.is_set))
    started_s = plan.started_wall_ns / NS_PER_S
    yield gauge("hft_started_timestamp_seconds", "wall clock at the start", started_s)
    permit_ns = permit_expires_ns(view.permit.value) - now_ns
    yield gauge(
        "hft_permit_remaining_seconds",
        "for so long the permit still holds; below 0: nothing may be sent",
        permit_ns / NS_PER_S,
    )
    yield gauge("hft_instruments", "instruments that are configured", len(plan.instruments))
    yield gauge("hft_weight_limit", "request weight a minute that the venue allows",
                plan.limits.weight_1m)  # fmt: skip
    yield gauge("hft_orders_10s_limit", "orders in 10 s that the venue allows",
                plan.limits.orders_10s)  # fmt: skip
    yield from _disk_families(view)


def _disk_families(view: View) -> Iterator[Metric]:
    free = GaugeMetricFamily("hft_disk_free_bytes", "free on the disk of the order journal")
    size = GaugeMetricFamily("hft_disk_size_bytes", "size of the disk of the order journal")
    try:
        usage = shutil.disk_usage(view.plan.state_dir)
    except OSError:
        pass  # it cannot be seen from here: no sample
    else:
        free.add_metric((), usage.free)
        size.add_metric((), usage.total)
    yield free
    yield size


def _role_families(view: View, now_ns: int) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "hft_role_state", "1 for the state that the role is in", labels=("role", "state")
    )
    beat = GaugeMetricFamily(
        "hft_beat_age_seconds",
        "seconds since the role's last heartbeat; absent: it never beat",
        labels=("role",),
    )
    epoch = GaugeMetricFamily(
        "hft_role_epoch", "changes whenever the role is started", labels=("role",)
    )
    for role, page in view.attached.pages.items():
        for one in RoleState:
            state.add_metric((role, one.name.lower()), float(page.state == one))
        if page.beat_ns:
            beat.add_metric((role,), max(0, now_ns - page.beat_ns) / NS_PER_S)
        epoch.add_metric((role,), page.epoch)
    yield from (state, beat, epoch)


def _counter_families(view: View) -> Iterator[Metric]:
    for spec in counters.COUNTERS:
        family = CounterMetricFamily(names.counter_name(spec), spec.meaning, labels=("role",))
        for role, page in view.attached.pages.items():
            value = page.counter(spec.id)
            if value or role in names.counter_roles(spec):
                family.add_metric((role,), value)
        yield family


def _gauge_families(view: View, now_ns: int) -> Iterator[Metric]:
    for spec in counters.GAUGES:
        family = GaugeMetricFamily(names.gauge_name(spec), names.gauge_help(spec), labels=("role",))
        for role, page in view.attached.pages.items():
            if role not in names.gauge_roles(spec):
                continue
            value = names.gauge_value(spec, page.gauge(spec.id), now_ns)
            if value is not None:
                family.add_metric((role,), value)
        yield family


def _histogram_families(view: View) -> Iterator[Metric]:
    for spec in counters.HISTOGRAMS:
        family = HistogramMetricFamily(
            names.histogram_name(spec), f"{spec.meaning}; the sum is estimated", labels=("role",)
        )
        most = GaugeMetricFamily(
            names.histogram_max_name(spec),
            f"largest since the start: {spec.meaning}",
            labels=("role",),
        )
        for role, page in view.attached.pages.items():
            if role not in names.histogram_roles(spec):
                continue
            coarse = coarsen(page.histogram(spec.id))
            family.add_metric((role,), buckets=coarse.buckets, sum_value=coarse.sum_s)
            most.add_metric((role,), page.histogram_max(spec.id) / NS_PER_S)
        yield family
        yield most


def _ring_families(view: View) -> Iterator[Metric]:
    published = CounterMetricFamily(
        "hft_ring_records", "records published in a ring", labels=("ring", "role")
    )
    capacity = GaugeMetricFamily("hft_ring_capacity", "records a ring holds", labels=("ring",))
    lag = GaugeMetricFamily(
        "hft_ring_lag",
        "records published that a reader which has to take every one has not taken",
        labels=("ring", "role"),
    )
    for ring in RINGS:
        newest_seq = view.attached.newest_seq(ring.name)
        published.add_metric((ring.name, ring.writer), newest_seq)
        capacity.add_metric((ring.name,), ring.capacity)
        for role in (*ring.gating, *ring.pollers):
            if role not in view.attached.pages:
                continue
            taken_seq = view.attached.pages[role].cursor(cursor_index(ring.name)).value
            lag.add_metric((ring.name, role), max(0, newest_seq - taken_seq))
    yield from (published, capacity, lag)
    journal_seq = view.attached.newest_seq("journal")
    copied_seq = view.attached.pages["recorder"].gauge(counters.COPIED_SEQ.id)
    yield gauge(
        "hft_journal_not_on_disk",
        "journal entries that a loss of power would take",
        max(0, journal_seq - copied_seq),
    )


def _process_families(view: View) -> Iterator[Metric]:
    labels = ("process",)
    up = GaugeMetricFamily("hft_process_up", "1: the process runs", labels=labels)
    restarts = CounterMetricFamily(
        "hft_process_restarts", "times the supervisor started the process again", labels=labels
    )
    memory = GaugeMetricFamily("hft_process_resident_bytes", "memory in use", labels=labels)
    cpu = CounterMetricFamily("hft_process_cpu_seconds", "processor time used", labels=labels)
    switches = CounterMetricFamily(
        "hft_process_involuntary_switches", "times the kernel took the core away", labels=labels
    )
    notes = load_notes(view.run_dir)
    restarts_of = {note.name: note.restarts for note in notes.processes} if notes else {}
    for process in view.plan.processes:
        name = (process.name,)
        restarts.add_metric(name, restarts_of.get(process.name, 0))
        found = _process(view.attached.pages[process.roles[0]].pid)
        up.add_metric(name, float(found is not None))
        try:
            if found is not None:
                times = found.cpu_times()
                memory.add_metric(name, found.memory_info().rss)
                cpu.add_metric(name, times.user + times.system)
                switches.add_metric(name, found.num_ctx_switches().involuntary)
        except psutil.Error:
            continue  # it has just ended: the next scrape says so
    yield from (up, restarts, memory, cpu, switches)


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid) if pid else None
    except psutil.Error:
        return None
