"""Invariants of rings and time: nothing torn, nothing sent that the moment forbids."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from hft.records import JournalKind
from hft.units import NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.order_text import client_order_id, parse_client_order_id
from tools.chaos.evidence import TERMINAL, Check, Evidence, entries
from tools.chaos.venue_faults import Begun

SEND_NS: Final = 100 * NS_PER_MS
"""One send by a process that shares two cores with all others."""
ARRIVAL_NS: Final = 2 * NS_PER_MS
"""The venue's time has milliseconds, and its clock follows ours by slewing."""
CLOCK_STEP_NS: Final = 6 * NS_PER_S
"""Around a step of the venue's clock times of both sides cannot be compared."""
SILENCE_NS: Final = 300 * NS_PER_MS
"""From the last frame of a silenced stream to the last order that it may cause: what was on its
way at the moment of the command, and one look at the age of the data."""
ALONE_NS: Final = 5 * NS_PER_S
"""The aftermath of other faults and strikes."""
BANNED: Final = "banned"
NOTICE_NS: Final = 50 * NS_PER_MS
"""From the first 418 to all our processes knowing of it."""
RETURN_NS: Final = 3 * NS_PER_S
"""From the death of the one who was told to the first request of its successor."""


def _contiguous(evidence: Evidence) -> tuple[int, Iterator[str]]:
    rings = {
        "intents.strategy": evidence.intents,
        "intents.manual": evidence.manual,
        "decisions": evidence.decisions,
        "journal": evidence.journal,
        "executions": evidence.executions,
        "executions.paper": evidence.paper,
    }

    def troubles() -> Iterator[str]:
        for name, rows in rings.items():
            if evidence.lost.get(name) or not len(rows):
                continue
            steps = np.diff(rows["seq"].astype(np.int64))
            for index in np.flatnonzero(steps != 1):
                yield f"{name}: {rows['seq'][index + 1]} follows {rows['seq'][index]}"

    return sum(len(rows) for rows in rings.values()), troubles()


def _undamaged(evidence: Evidence) -> tuple[int, Iterator[str]]:
    rows = evidence.journal

    def troubles() -> Iterator[str]:
        for row in rows:
            raw = row.tobytes()
            if zlib.crc32(raw[120:], zlib.crc32(raw[16:116])) != row["crc"]:
                yield f"journal {row['seq']} is damaged"

    return len(rows), troubles()


def _judged_ns(evidence: Evidence) -> dict[int, int]:
    decisions = evidence.decisions
    return dict(zip(decisions["seq"].tolist(), decisions["judge_ns"].tolist(), strict=True))


def _sends(evidence: Evidence) -> list[tuple[int, int, int]]:
    """Decision, time of its judgement and of its journal entry, of each order sent."""
    judged_ns, places = _judged_ns(evidence), evidence.places
    return [
        (seq, judged_ns[seq], sent_ns)
        for seq, sent_ns in zip(
            places["cause_seq"].tolist(), places["publish_ns"].tolist(), strict=True
        )
        if seq in judged_ns
    ]


