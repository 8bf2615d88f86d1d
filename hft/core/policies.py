"""Risk policies: named sets of limits, some of them relative to the equity of the account.

``demo`` is for the embedded simulator; the other five are what a desk chooses from. A limit is a
hard one: an intent beyond it is refused. 0 allows nothing, ``UNLIMITED`` everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hft.errors import UsageError
from hft.units import INT64_MAX, NS_PER_MS, NS_PER_S, parse_e8

UNLIMITED: Final = INT64_MAX
MANUAL_ORDER_SHARE: Final = 4
"""An order by hand may be worth a quarter of a strategy's, unless the settings say less or more."""
MANUAL_POSITION_SHARE: Final = 2
POLICY_VERSION: Final = 2
"""Version of the table below, in every decision record; raised when a number in it changes."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What risk judges by. Money in 1e-8 of the quote asset, prices in basis points."""

    policy: str
    version: int = POLICY_VERSION
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
    is_post_only: bool = False
    """Only orders that cannot take are allowed."""
    is_limit_only: bool = False
    """No market orders: every order says the worst price that it takes."""
    is_reducing_only: bool = False
    """Only orders that shrink a position are allowed."""


class _Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table; money in thousandths of the equity, -1: unlimited."""

    order: int
    position: int
    gross: int
    collars_bps: tuple[int, int]
    open_orders: int
    messages: tuple[int, int]
    unresolved: int = 3
    feed_ms: int
    account_ms: int = 3_000
    intent_ms: int = 20
    duplicate_ms: int = 20
    is_post_only: bool = False
    is_limit_only: bool = False
    is_reducing_only: bool = False


POLICIES: Final[Mapping[str, _Policy]] = {
    # The simulator's market jumps more, and a laptop's scheduler is slower, than a tuned host's.
    "demo": _Policy(
        order=100, position=500, gross=2_000, collars_bps=(50, 100), open_orders=5,
        messages=(50, 1_000), unresolved=8, feed_ms=1_000, account_ms=10_000, intent_ms=250,
        duplicate_ms=0,
    ),
    "observe": _Policy(
        order=0, position=0, gross=0, collars_bps=(50, 100), open_orders=0, messages=(0, 0),
        feed_ms=2_000,
    ),
    "wind_down": _Policy(
        order=50, position=-1, gross=-1, collars_bps=(50, 100), open_orders=2, messages=(5, 100),
        feed_ms=2_000, is_reducing_only=True,
    ),
    "mm_conservative": _Policy(
        order=20, position=100, gross=300, collars_bps=(20, 50), open_orders=2,
        messages=(10, 300), feed_ms=500, is_post_only=True,
    ),
    "mm_standard": _Policy(
        order=50, position=300, gross=1_000, collars_bps=(30, 75), open_orders=5,
        messages=(20, 700), feed_ms=300, is_post_only=True,
    ),
    "taker_arb": _Policy(
        order=100, position=500, gross=2_000, collars_bps=(15, 50), open_orders=1,
        messages=(10, 300), feed_ms=150, is_limit_only=True,
    ),
}  # fmt: skip

_MONEY: Final = ("order_notional_max", "position_notional_max", "gross_notional_max")
_COUNTS: Final = (
    "price_collar_bps", "mark_collar_bps", "open_orders_max", "messages_per_s_max",
    "messages_per_minute_max", "unresolved_max",
)  # fmt: skip
_TIMES: Final = {
    "feed_age_ms_max": "feed_age_ns_max",
    "account_age_ms_max": "account_age_ns_max",
    "intent_age_ms_max": "intent_age_ns_max",
    "duplicate_window_ms": "duplicate_window_ns",
}


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
        order_notional_max_e8=_share(row.order, equity_e8),
        position_notional_max_e8=_share(row.position, equity_e8),
        gross_notional_max_e8=_share(row.gross, equity_e8),
        price_collar_bps=row.collars_bps[0],
        mark_collar_bps=row.collars_bps[1],
        open_orders_max=row.open_orders,
        messages_per_s_max=row.messages[0],
        messages_per_minute_max=row.messages[1],
        unresolved_max=row.unresolved,
        feed_age_ns_max=row.feed_ms * NS_PER_MS,
        account_age_ns_max=row.account_ms * NS_PER_MS,
        intent_age_ns_max=row.intent_ms * NS_PER_MS,
        duplicate_window_ns=row.duplicate_ms * NS_PER_MS,
        is_post_only=row.is_post_only,
        is_limit_only=row.is_limit_only,
        is_reducing_only=row.is_reducing_only,
    )
    return _with_overrides(limits, overrides or {})


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


def _with_overrides(limits: Limits, overrides: Mapping[str, object]) -> Limits:
    changes: dict[str, object] = {}
    for name, value in overrides.items():
        if value is None:
            continue
        if name == "order_qty_max" or name in _MONEY:
            changes[f"{name}_e8"] = parse_e8(str(value))
        elif name in _COUNTS and isinstance(value, int):
            changes[name] = value
        elif name in _TIMES and isinstance(value, int):
            changes[_TIMES[name]] = value * NS_PER_MS
        else:
            raise UsageError(
                f"risk.limits.{name} = {value!r} is not a limit",
                remedy=f"Limits are {', '.join(('order_qty_max', *_MONEY, *_COUNTS, *_TIMES))}.",
            )
    if not changes:
        return limits
    return msgspec.convert({**msgspec.structs.asdict(limits), **changes}, Limits)
