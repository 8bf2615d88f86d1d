"""Settings: frozen, typed, closed. One struct for each section of the TOML file.

``hft.config_file`` reads one and reports every problem at once with its line. What the roles read
is the ``Plan``: the validated settings plus all that ``hft up`` derived from them, written to the
run directory as JSON before the first role starts.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Wait = Literal["busy_spin", "spin_then_park", "park"]
"""How a process waits for work (``ipc/wait.py``)."""
Positive = Annotated[int, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Decimal = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]{1,8})?$", description="a decimal number")]
"""Money and quantities are decimal text in the file: floats would not be exact."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class SystemConfig(_Section, frozen=True):
    """``[system]``."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9-]{1,32}$",
            description="a name of at most 32 small letters, digits and hyphens",
        ),
    ] = "default"
    topology: Literal["compact", "dedicated"] = "compact"
    mode: Literal["live", "paper", "demo"] = "live"
    """demo and paper arm themselves; live waits for ``hft arm``."""
    run_dir: str = ""
    """Lock files, FIFOs, plan; empty: /run/hft, or the user's runtime directory."""
    state_dir: str = ""
    """What outlives a boot: instrument ids, audit; empty: /var/lib/hft, or the user's state."""
    cpus: tuple[int, ...] = ()
    """Cores for the hot processes, in order; empty: chosen from what the host has."""
    wait: Literal["auto", "busy_spin", "spin_then_park", "park"] = "auto"
    scheduling: Literal["other", "fifo"] = "other"
    """fifo: real-time scheduling of the hot processes; needs a core for each and one more."""
    lock_memory: bool = True
    """Keep the pages in use from being swapped out; needs an unlimited ``ulimit -l``."""
    timer_slack_ns: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    """How late the kernel may end a timed wait. Its own default is 50 µs."""


class VenueConfig(_Section, frozen=True):
    """``[venue]``: base URLs and keys. Any server that speaks the protocol will do."""

    rest_url: str = "https://fapi.binance.com"
    streams_url: str = "wss://fstream.binance.com"
    api_url: str = "wss://ws-fapi.binance.com/ws-fapi/v1"
    key_type: Literal["hmac", "ed25519"] = "hmac"
    key_file: str = ""
    """File with the API key in its first line; HMAC: the secret in the second.

    ``credential:NAME`` is the file that systemd hands over under that name.
    """
    private_key_file: str = ""
    """Ed25519 private key, PEM; or ``credential:NAME``."""
    depth_stream: Literal["0ms", "100ms", "500ms"] = "100ms"
    recv_window_ms: Annotated[int, Meta(gt=0, le=5_000)] = 1_000
    first_data_s: Annotated[float, Meta(gt=0)] = 10.0
    """A stream that stayed silent for so long after its subscription is a failed one."""
    silence_s: Annotated[float, Meta(gt=0)] = 5.0
    """A market connection without any frame for so long is closed and opened again."""
    rotate_s: Annotated[float, Meta(gt=0)] = 82_800.0
    """Connections are renewed after 23 h: the venue cuts at 24."""
    listen_key_s: Annotated[float, Meta(gt=0, le=1_800)] = 60.0
    """The listen key is renewed so often. It lives an hour; one lost in silence is noticed so."""


class FeedConfig(_Section, frozen=True):
    """``[feed]``."""

    stale_ms: Positive = 2_000
    """An instrument without market data for so long is stale."""
    trades: bool = True
    mark_price: bool = True
    weight_share: Share = 0.25
    """Share of the address's request weight that the feed may use: snapshots."""
    refresh_s: Annotated[float, Meta(gt=0)] = 600.0
    """The venue's filters and statuses are read again so often, and when it tells of a change."""


class RiskLimits(_Section, frozen=True):
    """``[risk.limits]``: overrides of the policy. Money in the quote asset."""

    order_qty_max: Decimal | None = None
    order_notional_max: Decimal | None = None
    price_collar_bps: Positive | None = None
    mark_collar_bps: Positive | None = None
    cross_bps_max: Annotated[int, Meta(ge=0)] | None = None
    duplicate_window_ms: Annotated[int, Meta(ge=0)] | None = None
    intent_age_ms_max: Positive | None = None
    cancels_per_place_max: Positive | None = None
    executions_per_minute_max: Positive | None = None
    rejects_per_10s_max: Positive | None = None
    position_notional_max: Decimal | None = None
    open_notional_max: Decimal | None = None
    open_orders_max: Positive | None = None
    spread_bps_max: Positive | None = None
    move_1s_bps_max: Positive | None = None
    move_1m_bps_max: Positive | None = None
    feed_age_ms_max: Positive | None = None
    mark_age_ms_max: Positive | None = None
    gross_notional_max: Decimal | None = None
    net_notional_max: Decimal | None = None
    leverage_max: Decimal | None = None
    unresolved_max: Positive | None = None
    unresolved_age_ms_max: Positive | None = None
    messages_per_s_max: Positive | None = None
    messages_per_10s_max: Positive | None = None
    messages_per_minute_max: Positive | None = None
    loss_1m_max: Decimal | None = None
    loss_session_max: Decimal | None = None
    drawdown_max: Decimal | None = None
    account_age_ms_max: Positive | None = None
    clock_offset_ms_max: Positive | None = None
    loop_lag_ms_max: Positive | None = None
    round_trip_ms_max: Positive | None = None
    drift_1m_bps_max: Positive | None = None
    funding_bps_max: Positive | None = None
    slippage_1m_bps_max: Positive | None = None
    fee_1m_bps_max: Positive | None = None
    places_per_trade_max: Positive | None = None
    faults_per_minute_max: Positive | None = None
    margin_used_bps_max: Positive | None = None
    margin_ratio_bps_max: Positive | None = None
    liquidation_bps_min: Annotated[int, Meta(ge=0)] | None = None
    countdown_missed_max: Positive | None = None
    user_stream_down_ms_max: Positive | None = None


