"""From stamps to figures: what was lost, how old it was when it was published, what waited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hft.counters import TICK_TO_TRADE_NS
from hft.units import NS_PER_MS, NS_PER_S, NS_PER_US
from tools.bench.load.observe import Counts, Published
from tools.bench.load.venue import Course, Sent
from tools.bench.result import Target
from tools.bench.t2t.load import Usage
from tools.bench.t2t.pairing import Paired
from tools.latency.drawing import duration
from tools.latency.hops import Hop

Numbers = npt.NDArray[np.int64]

QUANTILES: Final = (0.5, 0.99, 0.999)
SIXTH: Final = 6
"""The first and the last part of a course are compared: of 60 s, 10 s each."""
GROWTH_MAX: Final = 2.0
"""Times the frames under way in the first part, beyond the tolerance, that the last may have."""
TOLERANCE_NS: Final = 2 * NS_PER_MS
"""As many frames as come in this time may always be under way: the machine has hiccups."""
LOOK_NS: Final = NS_PER_MS
RATE_MIN: Final = 0.99
AGE_P99_US_MAX: Final = 5_000


class Spread(NamedTuple):
    """Percentiles, ns."""

    p50: float
    p99: float
    p999: float
    max: float
    n: int


class Second(NamedTuple):
    """One second of the course."""

    frames: int
    """Tickers that were written in it."""
    age: Spread | None
    """Of those, from write to record; None: none of them became one."""
    waiting_mean: float
    """Tickers that were written and not yet published, looked at each millisecond."""
    waiting_max: int


class Cpu(NamedTuple):
    """Of the processes that a tick waits for, shares of one core."""

    user: float
    system: float


class Outcome(NamedTuple):
    """One run."""

    course: Course
    sent: Sent
    counts: Counts
    """Of the course; ``frames`` since the feed's start."""
    unpublished: int
    """Tickers that never became a record, those aside that the observer may have missed."""
    unseen: int
    age: Spread | None
    late: Spread
    rate_per_s: float
    """Frames as they were written."""
    seconds: tuple[Second, ...]
    waiting_first: float
    waiting_last: float
    """Mean of the first and the last sixth."""
    answers: Paired
    cpu: Cpu
    cold: Usage
    hops: tuple[Hop, ...]

    @property
    def lost(self) -> int:
        """Frames of any kind that were written to the system and not read by it."""
        return self.sent.frames_ever - self.counts.frames

    @property
    def waiting_limit(self) -> float:
        """Mean of the last sixth above which more and more was waiting."""
        tolerance = self.course.rate_per_s * TOLERANCE_NS / NS_PER_S
        return max(GROWTH_MAX * self.waiting_first, tolerance)


