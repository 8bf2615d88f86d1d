"""Rate limits: fixed windows for weight (per address) and orders (per account), bans, messages."""

from __future__ import annotations

import time
from typing import Final

from tools.venue.errors import ApiError
from tools.venue.history import History, Moment, Span

MINUTE_MS: Final = 60_000
TEN_SECONDS_MS: Final = 10_000


class Window:
    """A counter that starts again at each multiple of its length."""

    __slots__ = ("_epoch", "_length_ms", "_used", "limit")

    def __init__(self, length_ms: int, limit: int) -> None:
        self.limit = limit
        self._length_ms = length_ms
        self._epoch = 0
        self._used = 0

    def used(self, now_ms: int) -> int:
        """What is used of the window at hand."""
        self._roll(now_ms)
        return self._used

    def add(self, now_ms: int, amount: int) -> int:
        """Count, and tell the sum."""
        self._roll(now_ms)
        self._used += amount
        return self._used

    def ends_in_ms(self, now_ms: int) -> int:
        """Time until the counter starts again."""
        return self._length_ms - now_ms % self._length_ms

    def _roll(self, now_ms: int) -> None:
        epoch = now_ms // self._length_ms
        if epoch != self._epoch:
            self._epoch = epoch
            self._used = 0


class AddressLimit:
    """Request weight of one address, and its ban when it goes on after refusals."""

    def __init__(
        self,
        address: str,
        history: History,
        *,
        weight_per_minute: int,
        refusals_before_ban: int,
        ban_s: int,
        ban_notice_ms: int = 0,
    ) -> None:
        self._address = address
        self._history = history
        self.weight = Window(MINUTE_MS, weight_per_minute)
        self._refusals = Window(MINUTE_MS, refusals_before_ban)
        self._ban_ms = ban_s * 1000
        self._ban_notice_ms = ban_notice_ms
        self._banned_until_ms = 0
        self._ban_told_ms = 0
        self._ban: Span | None = None
        self._paused_until_ms = 0

    def is_banned(self, now_ms: int) -> bool:
        """Whether nothing of this address is answered."""
        return now_ms < self._banned_until_ms

    def ban(self, now_ms: int, length_ms: int, reason: str = "command") -> None:
        """Refuse everything for a while, whatever the client did."""
        self._banned_until_ms = now_ms + length_ms
        self._ban = self._history.note_ban(self._address, reason, now_ms, length_ms)

    def shift_clock(self, milliseconds: int) -> None:
        """The clock jumps; bans and pauses keep their lengths."""
        self._banned_until_ms += milliseconds
        self._ban_told_ms += milliseconds
        self._paused_until_ms += milliseconds

    def pause(self, now_ms: int, length_ms: int) -> None:
        """Behave as if the weight were used up for a while, whatever the client did."""
        self._paused_until_ms = now_ms + length_ms

    def spend(self, now_ms: int, weight: int) -> None:
        """Count a request.

        Raises:
            ApiError: -1003 with HTTP 429 above the limit, with HTTP 418 while banned.
        """
        if self.is_banned(now_ms):
            raise self.refusal(now_ms)
        is_paused = now_ms < self._paused_until_ms
        if self.weight.add(now_ms, weight) <= self.weight.limit and not is_paused:
            return
        if self._refusals.add(now_ms, 1) > self._refusals.limit:
            self.ban(now_ms, self._ban_ms, "went on after refusals")
            raise self.refusal(now_ms)
        ends_in_ms = self.weight.ends_in_ms(now_ms)
        if is_paused:
            ends_in_ms = self._paused_until_ms - now_ms
        raise ApiError(
            -1003,
            f"Too many requests; current limit of IP({self._address}) is {self.weight.limit} "
            "requests per minute. Please use the websocket for live updates to avoid polling "
            "the API.",
            status=429,
            retry_after_s=-(-ends_in_ms // 1000),
            is_violation=not is_paused,
        )

    def refusal(self, now_ms: int) -> ApiError:
        """What a banned client is told; the first time is remembered."""
        ban = self._ban
        assert ban is not None
        if ban.told is None:
            ban.told = Moment(now_ms, time.monotonic_ns())
            self._ban_told_ms = now_ms
        return ApiError(
            -1003,
            f"Way too many requests; IP({self._address}) banned until {self._banned_until_ms}. "
            "Please use the websocket for live updates to avoid bans.",
            status=418,
            retry_after_s=-(-(self._banned_until_ms - now_ms) // 1000),
            # The first to be refused cannot have known, nor what was on its way at that moment.
            is_violation=now_ms > self._ban_told_ms + self._ban_notice_ms,
        )


class OrderLimit:
    """Orders of one account in ten seconds and in one minute."""

    def __init__(self, *, per_10_s: int, per_minute: int) -> None:
        self.ten_seconds = Window(TEN_SECONDS_MS, per_10_s)
        self.minute = Window(MINUTE_MS, per_minute)

    def spend(self, now_ms: int, *, ten_seconds: int, minute: int) -> None:
        """Count orders before they are looked at.

        Raises:
            ApiError: -1015 with HTTP 429.
        """
        for window, amount, text in (
            (self.ten_seconds, ten_seconds, "10 SECOND"),
            (self.minute, minute, "MINUTE"),
        ):
            if window.used(now_ms) + amount > window.limit:
                raise ApiError(
                    -1015,
                    f"Too many new orders; current limit is {window.limit} orders per {text}.",
                    status=429,
                    retry_after_s=-(-window.ends_in_ms(now_ms) // 1000),
                )
        self.ten_seconds.add(now_ms, ten_seconds)
        self.minute.add(now_ms, minute)