class ManualConfig(_Section, frozen=True):
    """``[risk.manual]``: orders that a person places by hand. Never wider than the policy."""

    enabled: bool = False
    """false: by hand orders can only be cancelled."""
    order_qty_max: Decimal | None = None
    order_notional_max: Decimal | None = None
    """Quote asset; not given: a quarter of what the policy allows a strategy."""
    position_notional_max: Decimal | None = None
    """Worst case of the instrument, strategies' orders and all; not given: half of the policy's."""
    price_collar_bps: Positive | None = None
    messages_per_s_max: Positive = 2
    messages_per_minute_max: Positive = 60
    """Places and amends by hand; cancels are never refused."""


class RiskConfig(_Section, frozen=True):
    """``[risk]``."""

    policy: str = "mm_conservative"
    """One of the built-in ones, or the path of a policy file (``*.toml``)."""
    policy_file: str = ""
    """Where the policy file was; taken over when the settings are read, not written by hand."""
    policy_limits: dict[str, str | int] = {}
    """What it says, taken over likewise."""
    limits: RiskLimits = RiskLimits()
    manual: ManualConfig = ManualConfig()
    permit_ms: Annotated[int, Meta(ge=50, le=1_000)] = 250
    permit_renew_ms: Annotated[int, Meta(ge=5, le=250)] = 50


class ExecutionConfig(_Section, frozen=True):
    """``[execution]``."""

    decision_age_ms_max: Positive = 20
    answer_ms_max: Positive = 3_000
    """A request unanswered for so long makes the order unknown."""
    suspect_ms: Positive = 500
    """An order connection that owes an answer and is silent for so long carries nothing more."""
    weight_share: Share = 0.5
    """Share of the address's request weight that execution may use."""
    cancel_reserve: Share = 0.2
    """Part of every venue limit that only cancels may use."""
    limit_use: Share = 0.9
    """Part of every venue limit that is used at all."""
    countdown_ms: Annotated[int, Meta(ge=0)] = 0
    """Countdown-cancel at the venue; 0: off."""
    strategy_silence_ms: Positive = 1_000
    permit_gone_ms: Positive = 1_000
    start_orders: Literal["cancel", "adopt"] = "cancel"
    """Own orders of an earlier life that are found open: cancel them, or let them rest."""


class AccountConfig(_Section, frozen=True):
    """``[account]``."""

    reconcile_s: Annotated[float, Meta(gt=0)] = 5.0
    weight_share: Share = 0.15
    """Share of the address's request weight that the account may use."""
    settle_ms: Positive = 1_500
    """A difference younger than this may still be on its way and is looked at again."""


class PaperConfig(_Section, frozen=True):
    """``[paper]``: the role that fills orders of strategies in paper mode."""

    start: Literal["auto", "always"] = "auto"
    """auto: with a strategy in paper mode; always: so that one may be switched to it at any time.
    """
    latency_ms: Annotated[float, Meta(ge=0, le=10_000)] = 5.0
    """From decision to acknowledgement, as long as execution has measured none."""
    latency_orders_min: Positive = 50
    """So many acknowledgements make a measurement."""
    maker_fee_bps: Decimal = "2"
    taker_fee_bps: Decimal = "5"
    """Commission, 1e-4 of the notional. Defaults: Binance USD-M, ordinary account."""


class RecorderConfig(_Section, frozen=True):
    """``[recorder]``."""

    keep_files: Annotated[int, Meta(ge=2)] = 64
    """So many files of the order journal are kept, 8 MiB each at most."""
    sync_ms: Positive = 50
    """Longest time that an entry waits until it is safe against power loss."""