def reduce(
    course: Course,
    sent: Sent,
    published: Published,
    counts: Counts,
    answers: Paired,
    cpu: Cpu,
    cold: Usage,
    hops: tuple[Hop, ...],
) -> Outcome:
    """Bring together what the venue and the observer saw."""
    publish_ns = _publish_times(sent, published)
    is_published = publish_ns > 0
    ages_ns = (publish_ns - sent.write_ns)[is_published]
    seconds = _seconds(sent.write_ns, publish_ns)
    part = max(1, len(seconds) // SIXTH)
    took_s = int(sent.write_ns[-1] - sent.write_ns[0]) / NS_PER_S
    return Outcome(
        course=course,
        sent=sent,
        counts=counts,
        unpublished=max(0, int((~is_published).sum()) - published.unseen),
        unseen=published.unseen,
        age=spread(ages_ns),
        late=spread(sent.late_ns) or Spread(0, 0, 0, 0, 0),
        rate_per_s=sent.frames / took_s if took_s else 0.0,
        seconds=seconds,
        waiting_first=float(np.mean([one.waiting_mean for one in seconds[:part]])),
        waiting_last=float(np.mean([one.waiting_mean for one in seconds[-part:]])),
        answers=answers,
        cpu=cpu,
        cold=cold,
        hops=hops,
    )


def _publish_times(sent: Sent, published: Published) -> Numbers:
    """When each ticker became a record; 0: never seen."""
    times_ns = np.zeros(len(sent.write_ns), np.int64)
    numbers = published.venue_seq.astype(np.int64) - sent.first_id
    is_ours = (numbers >= 0) & (numbers < len(times_ns))
    times_ns[numbers[is_ours]] = published.publish_ns[is_ours]
    return times_ns


def _seconds(write_ns: Numbers, publish_ns: Numbers) -> tuple[Second, ...]:
    """Second by second, from the first write on; a last one that is not whole is left out.

    What never became a record waits for nothing: it is lost, or was not seen.
    """
    begin_ns, end_ns = int(write_ns[0]), int(write_ns[-1])
    is_shown = publish_ns > 0
    sent_ns, shown_ns = write_ns[is_shown], np.sort(publish_ns[is_shown])
    found = []
    for start_ns in range(begin_ns, max(begin_ns + 1, end_ns - NS_PER_S // 2), NS_PER_S):
        of_it = (write_ns >= start_ns) & (write_ns < start_ns + NS_PER_S)
        looks_ns = np.arange(start_ns, min(start_ns + NS_PER_S, end_ns + 1), LOOK_NS)
        written = np.searchsorted(sent_ns, looks_ns, side="right")
        waiting = written - np.searchsorted(shown_ns, looks_ns, side="right")
        ages_ns = (publish_ns - write_ns)[of_it & is_shown]
        mean, most = float(waiting.mean()), int(waiting.max())
        found.append(Second(int(of_it.sum()), spread(ages_ns), mean, most))
    return tuple(found)


def spread(samples_ns: Numbers) -> Spread | None:
    """Percentiles; None of no samples."""
    if not len(samples_ns):
        return None
    p50, p99, p999 = np.quantile(samples_ns, QUANTILES, method="inverted_cdf").tolist()
    return Spread(p50, p99, p999, float(samples_ns.max()), len(samples_ns))


def targets(outcome: Outcome) -> list[Target]:
    """What has to hold."""
    wrong = outcome.answers.missed + outcome.answers.doubled + outcome.answers.strays
    rate = outcome.rate_per_s / outcome.course.rate_per_s
    age_us = None if outcome.age is None else outcome.age.p99 / NS_PER_US
    return [
        Target("frames lost", outcome.lost, 0, True, ""),
        Target("tickers without a record", outcome.unpublished, 0, True, ""),
        Target("under way in the last sixth", outcome.waiting_last, outcome.waiting_limit, True,
               ""),
        Target("rate that was reached", rate, RATE_MIN, False, "x"),
        Target("feed age p99", age_us, AGE_P99_US_MAX, True, " us"),
        Target("triggers missed or answered twice", wrong, 0, True, ""),
        Target("faults", sum(outcome.counts.faults.values()), 0, True, ""),
    ]  # fmt: skip


def document(outcome: Outcome) -> dict[str, Any]:
    """For ``--json``."""
    sent, counts = outcome.sent, outcome.counts
    return {
        "course": outcome.course._asdict(),
        "frames_sent": sent.frames,
        "depth_frames_sent": sent.depths,
        "frames_sent_ever": sent.frames_ever,
        "frames_received_ever": counts.frames,
        "frames_lost": outcome.lost,
        "tickers_unpublished": outcome.unpublished,
        "records_unseen": outcome.unseen,
        "records_published": counts.records,
        "rate_per_s": outcome.rate_per_s,
        "late_ns": outcome.late._asdict(),
        "socket_waits": sent.waits,
        "age_ns": outcome.age and outcome.age._asdict(),
        "waiting_first": outcome.waiting_first,
        "waiting_last": outcome.waiting_last,
        "waiting_limit": outcome.waiting_limit,
        "seconds": [
            {**one._asdict(), "age": one.age and one.age._asdict()} for one in outcome.seconds
        ],
        "orders": {
            "answered": len(outcome.answers.latency_ns),
            "missed": outcome.answers.missed,
            "doubled": outcome.answers.doubled,
            "strays": outcome.answers.strays,
            "latency_ns": _as_dict(spread(np.array(outcome.answers.latency_ns, np.int64))),
        },
        "violations": sent.violations,
        "rehearsals": counts.rehearsals,
        "faults": counts.faults,
        "hot_cpu": outcome.cpu._asdict(),
        "cold_usage": outcome.cold._asdict(),
        "hops": [
            {
                "name": hop.name,
                "count": hop.total,
                "p50": hop.percentile_ns(0.5),
                "p99": hop.percentile_ns(0.99),
                "max": hop.max_ns,
            }
            for hop in outcome.hops
        ],
    }


def _as_dict(found: Spread | None) -> dict[str, Any] | None:
    return found and found._asdict()


# -- as text ------------------------------------------------------------------------------------


def table(outcome: Outcome) -> list[str]:
    """The figures."""
    course, sent, counts = outcome.course, outcome.sent, outcome.counts
    seconds = max(1, course.seconds)
    orders = spread(np.array(outcome.answers.latency_ns, np.int64))
    own = next((hop for hop in outcome.hops if hop.name == TICK_TO_TRADE_NS.name), None)
    faults = ", ".join(f"{name} {count}" for name, count in counts.faults.items() if count)
    return [
        f"{'frames sent':34}{sent.frames:>12,}   {sent.depths:,} of them depth events",
        f"{'frames a second':34}{outcome.rate_per_s:>12,.0f}",
        f"{'frames received':34}{counts.frames:>12,}   of {sent.frames_ever:,} since the start",
        f"{'frames lost':34}{outcome.lost:>12,}",
        f"{'tickers without a record':34}{outcome.unpublished:>12,}"
        + (f"   {outcome.unseen:,} that nobody looked at" if outcome.unseen else ""),
        f"{'records published':34}{counts.records:>12,}",
        f"{'rehearsals':34}{counts.rehearsals:>12,}   {counts.rehearsals / seconds:.1f} a second",
        f"{'faults':34}{sum(counts.faults.values()):>12,}   {faults}",
        f"{'socket was full':34}{sent.waits:>12,}",
        f"{'hot processes, of a core':34}{sum(outcome.cpu):>11.0%}   "
        f"{outcome.cpu.user:.0%} user, {outcome.cpu.system:.0%} system",
        f"{'cold processes, of a core':34}{outcome.cold.cpu_share:>11.0%}",
        "",
        f"{'':34}{'p50':>10}{'p99':>10}{'p99.9':>10}{'max':>10}{'n':>12}",
        _row("venue's write to record published", outcome.age),
        _row("venue's write to its read of orders", orders),
        *([_hop_row("  frame read to order on the wire", own)] if own else []),
        _row("venue's writes behind its plan", outcome.late),
        "",
        *_progress(outcome),
    ]


def _progress(outcome: Outcome) -> list[str]:
    """The course in up to twelve lines: a growing backlog is seen in them."""
    lines = [f"{'second':>8}{'tickers':>10}{'under way':>11}{'most':>8}{'age p50':>10}{'p99':>10}"
             f"{'max':>10}"]  # fmt: skip
    every = max(1, -(-len(outcome.seconds) // 12))
    for index in range(0, len(outcome.seconds), every):
        part = outcome.seconds[index : index + every]
        ages = [one.age for one in part if one.age is not None]
        waiting = sum(one.waiting_mean for one in part) / len(part)
        text = "".join(f"{duration(value):>10}" for value in _middle(ages)) if ages else ""
        lines.append(
            f"{index:>8}{sum(one.frames for one in part):>10,}{waiting:>11.1f}"
            f"{max(one.waiting_max for one in part):>8,}{text}"
        )
    lines.append(
        f"under way, mean of the first sixth {outcome.waiting_first:.1f}, of the last "
        f"{outcome.waiting_last:.1f} (at most {outcome.waiting_limit:.0f})"
    )
    return lines


def _middle(ages: Sequence[Spread]) -> tuple[float, float, float]:
    return (
        float(np.median([one.p50 for one in ages])),
        max(one.p99 for one in ages),
        max(one.max for one in ages),
    )


def _row(text: str, found: Spread | None) -> str:
    if found is None:
        return f"{text:34}{'none':>10}"
    times = "".join(f"{duration(value):>10}" for value in found[:4])
    return f"{text:34}{times}{found.n:>12,}"


def _hop_row(text: str, hop: Hop) -> str:
    times = (*(hop.percentile_ns(share) for share in QUANTILES), hop.max_ns)
    return f"{text:34}{''.join(f'{duration(value):>10}' for value in times)}{hop.total:>12,}"
