"""The venue's misbehaviour: a seeded schedule of commands to the simulator, sent while it runs."""

from __future__ import annotations

import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Final, NamedTuple

import msgspec

from hft.units import NS_PER_S
from tools.venue.fault_kinds import KINDS

HTTP_S_MAX: Final = 10.0
INCIDENTS: Final = ("liquidation", "auto_deleveraging", "foreign_order", "foreign_trade")
"""By design these stop trading until an operator arms the system again: one at a time."""
INCIDENT_EVERY_S: Final = 24.0
HEAVY: Final = (
    "ban",
    "rate_limit",
    "restart",
    "restart_resetting_ids",
    "restart_losing_orders",
    "half_open_market",
    "half_open_user",
    "half_open_api",
    "expire_listen_key",
    "expire_listen_key_silently",
    "halt",
    "clock_offset",
    "tick_size",
)
"""The system needs seconds to come back from these."""
HEAVY_EVERY_S: Final = 75.0
LIGHT_EVERY_S: Final = 42.0
CUTS_OFF: Final = frozenset({
    *HEAVY, *INCIDENTS, "drop_market", "drop_user", "drop_api", "overload", "freeze_market",
    "delay_reply", "delay_api", "delay_user", "bad_timestamp",
})  # fmt: skip
"""While these are at work nobody recovers as fast as he could."""
AFTERMATH_S: Final = 3.0


class Planned(NamedTuple):
    """One fault of the schedule."""

    at_s: float
    """Since the schedule began."""
    kind: str


class Begun(NamedTuple):
    """One fault that was begun."""

    kind: str
    symbol: str
    """Empty: none in particular."""
    begun_ns: int
    seconds: float
    """How long it lasts, as asked for."""


class _Reply(msgspec.Struct):
    symbol: str = ""


class _Counts(msgspec.Struct):
    begun: int = 0
    hits: int = 0


class _Faults(msgspec.Struct):
    kinds: dict[str, _Counts]


class FaultCounts(msgspec.Struct, frozen=True, kw_only=True):
    """One kind: how often it was begun, and what it met."""

    begun: int
    hits: int


def plan(seed: int, seconds: float, kinds: Sequence[str]) -> tuple[Planned, ...]:
    """The schedule of a run: each kind in turns of its own, at a drawn moment of each turn."""
    found = []
    for kind in kinds:
        if kind not in INCIDENTS:
            every_s = HEAVY_EVERY_S if kind in HEAVY else LIGHT_EVERY_S
            found += [Planned(at_s, kind) for at_s in _turns(seed, kind, every_s, seconds)]
    incidents = [kind for kind in INCIDENTS if kind in kinds]
    random = Random(f"{seed}/incidents")
    bag: list[str] = []
    at_s = INCIDENT_EVERY_S / 4
    while incidents and at_s < seconds:
        bag = bag or random.sample(incidents, len(incidents))
        found.append(Planned(at_s, bag.pop()))
        at_s += INCIDENT_EVERY_S
    return tuple(sorted(found))


def _turns(seed: int, kind: str, every_s: float, seconds: float) -> Iterator[float]:
    """A kind comes once in each turn; where in a turn is drawn each time."""
    random = Random(f"{seed}/{kind}")
    turn = 0
    while turn * every_s < seconds:
        at_s = (turn + random.random()) * every_s
        if at_s < seconds:
            yield at_s
        turn += 1


def seconds_of(kind: str, random: Random) -> float:
    """How long a fault lasts; the simulator is told, so that the harness knows it too."""
    return round(random.uniform(*KINDS[kind].seconds), 3)


class VenueFaults:
    """Sends the schedule from a thread of its own; the simulator may take its time to answer."""

    def __init__(self, rest_url: str, seed: int, seconds: float, kinds: Sequence[str]) -> None:
        self._rest_url = rest_url
        self._planned = plan(seed, seconds, kinds)
        self._random = Random(f"{seed}/seconds")
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.begun: list[Begun] = []
        self.errors: list[str] = []

    def start(self) -> None:
        """The clock of the schedule begins."""
        self._thread.start()

    def end(self) -> None:
        """No fault is begun after this."""
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join()

    def begin(self, kind: str, *, seconds: float | None = None, symbol: str = "") -> None:
        """Begin one fault now."""
        length_s = seconds_of(kind, self._random) if seconds is None else seconds
        options = {"kind": kind, "seconds": f"{length_s:g}"}
        if symbol:
            options["symbol"] = symbol
        begun_ns = time.monotonic_ns()
        try:
            body = _call(self._rest_url, f"/sim/fault?{urllib.parse.urlencode(options)}", "POST")
        except OSError as error:
            self.errors.append(f"{kind}: {error}")
            return
        reply = msgspec.json.decode(body, type=_Reply)
        self.begun.append(Begun(kind, reply.symbol, begun_ns, length_s))

    def _run(self) -> None:
        origin_s = time.monotonic()
        for planned in self._planned:
            if self._ends.wait(max(0.0, origin_s + planned.at_s - time.monotonic())):
                return
            self.begin(planned.kind)

    def counts(self) -> Mapping[str, FaultCounts]:
        """What the simulator counted of every kind that was begun."""
        faults = msgspec.json.decode(_call(self._rest_url, "/sim/faults", "GET"), type=_Faults)
        return {
            kind: FaultCounts(begun=count.begun, hits=count.hits)
            for kind, count in sorted(faults.kinds.items())
            if count.begun
        }

    def cut_off(self, since_ns: int, until_ns: int) -> bool:
        """Whether the venue kept anybody from recovering in that time."""
        return any(
            fault.kind in CUTS_OFF
            and fault.begun_ns < until_ns
            and fault.begun_ns + (fault.seconds + AFTERMATH_S) * NS_PER_S > since_ns
            for fault in self.begun
        )


def _call(rest_url: str, path: str, method: str) -> bytes:
    request = urllib.request.Request(rest_url + path, method=method)
    with urllib.request.urlopen(request, timeout=HTTP_S_MAX) as response:
        body: bytes = response.read()
    return body
