"""The catalogue of limits: name, unit, scope, and what happens in which of three layers.

*Soft*: the use has passed a share of the limit; counted and shown, nothing is refused. *Hard*: the
intent is refused with a reason, or a breaker pauses the strategy. *Emergency*: the halt is
latched, every order cancelled, and only a person arms the system again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from hft.records import Reason
from hft.units import INT64_MAX, NS_PER_MS, NS_PER_S, format_e8

UNLIMITED: Final = INT64_MAX


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What risk judges by. Money in 1e-8 of the quote asset, prices in basis points."""

    policy: str
    version: int = 0
    order_qty_max_e8: int = UNLIMITED
    order_notional_max_e8: int
    position_notional_max_e8: int
    """Worst case of one instrument and direction: position and everything open."""
    gross_notional_max_e8: int
    """Sum of the worst cases of all instruments."""
    price_collar_bps: int
    """Distance of an order's price from the mid."""
    mark_collar_bps: int
    """Distance of an order's price from the mark price."""
    open_orders_max: int
    """Open orders of one instrument and side."""
    messages_per_s_max: int
    messages_per_minute_max: int
    """Approved places, amends and cancels; cancels count, but are never refused."""
    unresolved_max: int
    """With so many unresolved orders only those that shrink a position pass."""
    feed_age_ns_max: int
    mark_age_ns_max: int = 10 * NS_PER_S
    account_age_ns_max: int
    intent_age_ns_max: int
    duplicate_window_ns: int
    """A place equal to one still open is refused for so long."""
    cross_bps_max: int = UNLIMITED
    """Distance of a limit price beyond the other side's best; what takes at most so far."""
    net_notional_max_e8: int = UNLIMITED
    """Sum of the worst cases of all instruments in one direction."""
    leverage_max_e8: int = UNLIMITED
    """Gross notional over the equity of this moment, 1e-8."""
    open_notional_max_e8: int = UNLIMITED
    """Open orders of one instrument and side, at the mark."""
    unresolved_age_ns_max: int = UNLIMITED
    """With an order unresolved for so long only those that shrink a position pass."""
    messages_per_10s_max: int = UNLIMITED
    cancels_per_place_max: int = UNLIMITED
    """Of one strategy in ten minutes; beyond it the strategy is paused."""
    executions_per_minute_max: int = UNLIMITED
    """Fills of one strategy; beyond it the strategy is paused."""
    rejects_per_10s_max: int = UNLIMITED
    """Rejections by the venue of one strategy's orders; beyond it the strategy is paused."""
    loss_1m_max_e8: int = UNLIMITED
    loss_session_max_e8: int = UNLIMITED
    """Beyond either only orders that shrink a position pass."""
    drawdown_max_e8: int = UNLIMITED
    """Equity below its peak of the session; beyond it everything stops."""
    spread_bps_max: int = UNLIMITED
    """In a wider market only orders that shrink a position pass."""
    move_1s_bps_max: int = UNLIMITED
    move_1m_bps_max: int = UNLIMITED
    """Range of the mid; beyond it the instrument's position may only shrink for a minute."""
    drift_1m_bps_max: int = UNLIMITED
    """Range of the limit prices that were approved in this minute and the one before."""
    funding_bps_max: int = UNLIMITED
    """Size of the funding rate; beyond it the instrument's position may only shrink."""
    slippage_1m_bps_max: int = UNLIMITED
    """What a strategy's fills of a minute cost beyond the mid; beyond it the strategy is paused."""
    fee_1m_bps_max: int = UNLIMITED
    """Fees of the same fills, of their notional; beyond it the strategy is paused."""
    places_per_trade_max: int = UNLIMITED
    """Of one strategy in ten minutes; beyond it the strategy is paused."""
    faults_per_minute_max: int = UNLIMITED
    """Refusals for an order's form or size; beyond it the strategy is paused."""
    clock_offset_ns_max: int = UNLIMITED
    loop_lag_ns_max: int = UNLIMITED
    round_trip_ns_max: int = UNLIMITED
    """Beyond any of these only orders that shrink a position pass."""
    margin_used_bps_max: int = UNLIMITED
    """Part of the wallet that the venue keeps as margin; beyond it only what shrinks passes."""
    margin_ratio_bps_max: int = UNLIMITED
    """Maintenance margin over margin balance; beyond it only what shrinks passes."""
    liquidation_bps_min: int = 0
    """Distance of the mark from a liquidation price; nearer only what shrinks passes."""
    countdown_missed_max: int = UNLIMITED
    """Renewals of the venue's countdown missed in a row; beyond it only what shrinks passes."""
    user_stream_down_ns_max: int = UNLIMITED
    """Execution without orders' session or user stream; beyond it only what shrinks passes."""
    emergency_percent: int = 0
    """Use of an account limit at which everything stops; 0: never."""
    is_post_only: bool = False
    """Only orders that cannot take are allowed."""
    is_limit_only: bool = False
    """No market orders: every order says the worst price that it takes."""
    is_reducing_only: bool = False
    """Only orders that shrink a position are allowed."""


