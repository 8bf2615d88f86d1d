"""Settings of the venue simulator: typed, frozen, checked once."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from hft.errors import ConfigError
from tools.venue.fault_kinds import KINDS


class AccountConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One API key and the account behind it. Several keys may name the same account."""

    api_key: str
    secret: str = ""
    """HMAC-SHA256 secret; empty when the key is an Ed25519 key."""
    public_key_pem: str = ""
    """Ed25519 public key, PEM; empty when the key is an HMAC key."""
    account: str = ""
    """Name of the account; empty: the key's own."""
    wallet: str = "100000"
    """USDT at the start, decimal text; the first key of an account decides."""
    can_trade: bool = True


class FaultConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults by schedule. Commands work whatever stands here."""

    seed: int = 1
    per_minute: dict[str, float] = {}
    """Mean number of faults per minute for each kind; kinds not named do not happen."""
    from_s: float = 0.0
    """Time after the start without faults."""
    until_s: float = 1e9
    """Time after the start at which the schedule ends."""


class VenueConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the simulator can be told. Ports of 0 mean any free one."""

    host: str = "127.0.0.1"
    rest_port: int = 0
    stream_port: int = 0
    api_port: int = 0

    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    accounts: tuple[AccountConfig, ...] = (
        AccountConfig(api_key="simulator-key", secret="simulator-secret"),
    )
    leverage: int = 20
    maker_fee_bps: float = 2.0
    taker_fee_bps: float = 5.0
    funding_rate: str = "0.00010000"
    funding_interval_s: int = 28_800

    seed: int = 1
    frames_per_s: float = 900.0
    """Frames per second and symbol, over depth@0ms, bookTicker, trade, aggTrade and markPrice."""
    volatility_bps: float = 0.5
    """Standard deviation of the price after one second, in 1/10,000 of it."""
    trades_per_s: float = 40.0
    """Market orders of the synthetic crowd per second and symbol."""
    burst_every_s: float = 10.0
    """Mean distance of bursts; 0: none."""
    burst_s: float = 0.4
    burst_factor: float = 4.0
    """Activity and variance during a burst, as a multiple of the usual."""

    recordings: tuple[str, ...] = ()
    """Recorded streams to play instead of the synthetic market; they name their symbols."""
    recording_speed: float = 1.0
    recording_loops: bool = True

    weight_per_minute: int = 2_400
    orders_per_10_s: int = 300
    orders_per_minute: int = 1_200
    refusals_before_ban: int = 50
    """Requests over the weight limit in one minute before the address is banned."""
    ban_s: int = 120
    ban_notice_ms: int = 50
    """Requests this long after the first 418 of a ban may still have been on their way."""
    open_orders_per_symbol: int = 200

    depth_interval_ms: int = 10
    """Pace of ``depth@0ms``: changes within it share a frame."""
    tick_ms: int = 2
    """Pace at which the market acts."""
    connection_lifetime_s: float = 86_400.0
    ping_interval_s: float = 180.0
    pong_timeout_s: float = 600.0
    messages_per_s: int = 10
    streams_per_connection: int = 1_024
    listen_key_lifetime_s: float = 3_600.0
    private_path_delivers: bool = True
    """Whether ``/private/ws/<listenKey>`` delivers events; sources disagree about the venue."""
    private_without_events_delivers: bool = True
    """Whether a private URL without ``events=`` delivers; sources disagree about the venue."""
    event_numbers_padded: bool = False
    """ORDER_TRADE_UPDATE and ACCOUNT_UPDATE with padded decimals, as before mid-2025."""
    faults: FaultConfig = FaultConfig()
    """Faults the venue makes by itself; none unless rates are given."""
    sends_buffered_max_bytes: int = 64 * 1024 * 1024
    """A client that lets more than this pile up is disconnected."""

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: with one sentence for each problem.
        """
        problems = [
            f"{name} is {getattr(self, name)}: it has to be above 0"
            for name in _POSITIVE
            if getattr(self, name) <= 0
        ]
        if not self.symbols and not self.recordings:
            problems.append("symbols is empty: name at least one")
        if not self.accounts:
            problems.append("accounts is empty: name at least one API key")
        for kind, rate in self.faults.per_minute.items():
            if kind not in KINDS:
                problems.append(f"faults.per_minute names {kind}, which is no kind of fault")
            elif rate < 0:
                problems.append(f"faults.per_minute.{kind} is {rate}: it cannot be negative")
        for account in self.accounts:
            if bool(account.secret) == bool(account.public_key_pem):
                problems.append(f"account {account.api_key}: give either secret or public_key_pem")
        if problems:
            raise ConfigError(problems, remedy="correct the settings of the venue simulator")


_POSITIVE = (
    "leverage",
    "funding_interval_s",
    "frames_per_s",
    "recording_speed",
    "weight_per_minute",
    "orders_per_10_s",
    "orders_per_minute",
    "depth_interval_ms",
    "tick_ms",
    "connection_lifetime_s",
    "ping_interval_s",
    "pong_timeout_s",
    "messages_per_s",
)


class Ports(NamedTuple):
    """Where the three servers listen."""

    rest: int
    streams: int
    api: int