def _fenced(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """No order that a dead risk approved goes out once its permit is over.

    A process that stands still between its last look and the journal may send one order when it
    goes on: the venue refuses it once the receive window is over.
    """
    timing = evidence.timing
    deaths = [death.died_ns for death in timing.deaths if death.role == "risk"]
    sends = _sends(evidence)

    def troubles() -> Iterator[str]:
        for died_ns in deaths:
            until_ns = died_ns + timing.permit_ns + SEND_NS
            for seq, judged_ns, sent_ns in sends:
                is_late = judged_ns < died_ns and sent_ns > until_ns
                if is_late and not _stood_still(evidence, sent_ns):
                    late_ms = (sent_ns - died_ns) // NS_PER_MS
                    yield f"decision {seq} was sent {late_ms} ms after its risk had died"

    return len(deaths), troubles()


def _stood_still(evidence: Evidence, sent_ns: int) -> bool:
    """Whether execution was held, and let go, just before."""
    return any(
        "execution" in pause.roles and pause.since_ns < sent_ns < pause.until_ns + SEND_NS
        for pause in evidence.timing.pauses
    )


def _before(evidence: Evidence, at_ns: int) -> str:
    """What befell the feed last, for whoever looks for the cause."""
    timing = evidence.timing
    events = [(death.died_ns, "died") for death in timing.deaths if death.role == "feed"]
    events += [(pause.until_ns, "went on") for pause in timing.pauses if "feed" in pause.roles]
    past = [(when_ns, what) for when_ns, what in events if when_ns < at_ns]
    if not past:
        return "the feed never died nor stood still"
    when_ns, what = max(past)
    return f"the feed {what} {(at_ns - when_ns) // NS_PER_MS} ms before"


def _looked(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Who stood still before his last look for longer than a permit holds sends nothing of before.

    Here it is known where the process stood: there is no allowance.
    """
    frozen = evidence.timing.frozen_at_fence
    sends = _sends(evidence)

    def troubles() -> Iterator[str]:
        for pause in frozen:
            for seq, judged_ns, sent_ns in sends:
                if judged_ns < pause.since_ns < pause.until_ns < sent_ns:
                    late_ms = (sent_ns - judged_ns) // NS_PER_MS
                    yield f"decision {seq} was sent {late_ms} ms old, its permit long over"

    return len(frozen), troubles()


def _written_first(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """The journal entry of every order is older than its arrival at the venue."""
    places = evidence.places
    offset_ns = evidence.timing.wall_offset_ns
    written_ns = dict(zip(places["order_id"].tolist(), places["publish_ns"].tolist(), strict=True))
    steps = [fault.begun_ns for fault in evidence.timing.faults if fault.kind == "clock_offset"]
    pairs = [
        (order.client_order_id, order.created * NS_PER_MS - offset_ns, written_ns[number])
        for order in evidence.books.orders
        if (number := parse_client_order_id(order.client_order_id)) in written_ns and order.created
    ]

    def troubles() -> Iterator[str]:
        for name, arrived_ns, since_ns in pairs:
            if arrived_ns + ARRIVAL_NS < since_ns and not any(
                abs(step_ns - since_ns) < CLOCK_STEP_NS + NS_PER_S * 5 for step_ns in steps
            ):
                early_ms = (since_ns - arrived_ns) // NS_PER_MS
                yield f"{name} was at the venue {early_ms} ms before it was in the journal"

    return len(pairs), troubles()


def _silent(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """No order is placed on an instrument whose market data has fallen silent."""
    timing = evidence.timing
    silences = [
        (
            evidence.instruments.get(fault.symbol, 0),
            fault.begun_ns + timing.stale_ns + SILENCE_NS,
            fault.begun_ns + int(fault.seconds * NS_PER_S),
        )
        for fault in timing.faults
        if fault.kind == "freeze_market" and fault.symbol
    ]
    places = evidence.places
    instruments, times_ns = places["instrument_id"], places["publish_ns"]

    def troubles() -> Iterator[str]:
        for instrument_id, since_ns, until_ns in silences:
            late = (instruments == instrument_id) & (times_ns > since_ns) & (times_ns < until_ns)
            for row in places[late]:
                placed_ns = int(row["publish_ns"])
                if not _stood_still(evidence, placed_ns):
                    silent_ms = (placed_ns - since_ns + SILENCE_NS + timing.stale_ns) // NS_PER_MS
                    symbol = evidence.symbols[instrument_id]
                    yield (
                        f"journal {row['seq']}: {symbol} had no market data for {silent_ms} ms,"
                        f" {_before(evidence, placed_ns)}"
                    )

    return len(silences), troubles()


def _pulled(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """What rests on an instrument whose market data has fallen silent is cancelled.

    Looked at where nothing else went wrong meanwhile: who is dead or cut off cancels later.
    """
    timing = evidence.timing
    silences = [
        (fault, fault.begun_ns + timing.pull_ns + SILENCE_NS)
        for fault in timing.faults
        if fault.kind == "freeze_market"
        and fault.seconds * NS_PER_S > timing.pull_ns + 2 * SILENCE_NS
        and _is_alone(evidence, fault)
    ]
    places, executions = evidence.places, evidence.executions
    cancels = entries(evidence.journal, JournalKind.CANCEL)
    ends = executions[executions["order_state"] >= TERMINAL]
    ended_ns: dict[int, int] = {}
    for rows in (cancels, ends):
        for number, at_ns in zip(
            rows["order_id"].tolist(), rows["publish_ns"].tolist(), strict=True
        ):
            ended_ns[number] = min(at_ns, ended_ns.get(number, at_ns))

    def troubles() -> Iterator[str]:
        for fault, until_ns in silences:
            of_symbol = places["instrument_id"] == evidence.instruments.get(fault.symbol, 0)
            for row in places[of_symbol & (places["publish_ns"] < until_ns)]:
                number = int(row["order_id"])
                if ended_ns.get(number, until_ns + 1) > until_ns:
                    seconds = (until_ns - fault.begun_ns) / NS_PER_S
                    name = client_order_id(number)
                    yield f"{name} rests {seconds:.1f} s after {fault.symbol} fell silent"

    return len(silences), troubles()


def _is_alone(evidence: Evidence, fault: Begun) -> bool:
    """Whether nobody was struck, and the venue did nothing else, around a fault."""
    since_ns = fault.begun_ns - ALONE_NS
    until_ns = fault.begun_ns + int(fault.seconds * NS_PER_S)
    timing = evidence.timing
    others = [other.begun_ns for other in timing.faults if other.kind != fault.kind]
    struck = [death.died_ns for death in timing.deaths]
    struck += [pause.since_ns for pause in timing.pauses]
    return not any(since_ns < at_ns < until_ns for at_ns in (*others, *struck))


def _banned(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Once one of us was told of a ban, nobody asks for anything until it ends."""
    complaints = [one for one in evidence.books.complaints if one.kind == BANNED]

    def troubles() -> Iterator[str]:
        for one in complaints:
            told_ns = _told_ns(evidence, one.time_ns)
            if not _could_not_know(evidence, told_ns, one.time_ns):
                late_ms = (one.time_ns - told_ns) // NS_PER_MS
                yield f"{one.endpoint} {late_ms} ms after the ban was told, by {one.client}"

    return len(evidence.books.bans), troubles()


def _told_ns(evidence: Evidence, at_ns: int) -> int:
    """When the ban that held at a time was told, 0: nobody was."""
    return max((ban.told_ns or 0 for ban in evidence.books.bans if ban.from_ns <= at_ns), default=0)


def _could_not_know(evidence: Evidence, told_ns: int, at_ns: int) -> bool:
    """Whether the one who was told stood still or died over it, or the one who asked stood still.

    Between its last look and its request a process can be stopped, and nobody can tell it then.
    """
    for pause in evidence.timing.pauses:
        stands = pause.since_ns < told_ns + NOTICE_NS and told_ns < pause.until_ns + SEND_NS
        if stands and at_ns < pause.until_ns + SEND_NS:
            return True
        if pause.since_ns < at_ns < pause.until_ns + SEND_NS:
            return True
    return any(
        told_ns - SEND_NS < death.died_ns < told_ns + NOTICE_NS and at_ns < told_ns + RETURN_NS
        for death in evidence.timing.deaths
    )


def _ruly(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Every rule of the venue is kept: limits, signatures, ids."""
    counts = Counter((one.kind, one.detail) for one in evidence.books.complaints)
    troubles = (
        f"{kind}, {n} times: {detail}" for (kind, detail), n in counts.items() if kind != BANNED
    )
    return len(evidence.books.orders), troubles


CHECKS: Final[Mapping[str, Check]] = {
    "sequences without gaps": _contiguous,
    "journal undamaged": _undamaged,
    "journal before the wire": _written_first,
    "nothing sent for a dead risk": _fenced,
    "nothing sent on an old look": _looked,
    "nothing placed on a silent book": _silent,
    "nothing rests on a silent book": _pulled,
    "no request while banned": _banned,
    "the venue's rules kept": _ruly,
}