class Unit(StrEnum):
    """How a limit is written and shown. Money, quantities and ratios are 1e-8 inside, ms ns."""

    MONEY = "quote"
    QTY = "base"
    RATIO = "x"
    BPS = "bps"
    COUNT = "n"
    MS = "ms"


class Scope(StrEnum):
    """What a limit is counted over."""

    ORDER = "order"
    STRATEGY = "strategy"
    INSTRUMENT = "instrument"
    ACCOUNT = "account"
    HOST = "host"


class LimitSpec(NamedTuple):
    """One limit. ``number`` is never reused: it is its bit in the gauges and its cell."""

    number: int
    name: str
    """As in the settings and in ``hft risk set``."""
    unit: Unit
    scope: Scope
    soft_percent: int
    """Use of the limit from which on it is near; 0: it has no standing use."""
    hard: str
    """What happens beyond it."""
    meaning: str
    reason: Reason = Reason.NONE
    """Of the refusal; NONE: it does not refuse by itself."""
    is_emergency: bool = False
    """``emergency_percent`` of it stops everything."""
    is_floor: bool = False
    """The greater, the safer; 0: no limit."""

    @property
    def field(self) -> str:
        """Name in ``Limits``."""
        if self.unit in (Unit.MONEY, Unit.QTY, Unit.RATIO):
            return f"{self.name}_e8"
        return _NS_FIELDS.get(self.name, self.name)

    def of(self, limits: Limits) -> int:
        """The limit's value, in its unit inside."""
        value = getattr(limits, self.field)
        assert isinstance(value, int)
        return value

    def shown(self, value: int) -> str:
        """A value of it for a person."""
        if value >= UNLIMITED:
            return "unlimited"
        if self.field.endswith("_e8"):
            return format_e8(value)
        return f"{value / NS_PER_MS:g}" if self.unit is Unit.MS else str(value)


_NS_FIELDS: Final[Mapping[str, str]] = {
    "feed_age_ms_max": "feed_age_ns_max",
    "mark_age_ms_max": "mark_age_ns_max",
    "account_age_ms_max": "account_age_ns_max",
    "intent_age_ms_max": "intent_age_ns_max",
    "duplicate_window_ms": "duplicate_window_ns",
    "unresolved_age_ms_max": "unresolved_age_ns_max",
    "clock_offset_ms_max": "clock_offset_ns_max",
    "loop_lag_ms_max": "loop_lag_ns_max",
    "round_trip_ms_max": "round_trip_ns_max",
    "user_stream_down_ms_max": "user_stream_down_ns_max",
}
_REFUSED: Final = "refused"
_GROWS: Final = "refused unless it shrinks"
_PAUSED: Final = "strategy paused"