class MetricsConfig(_Section, frozen=True):
    """``[metrics]``: the cold process that serves metrics and writes the log of what happens."""

    enabled: bool = True
    """Started with the system; `hft metrics` runs it by hand as well."""
    host: str = "127.0.0.1"
    """Address it listens at; whoever reaches it can read positions and profit."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 9_090
    """0: any free one; `hft status` shows which."""


class StrategyConfig(_Section, frozen=True):
    """``[[strategies]]``: one plug-in."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9_]{1,24}$",
            description="a name of at most 24 small letters, digits and underscores",
        ),
    ]
    plugin: str
    """``module:Class``, ``path/to/file.py:Class``, or an entry point of group hft.strategies."""
    symbols: tuple[str, ...]
    mode: Literal["live", "paper", "observe"] = "live"
    priority: int = 0
    """Where several want one instrument the greater goes first; equals in the file's order."""
    intents_per_s_max: Annotated[int, Meta(ge=1, le=10_000)] = 200
    """A plug-in that asks for more, on one instrument, is paused."""
    reload_on_change: bool = False
    """Load the plug-in anew when its file changes."""
    parameters: dict[str, str | int | float | bool] = {}


class PreflightConfig(_Section, frozen=True):
    """``[preflight]``: what is demanded of the account before anything starts."""

    leverage_max: Positive = 20
    margin: Literal["cross", "isolated", "any"] = "cross"
    """Margin mode that every symbol has to be in."""
    foreign_orders: Literal["refuse", "ignore"] = "refuse"
    foreign_positions: Literal["adopt", "refuse"] = "refuse"
    clock_offset_ms_max: Positive = 500


class SupervisorConfig(_Section, frozen=True):
    """``[supervisor]``: when a process is killed, started again, given up."""

    hung_ms: Positive = 2_000
    """A ready role whose heart has not beaten for so long is hung, and its process is killed."""
    hung_ms_of: dict[str, Positive] = {}
    """The same for single roles, by name."""
    start_s: Annotated[float, Meta(gt=0)] = 20.0
    """A process that is not ready after so long is killed."""
    stop_s: Annotated[float, Meta(gt=0)] = 10.0
    """A process that has not ended so long after it was told to is killed."""
    crashes_max: Positive = 3
    """So many deaths of one process within ``crash_window_s`` are a crash loop."""
    crash_window_s: Annotated[float, Meta(gt=0)] = 60.0


class Config(_Section, frozen=True):
    """The whole file."""

    symbols: tuple[str, ...]
    system: SystemConfig = SystemConfig()
    venue: VenueConfig = VenueConfig()
    feed: FeedConfig = FeedConfig()
    risk: RiskConfig = RiskConfig()
    execution: ExecutionConfig = ExecutionConfig()
    account: AccountConfig = AccountConfig()
    paper: PaperConfig = PaperConfig()
    recorder: RecorderConfig = RecorderConfig()
    metrics: MetricsConfig = MetricsConfig()
    preflight: PreflightConfig = PreflightConfig()
    supervisor: SupervisorConfig = SupervisorConfig()
    strategies: tuple[StrategyConfig, ...] = ()


class ProcessPlan(_Section, frozen=True):
    """One process of the topology."""

    name: str
    roles: tuple[str, ...]
    bell: int
    """Index of its word in the bells segment."""
    cpu: int = -1
    """Core it is pinned to; -1: not pinned."""
    wait: Wait = "park"
    realtime_priority: int = 0
    """SCHED_FIFO with this priority; 0: the ordinary scheduling class."""


class InstrumentPlan(_Section, frozen=True):
    """A symbol and its persistent number."""

    instrument_id: int
    symbol: str


class RateLimits(_Section, frozen=True):
    """The venue's limits as exchangeInfo gave them."""

    weight_1m: Positive
    orders_10s: Positive
    orders_1m: Positive


class Plan(_Section, frozen=True):
    """What a role needs to start: settings, processes, instruments, limits, places."""

    config: Config
    run_dir: str
    state_dir: str
    processes: tuple[ProcessPlan, ...]
    instruments: tuple[InstrumentPlan, ...]
    limits: RateLimits
    started_wall_ns: int
    equity_e8: int = 0
    """Wallet of the quote asset at the venue at the start: relative limits are relative to it."""
    is_supervised: bool = True
    """False: `hft shm create` made the system, and somebody else keeps its processes alive."""
    owners: dict[str, int] = {}
    """User id that each role runs as and owns its segments; empty: all are the creator's."""

    @property
    def name(self) -> str:
        """The system's name."""
        return self.config.system.name

    def process_of(self, role: str) -> ProcessPlan:
        """The process that a role runs in (KeyError when none does)."""
        for process in self.processes:
            if role in process.roles:
                return process
        raise KeyError(role)

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of this system, in the order in which they start."""
        return tuple(role for process in self.processes for role in process.roles)

    def has_role(self, role: str) -> bool:
        """Whether a process of this system hosts the role."""
        return role in self.roles

    def instrument_id(self, symbol: str) -> int:
        """Number of a configured symbol (KeyError when it is not configured)."""
        for instrument in self.instruments:
            if instrument.symbol == symbol:
                return instrument.instrument_id
        raise KeyError(symbol)


PLAN_FILE = "plan.json"
