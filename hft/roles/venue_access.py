"""How roles reach the venue: one address, one ban, one budget, whoever of them is told.

What the venue forbids stands in the page of the role that heard of it and holds for all; it
outlives that role, and in a file of the state directory it outlives the system.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from hft import counters
from hft.config import VenueConfig
from hft.roles.context import Context
from hft.units import NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.limits import BAN_MARGIN_NS, AddressLimits
from hft.venues.binance_usdm.link import OnState, SessionState
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.signing import Credentials

VENUE_ROLES: Final = ("feed", "execution", "account")
"""Who talks to the venue."""
BAN_FILE: Final = "venue_ban.json"
HTTP_BANNED: Final = 418
HTTP_PAUSED: Final = (403, 429)
REST: Final = "rest"
"""One of the ways to the venue; the others are sessions."""


class BanNote(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of the ban file."""

    rest_url: str
    """The venue that banned us: another one knows nothing of it."""
    until_ms: int
    """Wall clock of this host: the monotonic one begins anew with each boot."""


def load_ban_ns(state_dir: Path, venue: VenueConfig) -> int:
    """Monotonic end of the ban that an earlier run was told of; 0: none."""
    try:
        note = msgspec.json.decode((state_dir / BAN_FILE).read_bytes(), type=BanNote)
    except (OSError, msgspec.DecodeError):
        return 0
    if note.rest_url != venue.rest_url:
        return 0
    left_ns = note.until_ms * NS_PER_MS - time.time_ns()
    return time.monotonic_ns() + left_ns if left_ns > 0 else 0


def save_ban(state_dir: Path, venue: VenueConfig, until_ns: int) -> None:
    """Note a ban for whoever starts before its monotonic end; a full disk loses the note."""
    path = state_dir / BAN_FILE
    until_ms = _ms_after(time.time_ns() + until_ns - time.monotonic_ns())
    draft = path.with_suffix(".new")
    with contextlib.suppress(OSError):
        state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        draft.write_bytes(msgspec.json.encode(BanNote(rest_url=venue.rest_url, until_ms=until_ms)))
        draft.replace(path)


class SavedLimits(AddressLimits):
    """Limits for tools that run beside or before the roles: a ban is read from and kept in a file.

    A ban is nothing that a new start makes undone.
    """

    def __init__(self, state_dir: Path, venue: VenueConfig) -> None:
        super().__init__()
        self._state_dir = state_dir
        self._venue = venue
        self.banned_until_ns = load_ban_ns(state_dir, venue)

    def note_ban(self, until_ns: int) -> None:
        """As in ``Limits``."""
        if until_ns > self.banned_until_ns:
            super().note_ban(until_ns)
            save_ban(self._state_dir, self._venue, until_ns)