CATALOGUE: Final = (
    LimitSpec(0, "order_qty_max", Unit.QTY, Scope.ORDER, 0, _REFUSED, "quantity of an order",
              Reason.ORDER_QTY_MAX),
    LimitSpec(1, "order_notional_max", Unit.MONEY, Scope.ORDER, 0, _REFUSED,
              "price times quantity of an order", Reason.ORDER_NOTIONAL_MAX),
    LimitSpec(2, "price_collar_bps", Unit.BPS, Scope.ORDER, 0, _REFUSED,
              "distance of a price from the mid", Reason.PRICE_COLLAR),
    LimitSpec(3, "mark_collar_bps", Unit.BPS, Scope.ORDER, 0, _REFUSED,
              "distance of a price from the mark", Reason.MARK_COLLAR),
    LimitSpec(4, "cross_bps_max", Unit.BPS, Scope.ORDER, 0, _REFUSED,
              "distance of a price beyond the other side's best", Reason.AGGRESSIVE_CROSS),
    LimitSpec(5, "duplicate_window_ms", Unit.MS, Scope.ORDER, 0, _REFUSED,
              "the same order again while the first is open", Reason.DUPLICATE, is_floor=True),
    LimitSpec(6, "intent_age_ms_max", Unit.MS, Scope.ORDER, 0, _REFUSED,
              "age of an intent", Reason.INTENT_EXPIRED),
    LimitSpec(7, "cancels_per_place_max", Unit.COUNT, Scope.STRATEGY, 25, _PAUSED,
              "cancels for each place in ten minutes", Reason.STRATEGY_PAUSED),
    LimitSpec(8, "executions_per_minute_max", Unit.COUNT, Scope.STRATEGY, 80, _PAUSED,
              "fills of one strategy", Reason.STRATEGY_PAUSED),
    LimitSpec(9, "rejects_per_10s_max", Unit.COUNT, Scope.STRATEGY, 60, _PAUSED,
              "rejections by the venue; ten times as many stop everything",
              Reason.STRATEGY_PAUSED),
    LimitSpec(10, "position_notional_max", Unit.MONEY, Scope.INSTRUMENT, 70, _GROWS,
              "worst case of a position", Reason.POSITION_MAX, is_emergency=True),
    LimitSpec(11, "open_notional_max", Unit.MONEY, Scope.INSTRUMENT, 80, _GROWS,
              "open orders of one side, at the mark", Reason.OPEN_NOTIONAL_MAX),
    LimitSpec(12, "open_orders_max", Unit.COUNT, Scope.INSTRUMENT, 80, _REFUSED,
              "open orders of one side", Reason.OPEN_ORDERS_MAX),
    LimitSpec(13, "spread_bps_max", Unit.BPS, Scope.INSTRUMENT, 50, _GROWS,
              "distance of the best bid from the best ask", Reason.SPREAD_HALT),
    LimitSpec(14, "move_1s_bps_max", Unit.BPS, Scope.INSTRUMENT, 50, "only shrinks for 60 s",
              "range of the mid within 1 s", Reason.VOLATILITY_HALT),
    LimitSpec(15, "move_1m_bps_max", Unit.BPS, Scope.INSTRUMENT, 50, "only shrinks for 60 s",
              "range of the mid within 60 s", Reason.VOLATILITY_HALT),
    LimitSpec(16, "feed_age_ms_max", Unit.MS, Scope.INSTRUMENT, 0, _REFUSED,
              "age of the market data", Reason.STALE_DATA),
    LimitSpec(17, "mark_age_ms_max", Unit.MS, Scope.INSTRUMENT, 0, _REFUSED,
              "age of the mark price", Reason.STALE_DATA),
    LimitSpec(18, "gross_notional_max", Unit.MONEY, Scope.ACCOUNT, 70, _GROWS,
              "sum of the worst cases", Reason.GROSS_NOTIONAL_MAX, is_emergency=True),
    LimitSpec(19, "net_notional_max", Unit.MONEY, Scope.ACCOUNT, 70, _GROWS,
              "sum of the worst cases in one direction", Reason.NET_NOTIONAL_MAX,
              is_emergency=True),
    LimitSpec(20, "leverage_max", Unit.RATIO, Scope.ACCOUNT, 70, _GROWS,
              "gross notional over equity", Reason.LEVERAGE_MAX, is_emergency=True),
    LimitSpec(21, "unresolved_max", Unit.COUNT, Scope.ACCOUNT, 34, _GROWS,
              "orders whose fate only the venue knows; beyond three times as many everything"
              " stops", Reason.UNRESOLVED_MAX),
    LimitSpec(22, "unresolved_age_ms_max", Unit.MS, Scope.ACCOUNT, 20, _GROWS,
              "how long an order has been unknown; six times as long stops everything",
              Reason.UNRESOLVED_AGE),
    LimitSpec(23, "messages_per_s_max", Unit.COUNT, Scope.ACCOUNT, 60, _REFUSED,
              "places, amends and cancels", Reason.MESSAGE_RATE),
    LimitSpec(24, "messages_per_10s_max", Unit.COUNT, Scope.ACCOUNT, 60, _REFUSED,
              "the same in 10 s", Reason.MESSAGE_RATE),
    LimitSpec(25, "messages_per_minute_max", Unit.COUNT, Scope.ACCOUNT, 60, _REFUSED,
              "the same in 60 s", Reason.MESSAGE_RATE),
    LimitSpec(26, "loss_1m_max", Unit.MONEY, Scope.ACCOUNT, 50, _GROWS,
              "loss of equity within 60 s", Reason.LOSS_MAX),
    LimitSpec(27, "loss_session_max", Unit.MONEY, Scope.ACCOUNT, 50, _GROWS,
              "loss of equity since the system started", Reason.LOSS_MAX),
    LimitSpec(28, "drawdown_max", Unit.MONEY, Scope.ACCOUNT, 50, "everything stops",
              "equity below its peak since the system started"),
    LimitSpec(29, "account_age_ms_max", Unit.MS, Scope.ACCOUNT, 34, _REFUSED,
              "age of the account's sums", Reason.ACCOUNT_STALE),
    LimitSpec(30, "clock_offset_ms_max", Unit.MS, Scope.HOST, 20, _GROWS,
              "our clock beside the venue's", Reason.CLOCK_OFFSET_MAX),
    LimitSpec(31, "loop_lag_ms_max", Unit.MS, Scope.HOST, 20, _GROWS,
              "how long an intent waited for risk", Reason.LOOP_LAG_MAX),
    LimitSpec(32, "round_trip_ms_max", Unit.MS, Scope.HOST, 20, _GROWS,
              "an order to the venue and its answer back", Reason.ROUND_TRIP_MAX),
    LimitSpec(33, "drift_1m_bps_max", Unit.BPS, Scope.INSTRUMENT, 50, _GROWS,
              "range of our own prices in this minute and the one before", Reason.PRICE_DRIFT),
    LimitSpec(34, "funding_bps_max", Unit.BPS, Scope.INSTRUMENT, 50, _GROWS,
              "size of the funding rate", Reason.FUNDING_MAX),
    LimitSpec(35, "slippage_1m_bps_max", Unit.BPS, Scope.STRATEGY, 50, _PAUSED,
              "cost of the fills of 60 s beyond the mid", Reason.STRATEGY_PAUSED),
    LimitSpec(36, "fee_1m_bps_max", Unit.BPS, Scope.STRATEGY, 80, _PAUSED,
              "fees of the fills of 60 s, where paid in the quote asset", Reason.STRATEGY_PAUSED),
    LimitSpec(37, "places_per_trade_max", Unit.COUNT, Scope.STRATEGY, 25, _PAUSED,
              "places for each fill in ten minutes", Reason.STRATEGY_PAUSED),
    LimitSpec(38, "faults_per_minute_max", Unit.COUNT, Scope.STRATEGY, 50, _PAUSED,
              "orders refused for their form or size; where emergencies are on, three too large"
              " in 60 s or five doubled in 10 s stop everything", Reason.STRATEGY_PAUSED),
    LimitSpec(39, "margin_used_bps_max", Unit.BPS, Scope.ACCOUNT, 70, _GROWS,
              "part of the wallet that the venue kept as margin when it was last asked",
              Reason.MARGIN_USED_MAX, is_emergency=True),
    LimitSpec(40, "margin_ratio_bps_max", Unit.BPS, Scope.ACCOUNT, 50, _GROWS,
              "maintenance margin over margin balance when the venue was last asked, 10000 being"
              " liquidation; twice as much stops everything", Reason.MARGIN_RATIO_MAX),
    LimitSpec(41, "liquidation_bps_min", Unit.BPS, Scope.INSTRUMENT, 50, _GROWS,
              "distance of the mark from the price of liquidation; half of it stops everything",
              Reason.LIQUIDATION_NEAR, is_floor=True),
    LimitSpec(42, "countdown_missed_max", Unit.COUNT, Scope.ACCOUNT, 50, _GROWS,
              "renewals of the venue's countdown that failed in a row; beyond twice as many"
              " everything stops", Reason.COUNTDOWN_MISSED),
    LimitSpec(43, "user_stream_down_ms_max", Unit.MS, Scope.ACCOUNT, 25, _GROWS,
              "how long execution has had no order session or no user stream",
              Reason.USER_STREAM_DOWN),
)  # fmt: skip
"""Every limit. A place or amend passes all of them; a cancel is never refused by any."""

LIMITS_BY_NAME: Final[Mapping[str, LimitSpec]] = {spec.name: spec for spec in CATALOGUE}

assert [spec.number for spec in CATALOGUE] == list(range(len(CATALOGUE)))
assert len(CATALOGUE) <= 62, "the gauges have a bit for each limit"
assert all(spec.field in Limits.__struct_fields__ for spec in CATALOGUE)
