"""Fault injection: begins faults by command and by a seeded schedule, and keeps count.

Nothing of it is in the way while no fault is at work: the hooks of the outlet and the gate before
the handlers are set for the time of a fault only. What is decided about a fault follows from seed,
kind and its ordinal; of what it meets, the first that fits is hit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple, TypeAlias

from tools.venue.algo_desk import AlgoDesk
from tools.venue.config import FaultConfig
from tools.venue.exchange import Exchange
from tools.venue.fault_acts import VenueActs
from tools.venue.fault_frames import FrameFaults
from tools.venue.fault_kinds import KINDS, SCOPES, Choice, choose
from tools.venue.fault_ledger import Agenda, Fault, Ledger
from tools.venue.fault_links import DROPS, HALF_OPENS, LinkFaults, Links
from tools.venue.fault_requests import RequestFaults
from tools.venue.orders import OrderDesk

_FRAME_KINDS = (
    "delay_market",
    "delay_user",
    "delay_api",
    "freeze_market",
    "skip_depth",
    "duplicate_depth",
    "reorder_depth",
    "lose_user",
    "duplicate_user",
    "repeat_filled",
    "reorder_user",
)
OwnHandler: TypeAlias = Callable[[dict[str, str]], Any]


class Planned(NamedTuple):
    """One fault of the schedule."""

    at_s: float
    """Since the start."""
    kind: str
    choice: Choice


def plan(
    config: FaultConfig, kind: str, *, symbols: Sequence[str], accounts: Sequence[str]
) -> Iterator[Planned]:
    """The schedule of one kind: a Poisson process that follows from the seed alone."""
    rate_per_s = config.per_minute.get(kind, 0.0) / 60
    if not rate_per_s:
        return
    random = Random(f"{config.seed}/{kind}/schedule")
    at_s = config.from_s
    while True:
        at_s += random.expovariate(rate_per_s)
        if at_s >= config.until_s:
            return
        yield Planned(at_s, kind, choose(kind, random, {}, symbols=symbols, accounts=accounts))


class Faults:
    """All faults of one venue."""

    def __init__(
        self,
        exchange: Exchange,
        desk: OrderDesk,
        algo_desk: AlgoDesk,
        links: Callable[[], Links],
        *,
        clock_s: Callable[[], float],
    ) -> None:
        self._exchange = exchange
        self._agenda = Agenda(clock_s)
        self.ledger = Ledger()
        self._symbols = tuple(exchange.markets)
        self._accounts = tuple(exchange.accounts)
        self._frames = FrameFaults(exchange.outlet, self._agenda, self.ledger)
        self._requests = RequestFaults(exchange, desk, self._agenda, self.ledger)
        self._links = LinkFaults(links, self.ledger)
        self._acts = VenueActs(exchange, desk, algo_desk, self._links, self._agenda, self.ledger)
        self._is_quiet = True
        self._late_replies: list[Fault] = []
        exchange.faults_told = self.ledger.counts

    def start(self) -> None:
        """Begin the schedule."""
        config = self._exchange.config.faults
        self._is_quiet = not config.per_minute
        origin_s = self._agenda.clock_s()
        for kind in KINDS:
            planned = plan(config, kind, symbols=self._symbols, accounts=self._accounts)
            self._await_next(planned, origin_s)

    def turn(self) -> None:
        """Do what is due; part of every turn of the venue."""
        if self._is_quiet:
            return
        self._agenda.turn()
        self._frames.turn()
        self._requests.turn()
        self._is_quiet = self._agenda.is_empty and self._frames.is_idle and self._requests.is_idle

    def begin(self, kind: str, given: Mapping[str, str]) -> Fault:
        """Begin a fault by command.

        Raises:
            UsageError: an unknown kind or option, or a value that does not fit.
        """
        random = Random(f"{self._exchange.config.faults.seed}/{kind}/command/"
                        f"{self.ledger.begun[kind]}")  # fmt: skip
        choice = choose(kind, random, given, symbols=self._symbols, accounts=self._accounts)
        return self._begin(kind, choice)

    def endpoints(self) -> dict[tuple[str, str], OwnHandler]:
        """Method and path to handler, outside the venue's name space."""
        return {("GET", "/sim/faults"): self._tell, ("POST", "/sim/fault"): self._command}

    # Helpers.

    def _begin(self, kind: str, choice: Choice) -> Fault:
        fault = Fault(
            kind=kind,
            choice=choice,
            random=Random(f"{self._exchange.config.faults.seed}/{kind}/{self.ledger.begun[kind]}"),
            time_ms=self._exchange.clock_ms(),
            until_s=self._agenda.clock_s() + choice.seconds,
            left=choice.count,
        )
        self.ledger.begin(fault)
        self._is_quiet = False
        act = self._acts.acts.get(kind)
        if act is not None:
            act(fault)
        elif kind in DROPS or kind in HALF_OPENS:
            self._links.begin(fault)
        elif kind in _FRAME_KINDS:
            self._frames.begin(fault)
        elif kind == "delay_reply":
            self._late_replies.append(fault)
            self._exchange.outlet.reply_hook = self._on_reply
        else:
            self._requests.begin(fault)
        return fault

    def _await_next(self, planned: Iterator[Planned], origin_s: float) -> None:
        """Put the next fault of a kind on the agenda; the schedule began at ``origin_s``."""
        following = next(planned, None)
        if following is None:
            return

        def act() -> None:
            self._begin(following.kind, following.choice)
            self._await_next(planned, origin_s)

        self._agenda.at(origin_s + following.at_s, act)

    async def _on_reply(self, _path: str, status: int, body: bytes) -> tuple[int, bytes]:
        """REST replies are late."""
        now_s = self._agenda.clock_s()
        self._late_replies = [fault for fault in self._late_replies if not fault.is_over(now_s)]
        if not self._late_replies:
            self._exchange.outlet.reply_hook = None
            return status, body
        for fault in self._late_replies:
            self.ledger.hit(fault)
        await asyncio.sleep(max(f.choice.milliseconds for f in self._late_replies) / 1000)
        return status, body

    def _command(self, params: dict[str, str]) -> Any:
        given = dict(params)
        kind = given.pop("kind", "")
        fault = self.begin(kind, given)
        return {"kind": kind, "symbol": fault.choice.symbol, "hits": fault.hits}

    def _tell(self, _params: dict[str, str]) -> Any:
        counts = self.ledger.counts()
        return {
            "kinds": {
                name: {
                    "text": kind.text,
                    "seconds": kind.seconds,
                    "milliseconds": kind.milliseconds,
                    "takes_symbol": kind.takes_symbol,
                    **counts.get(name, {"begun": 0, "hits": 0}),
                }
                for name, kind in KINDS.items()
            },
            "scopes": {name: scope.text for name, scope in SCOPES.items()},
            "injected": self.ledger.rows(),
        }