class VenueLimits:
    """Limits that the roles of a system share through their pages.

    Each role writes its own page only. Reading them all costs one or two microseconds.
    """

    def __init__(self, context: Context) -> None:
        self._own = context.page
        self._pages = [context.page_of(role) for role in VENUE_ROLES]
        self._clock = context.page_of("execution")
        self._state_dir = Path(context.plan.state_dir)
        self._venue = context.config.venue
        self._unmeasured_ns = context.config.preflight.clock_offset_ms_max * NS_PER_MS
        self._closed: set[str] = set()

    @property
    def banned_until_ns(self) -> int:
        """As in ``Limits``."""
        return self._latest(counters.BANNED_UNTIL_MS)

    @property
    def paused_until_ns(self) -> int:
        """As in ``Limits``."""
        return self._latest(counters.PAUSED_UNTIL_MS)

    def note_ban(self, until_ns: int) -> None:
        """As in ``Limits``."""
        if self._raise(counters.BANNED_UNTIL_MS, until_ns):
            save_ban(self._state_dir, self._venue, until_ns)

    def note_pause(self, until_ns: int) -> None:
        """As in ``Limits``."""
        self._raise(counters.PAUSED_UNTIL_MS, until_ns)

    def note_access(self, *, is_open: bool) -> None:
        """As in ``Limits``."""
        self._note(REST, is_open=is_open)

    def note_weight(self, used: int) -> None:
        """As in ``Limits``."""
        self._own.set_gauge(counters.USED_WEIGHT.id, used)

    @property
    def clock(self) -> tuple[int, int]:
        """The venue's wall clock minus ours as execution measured it, and how wrong it may be, ns.

        Until it has measured, what the preflight demanded of the host's clock is all we know.
        """
        offset_ns = self._clock.gauge(counters.CLOCK_OFFSET_NS.id)
        return (offset_ns, 0) if offset_ns else (0, self._unmeasured_ns)

    def ban_wait_s(self) -> float:
        """How long nothing may be sent, nor a connection be opened; 0: no ban holds."""
        return max(0, self.banned_until_ns - time.monotonic_ns()) / NS_PER_S

    def may_connect(self, name: str) -> Callable[[], float]:
        """For a session called ``name``: seconds to wait before it connects; 0: go."""

        def wait_s() -> float:
            seconds = self.ban_wait_s()
            if seconds:
                self._note(name, is_open=False)
            return seconds

        return wait_s

    def on_refused(self, status: int, wait_s: float) -> None:
        """A WebSocket handshake was answered with an HTTP error and may be tried after a while."""
        until_ns = time.monotonic_ns() + int(wait_s * NS_PER_S)
        if status == HTTP_BANNED:
            self.note_ban(until_ns + BAN_MARGIN_NS)
        elif status in HTTP_PAUSED:
            self.note_pause(until_ns)

    def watched(self, name: str, on_state: OnState) -> OnState:
        """``on_state`` of a session called ``name``: while it is down, the role waits for it."""

        def noted(state: SessionState, detail: str) -> None:
            self._note(name, is_open=state is not SessionState.DOWN)
            on_state(state, detail)

        return noted

    def _note(self, way: str, *, is_open: bool) -> None:
        """Tell the supervisor whether the venue keeps us out: that is no reason to be killed."""
        if is_open:
            self._closed.discard(way)
        else:
            self._closed.add(way)
        self._own.set_gauge(counters.WAITS.id, int(bool(self._closed)))

    def _latest(self, gauge: counters.GaugeSpec) -> int:
        return max(page.gauge(gauge.id) for page in self._pages) * NS_PER_MS

    def _raise(self, gauge: counters.GaugeSpec, until_ns: int) -> bool:
        """Move our own word to a later moment; False: it stands there already."""
        until_ms = _ms_after(until_ns)
        if until_ms <= self._own.gauge(gauge.id):
            return False
        self._own.set_gauge(gauge.id, until_ms)
        return True


def ban_wait_s(of: Context | VenueLimits) -> float:
    """How long nothing may be sent, nor a connection be opened; 0: no ban holds."""
    limits = of if isinstance(of, VenueLimits) else VenueLimits(of)
    return limits.ban_wait_s()


def make_rest(
    context: Context,
    weight_share: float,
    credentials: Credentials | None = None,
    limits: VenueLimits | None = None,
) -> RestClient:
    """A REST client that stays within ``weight_share`` of what the venue allows this address."""
    limits = VenueLimits(context) if limits is None else limits
    offset_ns, error_ns = limits.clock
    return RestClient(
        Endpoints.from_config(context.config.venue),
        credentials,
        recv_window_ms=context.config.venue.recv_window_ms,
        clock_offset_ns=offset_ns,
        clock_error_ns=error_ns,
        weight_limit=int(context.plan.limits.weight_1m * context.config.execution.limit_use),
        weight_budget=int(context.plan.limits.weight_1m * weight_share),
        limits=limits,
    )


def _ms_after(moment_ns: int) -> int:
    """Whole milliseconds, never too early."""
    return -(-moment_ns // NS_PER_MS)
