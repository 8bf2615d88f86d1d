"""Risk policies: named sets of limits, some of them relative to the equity of the account.

``demo`` is for the embedded simulator; the other five are what a desk chooses from, or builds its
own policy file upon (``hft.core.policy_text``). What each limit means, where it is soft and what
happens beyond it stands in ``hft.core.catalogue``. 0 allows nothing, ``UNLIMITED`` everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

import msgspec

from hft.core.catalogue import CATALOGUE, LIMITS_BY_NAME, UNLIMITED, Limits, LimitSpec, Unit
from hft.errors import UsageError
from hft.units import E8, NS_PER_MS, parse_e8

__all__ = ["POLICIES", "POLICY_VERSION", "UNLIMITED", "Change", "Limits", "limits_for"]

MANUAL_ORDER_SHARE: Final = 4
"""An order by hand may be worth a quarter of a strategy's, unless the settings say less or more."""
MANUAL_POSITION_SHARE: Final = 2
POLICY_VERSION: Final = 5 << 8
"""Version of the table below, in every decision record; raised when a number in it changes.

The low byte counts the changes at run time.
"""
CHANGES_MAX: Final = 255
STEP_MAX: Final = 2
"""A riskier limit may be at most this many times what it is: more takes several steps."""


class _Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table; money in thousandths of the equity, -1: unlimited."""

    order: int
    position: int
    gross: int
    net: int = -1
    open: int = -1
    leverage_percent: int = -1
    collars_bps: tuple[int, int]
    cross_bps: int = -1
    open_orders: int
    messages: tuple[int, int, int]
    """In 1 s, 10 s, 60 s."""
    cancels_per_place: int = 200
    executions: int = -1
    rejects: int = 5
    unresolved: int = 3
    unresolved_ms: int = 10_000
    feed_ms: int
    account_ms: int = 3_000
    intent_ms: int = 20
    duplicate_ms: int = 20
    losses: tuple[int, int, int] = (-1, -1, -1)
    """In 1 min, in the session, from the peak."""
    spread_bps: int = -1
    moves_bps: tuple[int, int] = (-1, -1)
    """In 1 s, in 60 s."""
    drift_bps: int = -1
    funding_bps: int = -1
    costs_bps: tuple[int, int] = (-1, -1)
    """Slippage and fees of a minute."""
    places_per_trade: int = -1
    faults: int = 10
    margin_bps: int = 5_000
    margin_ratio_bps: int = 2_500
    liquidation_bps: int = 1_000
    countdown_missed: int = 1
    users_down_ms: int = 2_000
    host_ms: tuple[int, int, int] = (500, 100, 1_000)
    """Clock offset, loop lag, round trip."""
    emergency_percent: int = 0
    is_post_only: bool = False
    is_limit_only: bool = False
    is_reducing_only: bool = False


POLICIES: Final[Mapping[str, _Policy]] = {
    # The simulator's market jumps more, and a laptop's scheduler is slower, than a tuned host's.
    "demo": _Policy(
        order=100, position=500, gross=2_000, collars_bps=(50, 100), open_orders=5,
        messages=(50, -1, 1_000), cancels_per_place=-1, rejects=-1, unresolved=8,
        unresolved_ms=-1, feed_ms=1_000, account_ms=10_000, intent_ms=250, duplicate_ms=0,
        host_ms=(-1, -1, -1), faults=-1, margin_bps=-1, users_down_ms=-1,
    ),
    "observe": _Policy(
        order=0, position=0, gross=0, collars_bps=(50, 100), open_orders=0, messages=(0, 0, 0),
        feed_ms=2_000,
    ),
    "wind_down": _Policy(
        order=50, position=-1, gross=-1, collars_bps=(50, 100), open_orders=2,
        messages=(5, 50, 100), executions=50, losses=(-1, -1, 30), feed_ms=2_000,
        is_reducing_only=True,
    ),
    "mm_conservative": _Policy(
        order=20, position=100, gross=300, net=300, open=100, leverage_percent=30,
        collars_bps=(20, 50), cross_bps=0, open_orders=2, messages=(10, 80, 300), executions=60,
        losses=(1, 5, 10), spread_bps=50, moves_bps=(50, 200), drift_bps=250, funding_bps=30,
        costs_bps=(10, 3), places_per_trade=200, feed_ms=500, emergency_percent=110,
        is_post_only=True,
    ),
    "mm_standard": _Policy(
        order=50, position=300, gross=1_000, net=600, open=300, leverage_percent=100,
        collars_bps=(30, 75), cross_bps=0, open_orders=5, messages=(20, 160, 700),
        executions=200, losses=(2, 10, 20), spread_bps=75, moves_bps=(75, 300), drift_bps=400,
        funding_bps=50, costs_bps=(15, 3), places_per_trade=200, faults=20, feed_ms=300,
        emergency_percent=110, is_post_only=True,
    ),
    "taker_arb": _Policy(
        order=100, position=500, gross=2_000, net=1_000, open=500, leverage_percent=200,
        collars_bps=(15, 50), cross_bps=10, open_orders=1, messages=(10, 80, 300), executions=30,
        losses=(2, 10, 20), spread_bps=50, moves_bps=(75, 300), drift_bps=400, funding_bps=50,
        costs_bps=(20, 6), places_per_trade=200, faults=5, feed_ms=150, emergency_percent=110,
        is_limit_only=True,
    ),
}  # fmt: skip


def limits_for(
    policy: str, equity_e8: int, overrides: Mapping[str, object] | None = None
) -> Limits:
    """The limits of a named policy for an account of this equity.

    ``overrides`` has the keys of the settings' ``[risk.limits]``: money and quantities as decimal
    text, times in milliseconds; None stands for "not overridden".

    Raises:
        UsageError: there is no such policy or override.
        PrecisionError: text that is not an exact decimal.
    """
    row = POLICIES.get(policy)
    if row is None:
        raise UsageError(
            f"there is no risk policy named {policy!r}",
            remedy=f"Choose one of {', '.join(POLICIES)}.",
        )
    limits = Limits(
        policy=policy,
        version=POLICY_VERSION,
        order_notional_max_e8=_share(row.order, equity_e8),
        position_notional_max_e8=_share(row.position, equity_e8),
        open_notional_max_e8=_share(row.open, equity_e8),
        gross_notional_max_e8=_share(row.gross, equity_e8),
        net_notional_max_e8=_share(row.net, equity_e8),
        leverage_max_e8=_scaled(row.leverage_percent, E8 // 100),
        price_collar_bps=row.collars_bps[0],
        mark_collar_bps=row.collars_bps[1],
        cross_bps_max=_scaled(row.cross_bps),
        open_orders_max=row.open_orders,
        messages_per_s_max=row.messages[0],
        messages_per_10s_max=_scaled(row.messages[1]),
        messages_per_minute_max=row.messages[2],
        cancels_per_place_max=_scaled(row.cancels_per_place),
        executions_per_minute_max=_scaled(row.executions),
        rejects_per_10s_max=_scaled(row.rejects),
        unresolved_max=row.unresolved,
        unresolved_age_ns_max=_scaled(row.unresolved_ms, NS_PER_MS),
        feed_age_ns_max=row.feed_ms * NS_PER_MS,
        account_age_ns_max=row.account_ms * NS_PER_MS,
        intent_age_ns_max=row.intent_ms * NS_PER_MS,
        duplicate_window_ns=row.duplicate_ms * NS_PER_MS,
        loss_1m_max_e8=_share(row.losses[0], equity_e8),
        loss_session_max_e8=_share(row.losses[1], equity_e8),
        drawdown_max_e8=_share(row.losses[2], equity_e8),
        spread_bps_max=_scaled(row.spread_bps),
        move_1s_bps_max=_scaled(row.moves_bps[0]),
        move_1m_bps_max=_scaled(row.moves_bps[1]),
        drift_1m_bps_max=_scaled(row.drift_bps),
        funding_bps_max=_scaled(row.funding_bps),
        slippage_1m_bps_max=_scaled(row.costs_bps[0]),
        fee_1m_bps_max=_scaled(row.costs_bps[1]),
        places_per_trade_max=_scaled(row.places_per_trade),
        faults_per_minute_max=_scaled(row.faults),
        margin_used_bps_max=_scaled(row.margin_bps),
        margin_ratio_bps_max=_scaled(row.margin_ratio_bps),
        liquidation_bps_min=row.liquidation_bps,
        countdown_missed_max=_scaled(row.countdown_missed),
        user_stream_down_ns_max=_scaled(row.users_down_ms, NS_PER_MS),
        clock_offset_ns_max=_scaled(row.host_ms[0], NS_PER_MS),
        loop_lag_ns_max=_scaled(row.host_ms[1], NS_PER_MS),
        round_trip_ns_max=_scaled(row.host_ms[2], NS_PER_MS),
        emergency_percent=row.emergency_percent,
        is_post_only=row.is_post_only,
        is_limit_only=row.is_limit_only,
        is_reducing_only=row.is_reducing_only,
    )
    given = (overrides or {}).items()
    return with_values(limits, {name: inside(name, v) for name, v in given if v is not None})


def manual_limits_for(limits: Limits, manual: Mapping[str, Any]) -> Limits | None:
    """What a person may ask for by hand in a system with these limits; None: nothing.

    ``manual`` has the keys of the settings' ``[risk.manual]``. Each limit is the settings' own or a
    share of the policy's, never more: a hand on the keyboard errs by a digit. A policy
    that only rests orders is a strategy's discipline: by hand one may take, or nothing could be
    closed.

    Raises:
        PrecisionError: text that is not an exact decimal.
    """
    if not manual["enabled"]:
        return None

    def money(name: str, policy_e8: int, share: int) -> int:
        text = manual[name]
        return min(policy_e8, policy_e8 // share if text is None else parse_e8(text))

    def number(name: str, policy: int) -> int:
        return min(policy, manual[name] or policy)

    return msgspec.structs.replace(
        limits,
        order_qty_max_e8=money("order_qty_max", limits.order_qty_max_e8, 1),
        order_notional_max_e8=money(
            "order_notional_max", limits.order_notional_max_e8, MANUAL_ORDER_SHARE
        ),
        position_notional_max_e8=money(
            "position_notional_max", limits.position_notional_max_e8, MANUAL_POSITION_SHARE
        ),
        price_collar_bps=number("price_collar_bps", limits.price_collar_bps),
        messages_per_s_max=number("messages_per_s_max", limits.messages_per_s_max),
        messages_per_minute_max=number("messages_per_minute_max", limits.messages_per_minute_max),
        is_post_only=False,
    )


def _share(thousandths: int, equity_e8: int) -> int:
    return UNLIMITED if thousandths < 0 else max(0, equity_e8) * thousandths // 1_000


def _scaled(value: int, factor: int = 1) -> int:
    return UNLIMITED if value < 0 else value * factor


def spec_of(name: str) -> LimitSpec:
    """The limit of that name.

    Raises:
        UsageError: there is none.
    """
    spec = LIMITS_BY_NAME.get(name)
    if spec is None:
        nearest = get_close_matches(name, LIMITS_BY_NAME, n=1)
        raise UsageError(
            f"there is no limit named {name!r}",
            remedy=f"Did you mean {nearest[0]}? `hft risk` lists all." if nearest
            else f"Limits are {', '.join(LIMITS_BY_NAME)}.",
        )  # fmt: skip
    return spec


def inside(name: str, value: object) -> int:
    """A limit as written (decimal text, whole number, ms) in its unit inside.

    Raises:
        UsageError: no such limit, or not such a value.
        PrecisionError: text that is not an exact decimal.
    """
    spec = spec_of(name)
    wrong = UsageError(
        f"risk.limits.{name} = {value!r} is not a limit",
        remedy=f"Write {_WANTED[spec.unit]}, not negative.",
    )
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise wrong
    if spec.unit in (Unit.MONEY, Unit.QTY, Unit.RATIO):
        number = parse_e8(str(value))
    else:
        if isinstance(value, str):
            raise wrong
        number = value * (NS_PER_MS if spec.unit is Unit.MS else 1)
    if not 0 <= number <= UNLIMITED:
        raise wrong
    return number


_WANTED: Final[Mapping[Unit, str]] = {
    Unit.MONEY: "an amount of the quote asset",
    Unit.QTY: "a quantity",
    Unit.RATIO: "a multiple of the equity",
    Unit.BPS: "whole basis points",
    Unit.COUNT: "a whole number",
    Unit.MS: "whole milliseconds",
}


def with_values(limits: Limits, values: Mapping[str, int], version: int | None = None) -> Limits:
    """The limits with some replaced, by name, in their units inside."""
    fields: dict[str, object] = {spec_of(name).field: value for name, value in values.items()}
    if version is not None:
        fields["version"] = version
    return msgspec.structs.replace(limits, **fields) if fields else limits


def values_of(limits: Limits) -> dict[str, int]:
    """Every limit by name, in its unit inside."""
    return {spec.name: spec.of(limits) for spec in CATALOGUE}


class Change(NamedTuple):
    """One limit at run time, before and after, in its unit inside."""

    name: str
    old: int
    new: int

    @property
    def is_riskier(self) -> bool:
        """Whether more is allowed afterwards."""
        spec = LIMITS_BY_NAME[self.name]
        return self.new < self.old if spec.is_floor else self.new > self.old

    @property
    def is_step_too_great(self) -> bool:
        """Whether it is riskier by more than one step may be."""
        smaller, greater = sorted((self.old, self.new))
        return self.is_riskier and greater > STEP_MAX * smaller

    def check(self) -> None:
        """Refuse a step that is too great.

        Raises:
            UsageError: it is.
        """
        if not self.is_step_too_great:
            return
        spec = LIMITS_BY_NAME[self.name]
        bound = -(-self.old // STEP_MAX) if spec.is_floor else self.old * STEP_MAX
        remedy = f"One step goes to {spec.shown(bound)} at most"
        if not self.old:
            remedy = "A limit of 0 is raised in the settings, before the start"
        elif spec.is_floor and not self.new:
            remedy += "; it is switched off in the settings, before the start"
        raise UsageError(
            f"{self.name} = {spec.shown(self.new)} is too great a step from {spec.shown(self.old)}",
            remedy=f"{remedy}.",
        )


def changes_between(old: Limits, new: Limits) -> list[Change]:
    """What differs, limit by limit."""
    return [
        Change(spec.name, spec.of(old), spec.of(new))
        for spec in CATALOGUE
        if spec.of(old) != spec.of(new)
    ]
